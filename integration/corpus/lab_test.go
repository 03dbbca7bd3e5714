package corpus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
)

// lab is what the files run on: a server for the direct runs, and a rig's primary,
// backup and broker, with a new source (and new databases) for each file.
type lab struct {
	bin, dir, work string
	onUnsafe       string
	triggers       bool
	folder         folder
	direct         *pgserver.Server
	primary        *pgserver.Server
	backup         *pgserver.Server
	base           *rig.Rig
	kept           map[*pgserver.Server]string // roles and tablespaces of the templates
	runs           int
}

func (l *lab) open(ctx context.Context) (err error) {
	if l.onUnsafe == "" {
		l.onUnsafe = "flag"
	}
	// The broker's data of a former run in a directory that was named.
	if err := errors.Join(os.RemoveAll(filepath.Join(l.dir, "rig")), os.MkdirAll(l.dir, 0o755)); err != nil {
		return err
	}
	// The server's user writes there, and may not pass through a test's directory.
	if l.work, err = os.MkdirTemp("", "opmux-corpus-"); err != nil {
		return err
	}
	if err := os.Chmod(l.work, 0o755); err != nil {
		return err
	}
	settings := []string{"max_prepared_transactions = 10", "wal_level = logical"}
	if l.base, err = rig.New(ctx, rig.Config{Bin: l.bin, Dir: filepath.Join(l.dir, "rig"), PrimarySettings: settings, BackupSettings: settings}); err != nil {
		return err
	}
	l.primary, l.backup = l.base.Primary, l.base.Backup
	if l.direct, err = pgserver.Start(ctx, pgserver.Config{Name: "direct", Settings: settings}); err != nil {
		return err
	}
	if _, err := rig.Query(ctx, l.direct.DSN("postgres"), "CREATE DATABASE "+rig.Database); err != nil {
		return err
	}
	l.kept = map[*pgserver.Server]string{}
	for _, s := range l.servers() {
		if err := l.templates(ctx, s); err != nil {
			return err
		}
		if l.kept[s], err = globals(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) servers() []*pgserver.Server {
	return []*pgserver.Server{l.direct, l.primary, l.backup}
}

func (l *lab) close() error {
	errs := []error{os.RemoveAll(l.work)}
	if l.base != nil {
		errs = append(errs, l.base.Close())
	}
	if l.direct != nil {
		errs = append(errs, l.direct.Close())
	}
	return errors.Join(errs...)
}

// template names the database that scripts of a level start from.
func template(level int) string { return fmt.Sprintf("corpus_template_%d", level) }

// templates runs the files of before on a server, each on a copy of what those
// before it left. On primary and direct server an agent has been once, so that its
// schema and its event triggers are in the answers of both.
func (l *lab) templates(ctx context.Context, s *pgserver.Server) error {
	if s != l.backup {
		if err := l.visit(ctx, s); err != nil {
			return err
		}
	}
	for level := 0; ; level++ {
		if _, err := rig.Query(ctx, s.DSN("postgres"), fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", template(level), rig.Database)); err != nil {
			return err
		}
		if level == len(l.folder.before) {
			return nil
		}
		if _, err := l.answer(ctx, l.folder.files[level], s.DSN(rig.Database), directTimeout); err != nil {
			return err
		}
	}
}

// visit starts an agent on a server and ends it.
func (l *lab) visit(ctx context.Context, s *pgserver.Server) (err error) {
	r, err := l.rig(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	agent, err := r.Agent("a1")
	if err != nil {
		return err
	}
	if err := agent.Start(ctx); err != nil {
		return err
	}
	return agent.Terminate()
}

// rig is a rig with a source of its own on servers that are there.
func (l *lab) rig(ctx context.Context, primary *pgserver.Server) (*rig.Rig, error) {
	l.runs++
	source := fmt.Sprintf("s%d", l.runs)
	r, err := rig.New(ctx, rig.Config{
		Bin: l.bin, Dir: filepath.Join(l.dir, source), Source: source, OnUnsafe: l.onUnsafe, GateTimeout: 20 * time.Second,
		Use:       rig.Parts{Primary: primary, Backup: l.backup, Broker: l.base.Broker},
		AgentYAML: fmt.Sprintf("capture: {other_databases: pass, triggers: %t}\n", l.triggers),
	})
	if err != nil {
		return nil, err
	}
	return r, r.CreateTopics(ctx)
}
