// Package kafkaserver runs Apache Kafka itself, one node on the loopback
// interface, by the repository's scripts/kafka, for the tests and the demo.
package kafkaserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/freeport"
)

const startTimeout = 90 * time.Second

// Server is one Kafka broker with its data directory.
type Server struct {
	Port    int
	dir     string
	script  string
	process *child.Process
}

// Start runs a new broker whose data and logs are in dir.
func Start(ctx context.Context, dir string) (*Server, error) {
	script, err := Script()
	if err != nil {
		return nil, err
	}
	port, err := freeport.PickRun(2) // the controller has the next one
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory for Kafka: %w", err)
	}
	s := &Server{Port: port, dir: dir, script: script}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Script finds scripts/kafka in the working directory or above it.
func Script() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for scripts/kafka: %w", err)
	}
	for {
		path := filepath.Join(dir, "scripts", "kafka")
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no scripts/kafka, which runs Apache Kafka, in this directory or above it: run from a clone of opmux")
		}
		dir = parent
	}
}

// Address is the broker's "127.0.0.1:port".
func (s *Server) Address() string { return freeport.Address(s.Port) }

// Start starts the broker again after Kill or Stop, with the data that it had.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	// Its own log tells of the start that it belongs to: what an earlier run said
	// is gone once the script has begun, which the file's absence shows.
	serverLog := filepath.Join(s.dir, "kafka.log")
	if err := os.Remove(serverLog); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("log of Kafka: %w", err)
	}
	process, err := child.Start(child.Config{
		Name: "Apache Kafka", Path: s.script, Args: []string{"run", s.dir, strconv.Itoa(s.Port)},
		Log: filepath.Join(s.dir, "kafka.out"),
	})
	if err != nil {
		return err
	}
	s.process = process
	for {
		text, err := os.ReadFile(serverLog)
		if err == nil && strings.Contains(string(text), "Kafka Server started") {
			return nil
		}
		select {
		case <-process.Done():
			return process.Ended()
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("starting Apache Kafka took more than %v, see %s", startTimeout, serverLog), process.Kill())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// DataDir is where the broker keeps its records.
func (s *Server) DataDir() string { return filepath.Join(s.dir, "data") }

// Pid is the broker's process id.
func (s *Server) Pid() int { return s.process.Pid() }

// Kill ends the broker with SIGKILL.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	return s.process.Kill()
}

// Stop ends the broker in order.
func (s *Server) Stop() error { return s.process.Terminate(30 * time.Second) }

// Freeze stops the broker with SIGSTOP.
func (s *Server) Freeze() error { return s.process.Freeze() }

// Thaw lets a frozen broker go on.
func (s *Server) Thaw() error { return s.process.Thaw() }

// Close kills the broker; its directory stays the caller's.
func (s *Server) Close() error { return s.Kill() }
