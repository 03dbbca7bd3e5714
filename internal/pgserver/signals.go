package pgserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const stopTimeout = 30 * time.Second

// Stop shuts the server down in order (fast: sessions are ended).
func (s *Server) Stop() error { return s.signal(syscall.SIGINT) }

// Kill ends the postmaster with SIGKILL, as a crash would: what was in its
// memory is lost, and the next Start runs recovery.
func (s *Server) Kill() error { return s.signal(syscall.SIGKILL) }

// Abort ends the server with SIGQUIT (immediate): sessions are cut off, nothing is
// written down, and the next Start runs recovery.
func (s *Server) Abort() error { return s.signal(syscall.SIGQUIT) }

// signal ends the server and waits for its end. It does nothing where none runs.
func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	cmd, exited := s.cmd, s.exited
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return nil
	}
	backends := children(cmd.Process.Pid)
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to postgres %d: %w", sig, cmd.Process.Pid, err)
	}
	if sig == syscall.SIGKILL {
		// A backend in the middle of a statement outlives its postmaster for a
		// while; a crash of the host would not let it.
		sendAll(backends, syscall.SIGKILL)
	}
	select {
	case <-exited:
		return nil
	case <-time.After(stopTimeout):
		sendAll(append(backends, cmd.Process.Pid), syscall.SIGKILL)
		<-exited
		return fmt.Errorf("postgres %d did not end within %v of signal %v and was killed", cmd.Process.Pid, stopTimeout, sig)
	}
}

// Freeze stops the server and its backends with SIGSTOP; Thaw lets them go on.
func (s *Server) Freeze() error { return s.all(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (s *Server) Thaw() error { return s.all(syscall.SIGCONT) }

func (s *Server) all(sig syscall.Signal) error {
	pid := s.Pid()
	if pid == 0 {
		return fmt.Errorf("PostgreSQL in %s does not run", s.Dir)
	}
	// The postmaster first, so that it starts no more backends meanwhile.
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("signal %v to postgres %d: %w", sig, pid, err)
	}
	sendAll(children(pid), sig)
	return nil
}

// Children are the process ids of the server's sessions and workers (Linux;
// empty elsewhere).
func (s *Server) Children() []int { return children(s.Pid()) }

// sendAll signals processes that may have ended meanwhile.
func sendAll(pids []int, sig syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}

// children lists the processes whose parent is pid (Linux; empty elsewhere).
func children(pid int) []int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var found []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// "pid (name) state ppid …"; the name may hold spaces and brackets.
		rest := string(text[strings.LastIndexByte(string(text), ')')+1:])
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found = append(found, child)
		}
	}
	return found
}
