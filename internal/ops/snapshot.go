package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/internal/pgcopy"
	"github.com/opmux/opmux/topics"
)

func snapshotCommand() command {
	return command{
		name: "snapshot",
		args: "--config <agent.yaml> --to <apply-worker.yaml>",
		what: "fill a target with what the primary holds; the stream goes on from there",
		more: "No commit waits for it. Statements that need a table alone (ALTER TABLE, TRUNCATE) wait\nuntil the rows are copied, as they do for pg_dump, which must be installed. The copy is one\ntransaction of the target: when it fails, nothing has happened there. The target must not\nhave any of the tables yet. An apply-worker may run meanwhile: it waits.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			path := c.String("config", "", "the capture-agent's configuration `file`")
			to := c.String("to", "", "the apply-worker's configuration `file`")
			if err := c.parse("config", "to"); err != nil {
				return err
			}
			a, err := config.LoadAgent(*path)
			if err != nil {
				return exit.AsUsage(err)
			}
			w, err := loadWorker(*to)
			if err != nil {
				return err
			}
			switch {
			case !slices.Contains(w.SourceNames(), a.Source):
				return exit.Usagef("%s: sources: expected %s, the source of %s, among %v", *to, a.Source, *path, w.SourceNames())
			case w.Kafka.Prefix != a.Kafka.Prefix:
				return exit.Usagef("%s: kafka.prefix: expected %q as in %s, got %q", *to, a.Kafka.Prefix, *path, w.Kafka.Prefix)
			}
			k, err := openKafka(ctx, &config.File{Path: *path, Agent: a})
			if err != nil {
				return err
			}
			return (&snapshot{kafka: k, agent: a, worker: w, stdio: stdio, began: now()}).run(ctx)
		},
	}
}

// snapshot fills one target from one primary (DESIGN §10).
type snapshot struct {
	*kafka
	agent  *config.Agent
	worker *config.Worker
	stdio  IO
	began  time.Time

	start int64 // where the target will read on
	topic string
}

// maxAttempts bounds how often a snapshot is taken anew because a command that
// runs outside of transactions came in between.
const maxAttempts = 60

func (s *snapshot) run(ctx context.Context) error {
	if err := s.topicsThere(ctx); err != nil {
		return err
	}
	target, err := connect(ctx, s.worker.DSN, "target (dsn)")
	if err != nil {
		return err
	}
	defer disconnect(ctx, target)
	if err := s.prepareTarget(ctx, target); err != nil {
		return err
	}
	source, mark, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // read only
	s.say("snapshot of source %s is open: %s, about %s; what comes meanwhile is read from offset %d on",
		s.agent.Source, counted(len(source.Tables()), "table"), sizeText(source.Bytes()), s.start)
	var done pgcopy.Progress
	report, err := s.fill(ctx, target, source, mark, &done)
	if err != nil {
		return fmt.Errorf("%w; the target is as it was", err)
	}
	s.finish(ctx, target, source, report, &done)
	return nil
}

func (s *snapshot) say(format string, args ...any) {
	fmt.Fprintf(s.stdio.Err, "%6.1f s  %s\n", now().Sub(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// topicsThere fails early and with the way out where topics are missing.
func (s *snapshot) topicsThere(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, kafkaTimeout)
	defer cancel()
	_, err := topics.Require(limited, s.Config, topics.Want{Sources: []string{s.agent.Source}, Targets: []string{s.worker.Target}})
	return s.unreachable(err)
}

func (s *snapshot) prepareTarget(ctx context.Context, target *pgx.Conn) error {
	for _, setting := range []string{"statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout"} {
		if _, err := target.Exec(ctx, "SET "+setting+" = 0"); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	if err := s.fits(ctx, target); err != nil {
		return err
	}
	if err := apply.EnsureSchema(ctx, target); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// fits compares the encodings of both databases: a worker stops where they are not
// the same.
func (s *snapshot) fits(ctx context.Context, target *pgx.Conn) error {
	primary, err := connect(ctx, s.agent.Catalog.DSN, "primary (catalog.dsn)")
	if err != nil {
		return err
	}
	defer disconnect(ctx, primary)
	want, err := one[string](ctx, primary, "SHOW server_encoding")
	if err != nil {
		return fmt.Errorf("primary: %w", err)
	}
	have, err := one[string](ctx, target, "SHOW server_encoding")
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if have != want {
		return fmt.Errorf("target: its database has encoding %s and the primary's has %s, where functions of a text's bytes (md5, octet_length) give other values; CREATE DATABASE it with ENCODING '%s'",
			have, want, want)
	}
	return nil
}

// open takes a snapshot of the primary at a point of the stream: it reads which
// intents are open, opens the snapshot, then publishes the Mark. Whatever the
// snapshot shows lies below the Mark, and whatever it does not show at or above
// start (I1, I2).
func (s *snapshot) open(ctx context.Context) (*pgcopy.Source, int64, error) {
	for attempt := 1; ; attempt++ {
		source, err := pgcopy.OpenSource(ctx, s.agent.Catalog.DSN, s.readStart)
		if err != nil {
			return nil, 0, err
		}
		mark, err := s.mark(ctx, source.Visible)
		if err != nil {
			return nil, 0, errors.Join(err, source.Close())
		}
		clean, err := s.noStandalone(ctx, mark)
		if err == nil && clean {
			return source, mark, nil
		}
		if err == nil && attempt == maxAttempts {
			err = fmt.Errorf("commands that run outside of transactions (CREATE INDEX CONCURRENTLY and the like) go on all the time, from offset %d on, and whether the snapshot shows them cannot be told; try again when they are done, or settle what is in doubt (opmux indoubt list)", s.start)
		}
		if err = errors.Join(err, source.Close()); err != nil {
			return nil, 0, err
		}
		if attempt == 1 {
			s.say("waiting for commands outside of transactions (CREATE INDEX CONCURRENTLY and the like) to end")
		}
		if err := pause(ctx, time.Second); err != nil {
			return nil, 0, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// readStart notes the oldest intent without outcome, before the snapshot opens:
// whatever is below it and committed, the snapshot will show.
func (s *snapshot) readStart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*kafkaTimeout)
	defer cancel()
	scan, err := order.OpenIntents(ctx, s.Config, s.codec, s.agent.Source)
	if err != nil {
		return s.unreachable(err)
	}
	b, err := s.bounds(ctx, s.agent.Source)
	if err != nil {
		return err
	}
	s.start, s.topic = scan.Oldest, b.id
	return nil
}

// mark publishes the snapshot's Mark. Under gate none records come after
// commits, so agents are asked first and answer behind what the snapshot may show.
func (s *snapshot) mark(ctx context.Context, visible string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*kafkaTimeout)
	defer cancel()
	if _, err := s.behindCommits(ctx, s.agent.Source); err != nil {
		return 0, err
	}
	return s.publishMark(ctx, s.agent.Source, &event.Mark{
		ID: uuid.New(), Phase: event.MarkSnapshot, Target: s.worker.Target, Snapshot: visible, Start: s.start,
	})
}

// noStandalone says whether no command between start and the Mark ran outside of
// transactions: those have no transaction id by which the target could tell
// whether the snapshot shows them.
func (s *snapshot) noStandalone(ctx context.Context, mark int64) (bool, error) {
	clean := true
	err := s.each(ctx, s.agent.Source, s.start, mark, func(_ topics.Message, rec *event.Record) error {
		if tx, ok := rec.Body.(*event.Transaction); ok && tx.Standalone {
			clean = false
			return errStop
		}
		return nil
	})
	return clean, err
}

// fill does the copy, in one transaction of the target.
func (s *snapshot) fill(ctx context.Context, target *pgx.Conn, source *pgcopy.Source, mark int64, done *pgcopy.Progress) (pgcopy.Report, error) {
	var report pgcopy.Report
	err := pgx.BeginFunc(ctx, target, func(tx pgx.Tx) error {
		if err := source.Refuse(ctx, tx); err != nil {
			return err
		}
		// First, so that a worker waits for the stream's rows from here on instead
		// of applying what the copy brings.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('opmux take-over ' || $1))", s.agent.Source); err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if err := apply.InstallSnapshot(ctx, tx, apply.Snapshot{
			Source: s.agent.Source, Start: s.start, Mark: mark, Snapshot: source.Visible, TopicID: s.topic,
		}); err != nil {
			return err
		}
		stop := s.showProgress(ctx, source, done)
		defer stop()
		var err error
		report, err = source.To(ctx, tx, done)
		return err
	})
	return report, err
}

// showProgress prints how far the copy is, each second, until stop is called.
func (s *snapshot) showProgress(ctx context.Context, source *pgcopy.Source, done *pgcopy.Progress) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // ends with stop, which waits for it
		defer close(ended)
		for pause(ctx, time.Second) == nil {
			line := fmt.Sprintf("%d of %d tables, %d rows, %s", done.Tables.Load(), len(source.Tables()), done.Rows.Load(), sizeText(done.Bytes.Load()))
			switch t := done.Table(); {
			case t != "":
				line += ", copying " + t
			case done.Tables.Load() == int64(len(source.Tables())):
				line += ", making indexes and constraints"
			}
			s.say("%s", line)
		}
	}()
	return func() { cancel(); <-ended }
}

func (s *snapshot) finish(ctx context.Context, target *pgx.Conn, source *pgcopy.Source, report pgcopy.Report, done *pgcopy.Progress) {
	if len(report.MissingRoles) > 0 {
		s.say("warning: owners and grants were left out, since the target's login may not act for these roles, or they are missing there: %s", strings.Join(report.MissingRoles, ", "))
	}
	if report.LargeObjects > 0 {
		s.say("warning: %s were not copied: opmux does not carry large objects", counted(int(report.LargeObjects), "large object"))
	}
	s.say("copied %s, %d rows, %s", counted(len(source.Tables()), "table"), done.Rows.Load(), sizeText(done.Bytes.Load()))
	if _, err := target.Exec(ctx, "ANALYZE"); err != nil {
		s.say("warning: ANALYZE on the target: %v", err)
	}
	fmt.Fprintf(s.stdio.Out, "target %s holds source %s as of offset %d: %s, %d rows in %s; %s\n",
		s.worker.Target, s.agent.Source, s.start, counted(len(source.Tables()), "table"), done.Rows.Load(),
		now().Sub(s.began).Round(100*time.Millisecond), s.next(ctx))
}

// next says what to do with the target's worker: one that had begun too early,
// and stopped on what the target did not have yet, has to be started again.
func (s *snapshot) next(ctx context.Context) string {
	beats, err := s.heartbeats(ctx)
	if err != nil {
		return "start its apply-worker"
	}
	advice := "start its apply-worker"
	for _, h := range sortedBeats(beats) {
		if h.Role != topics.RoleWorker || h.Target != s.worker.Target || !alive(h, now()) {
			continue
		}
		if stoppedOnError(h) {
			return fmt.Sprintf("restart apply-worker %s, which had stopped: %s", h.Name, h.LastError)
		}
		advice = "its apply-worker goes on from there"
	}
	return advice
}

func sizeText(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return counted(int(n), "byte")
}
