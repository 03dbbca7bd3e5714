// Package pgserver runs private PostgreSQL servers for the tests and the demo:
// a data directory of their own, a free loopback port, no password, settings
// that favour speed over surviving a power cut.
package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/freeport"
)

// Superuser is the role that initdb makes; it needs no password.
const Superuser = "postgres"

const startTimeout = 60 * time.Second

// Config says what a server is like. The zero value is a server that trusts
// everybody on the loopback interface.
type Config struct {
	// Settings are lines of postgresql.conf; later ones win.
	Settings []string
	// HBA replaces pg_hba.conf's lines for TCP; sockets stay trusted.
	HBA []string
	// TLS makes the server offer TLS with a certificate of its own (see Server.CAFile).
	TLS bool
	// Name begins the directory's name, for people who look; default "pg".
	Name string
}

// Server is one private PostgreSQL server.
type Server struct {
	// Port is the TCP port on 127.0.0.1.
	Port int
	// SocketDir is where the Unix socket is; Dir holds everything of the server.
	SocketDir, Dir string
	bin            string
	cred           *syscall.Credential

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{}
	removed bool
}

// Start makes a data directory and starts a server in it. Close stops the server
// and removes the directory.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func prepare(ctx context.Context, cfg Config) (*Server, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.initialise(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// newServer gives a server its port and its directory, which is empty.
func newServer(cfg Config) (*Server, error) {
	bin, err := BinDir()
	if err != nil {
		return nil, err
	}
	cred, err := account()
	if err != nil {
		return nil, err
	}
	port, err := freeport.Pick()
	if err != nil {
		return nil, err
	}
	name := cfg.Name
	if name == "" {
		name = "pg"
	}
	removeAbandoned()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-%s-", dirPrefix, os.Getpid(), name))
	if err != nil {
		return nil, fmt.Errorf("directory for PostgreSQL: %w", err)
	}
	return &Server{Port: port, SocketDir: dir, Dir: dir, bin: bin, cred: cred}, nil
}

func (s *Server) initialise(ctx context.Context, cfg Config) error {
	if err := s.Own(s.Dir); err != nil {
		return err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", Superuser,
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir = s.Dir
	initdb.SysProcAttr = attributes(s.cred)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb in %s: %w\n%s", s.data(), err, out)
	}
	if cfg.TLS {
		if err := s.writeCertificates(); err != nil {
			return err
		}
	}
	if err := s.append("postgresql.conf", s.settings(cfg)); err != nil {
		return err
	}
	if len(cfg.HBA) == 0 {
		return nil
	}
	return s.replace("pg_hba.conf", append([]string{"local all all trust"}, cfg.HBA...))
}

func (s *Server) settings(cfg Config) []string {
	lines := []string{
		"listen_addresses = '127.0.0.1'",
		fmt.Sprintf("port = %d", s.Port),
		fmt.Sprintf("unix_socket_directories = '%s'", s.SocketDir),
		"fsync = off",
		"full_page_writes = off",
		"shared_buffers = 64MB",
		"max_connections = 200",
		"max_wal_size = 1GB",
		"jit = off",
		"logging_collector = off",
		"log_line_prefix = '%m [%p] %a '",
		"log_timezone = 'UTC'",
		"timezone = 'UTC'",
	}
	if cfg.TLS {
		lines = append(lines, "ssl = on", "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'")
	}
	return append(lines, cfg.Settings...)
}

func (s *Server) data() string    { return filepath.Join(s.Dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.Dir, "server.log") }

// DSN returns the URL of a database, as the superuser over TCP.
func (s *Server) DSN(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(Superuser), Host: freeport.Address(s.Port), Path: "/" + database}
	u.RawQuery = "sslmode=disable"
	return u.String()
}

// Address is "127.0.0.1:port".
func (s *Server) Address() string { return freeport.Address(s.Port) }

// Socket is the path of the server's Unix socket.
func (s *Server) Socket() string {
	return filepath.Join(s.SocketDir, fmt.Sprintf(".s.PGSQL.%d", s.Port))
}

// BinDir is where the server's programs (psql, pgbench, pg_dump) are.
func (s *Server) BinDir() string { return s.bin }

// Start starts the server after Stop or Kill, and returns once it answers.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		exited, err := s.launch()
		if err != nil {
			return err
		}
		if err = s.answers(ctx, exited); err == nil {
			return nil
		}
		// After SIGKILL the old backends may still hold the shared memory for a
		// moment; the new postmaster then gives up, and is started again.
		if !errors.Is(err, errExited) || ctx.Err() != nil || !s.logSays("pre-existing shared memory") {
			return errors.Join(fmt.Errorf("starting PostgreSQL in %s: %w\n%s", s.Dir, err, s.LogTail()), s.signal(syscall.SIGQUIT))
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

var errExited = errors.New("the server process has ended")

func (s *Server) launch() (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return nil, fmt.Errorf("PostgreSQL in %s is closed", s.Dir)
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log of PostgreSQL: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.data())
	cmd.Dir = s.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes(s.cred)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting postgres: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is in its log; that it ended is what counts
	}()
	s.cmd, s.exited = cmd, exited
	return exited, nil
}

func (s *Server) answers(ctx context.Context, exited <-chan struct{}) error {
	// Whoever has the port in place of a server that has ended need not answer.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-exited:
			return errExited
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", err)
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// Close stops the server at once and removes its directory.
func (s *Server) Close() error {
	err := s.signal(syscall.SIGQUIT)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = true
	return errors.Join(err, os.RemoveAll(s.Dir))
}

// LogTail returns the end of the server's log.
func (s *Server) LogTail() string {
	const most = 4000
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-most):]))
}

func (s *Server) logSays(text string) bool {
	return bytes.Contains([]byte(s.LogTail()), []byte(text))
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Pid is the postmaster's process id, 0 while it does not run.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// String names the server for people.
func (s *Server) String() string { return "PostgreSQL on port " + strconv.Itoa(s.Port) }
