package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// StartStandby makes a copy of a running server and starts it as its standby, which
// replicates asynchronously. Close removes it.
func StartStandby(ctx context.Context, of *Server, cfg Config) (*Server, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.copyOf(ctx, of, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) copyOf(ctx context.Context, of *Server, cfg Config) error {
	if err := s.Own(s.Dir); err != nil {
		return err
	}
	base := exec.CommandContext(ctx, filepath.Join(s.bin, "pg_basebackup"), "-D", s.data(), "-h", of.SocketDir, "-p", fmt.Sprint(of.Port),
		"-U", Superuser, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	base.Dir = s.Dir
	base.SysProcAttr = attributes(s.cred)
	if out, err := base.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup into %s: %w\n%s", s.data(), err, out)
	}
	return s.append("postgresql.conf", s.settings(cfg))
}

// Promote makes a primary of a standby, and returns when it is one.
func (s *Server) Promote(ctx context.Context) error {
	return s.ctl(ctx, "promote", "--wait")
}

func (s *Server) ctl(ctx context.Context, args ...string) error {
	ctl := exec.CommandContext(ctx, filepath.Join(s.bin, "pg_ctl"), append(args, "-D", s.data())...)
	ctl.Dir = s.Dir
	ctl.SysProcAttr = attributes(s.cred)
	if out, err := ctl.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_ctl %v in %s: %w\n%s", args, s.data(), err, out)
	}
	return nil
}
