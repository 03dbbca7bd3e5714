package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/freeport"
	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
)

// findBouncer looks where distributions put it; /usr/sbin is on root's PATH only.
func findBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("pgbouncer is not installed: run `scripts/setup bench`")
}

const startTimeout = 20 * time.Second

// answers waits until a query through a port is answered.
func answers(ctx context.Context, port int, process *child.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dsn := fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", pgserver.Superuser, freeport.Address(port), rig.Database)
	var last error
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		if err := process.Ended(); err != nil {
			return false, err
		}
		_, last = rig.Query(ctx, dsn, "SELECT 1") // it may not be up yet
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", process.Name(), errors.Join(err, last))
	}
	return nil
}

// poll asks until the answer is true, or an error.
func poll(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("what was waited for did not come: %w", ctx.Err())
		case <-time.After(every):
		}
	}
}
