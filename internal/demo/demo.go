// Package demo is `opmux demo`: the whole way on one machine, from a pgbench
// that does not know of opmux to a backup that is compared row by row, told so
// that a newcomer can follow.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opmux/opmux/internal/rig"
)

// ErrFailed says that the demo ran and that its verdict is bad; ErrInterrupted,
// that it was ended before its verdict.
var (
	ErrFailed      = errors.New("the demo found a difference, see above")
	ErrInterrupted = errors.New("the demo was interrupted before its verdict")
)

// catchUpTimeout bounds how long the backup and the verifier may take after the
// workload has ended.
const catchUpTimeout = 90 * time.Second

// Config says what to show.
type Config struct {
	Bin      string        // directory of the built programs
	Kafka    string        // rig.KafkaEmbedded or rig.KafkaReal
	Keep     bool          // stay up after the verdict
	Out      io.Writer     // where people read
	Live     bool          // Out is a terminal: the progress line is redrawn
	Scale    int           // pgbench's; default 5
	Clients  int           // default 8
	Duration time.Duration // of the workload; default 20 s
}

// Demo is one run of the demo.
type demo struct {
	Config
	rig     *rig.Rig
	began   time.Time
	steps   int
	watcher watcher
}

// Run shows the demo until its verdict, or with Keep until ctx ends. It returns
// nil only when primary and backup were identical and no verdict was a mismatch.
func Run(ctx context.Context, cfg Config) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal was closed
	defer stop()
	cfg.defaults()
	dir, err := os.MkdirTemp("", "opmux-demo-")
	if err != nil {
		return fmt.Errorf("directory for the demo: %w", err)
	}
	d := &demo{Config: cfg, began: time.Now()}
	err = d.run(ctx, dir)
	if ctx.Err() != nil && err != nil && !errors.Is(err, ErrFailed) {
		err = ErrInterrupted // whatever failed because of it
	}
	var closing error
	if d.rig != nil {
		closing = d.rig.Close()
	}
	if err != nil && ctx.Err() == nil {
		d.say("Configuration files and logs are kept in %s", dir)
		return errors.Join(err, closing)
	}
	if e := os.RemoveAll(dir); e != nil {
		closing = errors.Join(closing, fmt.Errorf("removing the demo's files: %w", e))
	}
	if ctx.Err() != nil {
		d.say("\nEverything is stopped and removed.")
	}
	return errors.Join(err, closing)
}

func (c *Config) defaults() {
	if c.Kafka == "" {
		c.Kafka = rig.KafkaEmbedded
	}
	if c.Scale == 0 {
		c.Scale = 5
	}
	if c.Clients == 0 {
		c.Clients = 8
	}
	if c.Duration == 0 {
		c.Duration = 20 * time.Second
	}
}

func (d *demo) run(ctx context.Context, dir string) error {
	d.say("opmux demo: an application, a primary, a backup, and opmux between them\n")
	if err := d.setUp(ctx, dir); err != nil {
		return err
	}
	if err := d.workload(ctx); err != nil {
		return err
	}
	good, err := d.verdict(ctx)
	if err != nil {
		return err
	}
	if d.Keep {
		d.invite()
		<-ctx.Done() // ctrl-C is how it is meant to end
	}
	if !good {
		return ErrFailed
	}
	return nil
}

// setUp starts everything; after it, the backup holds what the primary held.
func (d *demo) setUp(ctx context.Context, dir string) error {
	broker := "an embedded broker"
	if d.Kafka == rig.KafkaReal {
		broker = "Apache Kafka"
	}
	return d.all(ctx,
		step{"two private PostgreSQL servers and " + broker, func(ctx context.Context) (err error) {
			d.rig, err = rig.New(ctx, rig.Config{Bin: d.Bin, Dir: dir, Kafka: d.Kafka})
			return err
		}},
		step{fmt.Sprintf("a primary that holds data already (pgbench, %d accounts)", d.Scale*100_000), d.fill},
		step{"topics", func(ctx context.Context) error { return d.rig.CreateTopics(ctx) }},
		step{"capture-agent, where the application will connect", func(ctx context.Context) error { return d.startAgent(ctx) }},
		step{"snapshot of the primary into the backup", func(ctx context.Context) error {
			_, err := d.rig.Must(ctx, "snapshot", "--config", d.rig.AgentConfig("a1"), "--to", d.rig.WorkerConfig("w1"))
			return err
		}},
		step{"apply-worker and verify-worker", d.startWorkers},
	)
}

type step struct {
	what string
	do   func(context.Context) error
}

func (d *demo) all(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		d.steps++
		began := time.Now()
		d.sayPart("  %d. %s … ", d.steps, s.what)
		if err := s.do(ctx); err != nil {
			d.say("failed")
			return fmt.Errorf("%s: %w", s.what, err)
		}
		d.say("%.1f s", time.Since(began).Seconds())
	}
	return nil
}

func (d *demo) startAgent(ctx context.Context) error {
	agent, err := d.rig.Agent("a1")
	if err != nil {
		return err
	}
	return agent.Start(ctx)
}

func (d *demo) startWorkers(ctx context.Context) error {
	worker, err := d.rig.Worker("w1")
	if err != nil {
		return err
	}
	verifier, err := d.rig.Verifier()
	if err != nil {
		return err
	}
	if err := worker.Start(ctx); err != nil {
		return err
	}
	return verifier.Start(ctx)
}

func (d *demo) invite() {
	agent, err := d.rig.Agent("a1")
	if err != nil {
		return
	}
	opmux := filepath.Join(d.Bin, "opmux")
	d.say(`
Everything stays up. Connect with any client:
  through opmux   psql '%s'
  the backup      psql '%s'
  the primary     psql '%s'     (behind opmux's back)

Try, in other terminals:
  follow the stream      %s tail --config %s --follow
  how far the backup is  %s status --config %s
  what was compared      %s verdicts --config %s
  1. through opmux: UPDATE pgbench_accounts SET abalance = 42 WHERE aid = 1;
     then look at that row on the backup.
  2. through opmux: UPDATE pgbench_accounts SET aid = aid + 1;
     which cannot be carried: see what you are told.
  3. on the backup: DELETE FROM pgbench_accounts WHERE aid = 1;
     then repeat 1 and ask for the verdicts: the verifier has noticed.
Logs are in %s
ctrl-C stops and removes everything.`,
		agent.DSN(), d.rig.Backup.DSN(rig.Database), d.rig.Primary.DSN(rig.Database),
		opmux, d.rig.AgentConfig("a1"), opmux, d.rig.WorkerConfig("w1"), opmux, d.rig.VerifierConfig(), d.rig.Dir)
}

// say and sayPart write to a terminal: that nobody reads is no error.
func (d *demo) say(format string, args ...any)     { _, _ = fmt.Fprintf(d.Out, format+"\n", args...) }
func (d *demo) sayPart(format string, args ...any) { _, _ = fmt.Fprintf(d.Out, format, args...) }
