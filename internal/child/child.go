// Package child runs programs for the tests and the demo: started with a log
// file, watched, frozen and ended by their process id. A child dies with its
// parent (on Linux), so that a killed test leaves nothing behind.
package child

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Config says what to run.
type Config struct {
	Name string // for people; default: the program's file name
	Path string
	Args []string
	Env  []string // added to the parent's
	Dir  string
	Log  string // file that gets standard output and error, appended
}

// Process is a running, or ended, child.
type Process struct {
	cfg    Config
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended; read after exited is closed
}

// Start starts a program and returns at once.
func Start(cfg Config) (*Process, error) {
	if cfg.Name == "" {
		cfg.Name = filepath.Base(cfg.Path)
	}
	log, err := os.OpenFile(cfg.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", cfg.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(cfg.Path, cfg.Args...)
	cmd.Dir = cfg.Dir
	cmd.Env = append(os.Environ(), cfg.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cfg.Name, err)
	}
	p := &Process{cfg: cfg, cmd: cmd, exited: make(chan struct{})}
	go func() { // ends with the child
		defer close(p.exited)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// Name is the child's name.
func (p *Process) Name() string { return p.cfg.Name }

// Pid is the child's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.exited }

// Running tells whether the child has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// ExitCode waits for the child's end and returns its exit code, -1 after a signal.
func (p *Process) ExitCode() int {
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// Ended is nil while the child runs, and else an error that says how it ended,
// with the end of its log.
func (p *Process) Ended() error {
	if p.Running() {
		return nil
	}
	how := "exit code 0"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("%s has ended (%s), its log ends:\n%s", p.cfg.Name, how, p.LogTail())
}

// Terminate asks the child to end with SIGTERM and waits; a child that does not
// end within timeout is killed, which is an error.
func (p *Process) Terminate(timeout time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(timeout):
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM and was killed, its log ends:\n%s", p.cfg.Name, timeout, p.LogTail()), p.Kill())
	}
}

// Kill ends the child with SIGKILL and waits for its end.
func (p *Process) Kill() error {
	err := p.signal(syscall.SIGKILL)
	<-p.exited
	return err
}

// Freeze stops the child with SIGSTOP.
func (p *Process) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen child go on.
func (p *Process) Thaw() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to %s (%d): %w", sig, p.cfg.Name, p.Pid(), err)
	}
	return nil
}

// Log returns the whole log so far.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.cfg.Log)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return string(text)
}

// LogPath is the log's file.
func (p *Process) LogPath() string { return p.cfg.Log }

// LogTail returns the end of the log.
func (p *Process) LogTail() string {
	const most = 3000
	text := []byte(p.Log())
	return string(bytes.TrimSpace(text[max(0, len(text)-most):]))
}
