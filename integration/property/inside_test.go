package property

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/capture/sqldriver"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/process"
	"github.com/opmux/opmux/internal/rig"
)

// embed starts an agent inside this process; its log is where that of a
// capture-agent would be.
func (w *world) embed(ctx context.Context, name string) error {
	cfg, err := sqldriver.LoadConfig(w.EmbeddedConfig(name))
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(w.Dir, name+".log"))
	if err != nil {
		return err
	}
	log, err := process.Logger(config.Log{Level: "info", Format: "console"}, file)
	if err != nil {
		return err
	}
	a, err := sqldriver.Start(ctx, cfg, sqldriver.WithLogger(log))
	if err != nil {
		return err
	}
	if w.inside == nil {
		w.inside = map[string]*sqldriver.Agent{}
	}
	w.inside[name] = a
	return nil
}

// release ends the agents inside this process.
func (w *world) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for _, a := range w.inside {
		errs = append(errs, a.Close(ctx))
	}
	return errors.Join(errs...)
}

// insideDialer connects through an agent inside this process as an application
// does: its connection string names the primary.
func (w *world) insideDialer(name string) func(context.Context) (*pgconn.PgConn, error) {
	return func(ctx context.Context) (*pgconn.PgConn, error) {
		cfg, err := pgconn.ParseConfig(w.Primary.DSN(rig.Database))
		if err != nil {
			return nil, fmt.Errorf("the primary's DSN: %w", err)
		}
		cfg.DialFunc = w.inside[name].DialContext
		return pgconn.ConnectConfig(ctx, cfg)
	}
}
