package property

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/capture/sqldriver"
	"github.com/opmux/opmux/internal/rig"
)

// world is one opmux with its workload.
type world struct {
	*rig.Rig
	log      func(format string, args ...any)
	ledger   *ledger
	agents   []string // names
	programs []*rig.Program
	// inProcess has the agents inside this process, by capture/sqldriver.
	inProcess bool
	inside    map[string]*sqldriver.Agent // by name
	// wanted is the kind of failure that a replay is about, "" in the first run: a
	// replay may have nothing to show, and looks at what matters to it.
	wanted string
}

// open puts opmux up with a schema on both sides.
func (w *world) open(ctx context.Context, cfg rig.Config, s *schema) (err error) {
	w.ledger = newLedger()
	cfg.PrimarySettings = []string{"deadlock_timeout = 100ms", "lock_timeout = 10s", "max_prepared_transactions = 50"}
	if w.Rig, err = rig.New(ctx, cfg); err != nil {
		return err
	}
	if err := w.CreateTopics(ctx); err != nil {
		return err
	}
	for _, dsn := range []string{w.Primary.DSN(rig.Database), w.Backup.DSN(rig.Database)} {
		for _, sql := range s.ddl() {
			if _, err := rig.Query(ctx, dsn, sql); err != nil {
				return err
			}
		}
	}
	return w.start(ctx)
}

func (w *world) start(ctx context.Context) error {
	for _, name := range w.agents {
		if w.inProcess {
			if err := w.embed(ctx, name); err != nil {
				return err
			}
			continue
		}
		p, err := w.Agent(name)
		if err != nil {
			return err
		}
		w.programs = append(w.programs, p)
	}
	for _, of := range []func() (*rig.Program, error){func() (*rig.Program, error) { return w.Worker("w1") }, w.Verifier} {
		p, err := of()
		if err != nil {
			return err
		}
		w.programs = append(w.programs, p)
	}
	for _, p := range w.programs {
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() error {
	if w.Rig == nil {
		return nil
	}
	return errors.Join(w.release(), w.Close())
}

// client returns a client that writes what it does to log.
func (w *world) client(id int, log io.Writer) (*client, error) {
	dial, err := w.dialer(w.agents[id%len(w.agents)])
	if err != nil {
		return nil, err
	}
	return &client{id: id, dial: dial, ledger: w.ledger, log: log}, nil
}

// dialer connects through an agent.
func (w *world) dialer(name string) (func(context.Context) (*pgconn.PgConn, error), error) {
	if w.inProcess {
		return w.insideDialer(name), nil
	}
	agent, err := w.Agent(name)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (*pgconn.PgConn, error) { return pgconn.Connect(ctx, agent.DSN()) }, nil
}

// work lets clients run scripts for a while, and returns what they did.
func (w *world) work(ctx context.Context, seed uint64, s *schema, clients int, length time.Duration) (*recording, []failure) {
	pestering, stop := context.WithCancel(ctx)
	var pester errgroup.Group
	pester.Go(func() error { return w.ledger.pester(pestering, 150*time.Millisecond) })
	group, ctx := errgroup.WithContext(ctx)
	until := time.Now().Add(length)
	seen := &recording{}
	for i := range clients {
		group.Go(func() error {
			log, err := os.Create(filepath.Join(w.Dir, fmt.Sprintf("client-%d.log", i)))
			if err != nil {
				return err
			}
			defer func() { _ = log.Close() }() // only for people to read
			c, err := w.client(i, log)
			if err != nil {
				return err
			}
			c.r, c.s, c.recording = rand.New(rand.NewPCG(seed, uint64(i)+1)), s, seen
			return c.run(ctx, until)
		})
	}
	err := group.Wait()
	stop()
	_ = pester.Wait() // it returns nil
	if err != nil {
		return seen, []failure{clientFailure(err)}
	}
	return seen, nil
}
