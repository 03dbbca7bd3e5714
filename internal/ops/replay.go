package ops

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/topics"
)

func replayCommand() command {
	return command{
		name: "replay",
		args: "--config <apply-worker.yaml> --from beginning|OFFSET|RFC3339 [--force]",
		what: "rebuild an empty target from the topic, up to its end as of the call",
		more: "The target must be as it was at that point of the stream: empty for the beginning, if the\nprimary was empty when its agent first started (else use opmux snapshot). A target that has\nrows and a position is refused, since transactions would take effect twice; --force says that\nyou know its rows to be of that point. No apply-worker of the target may be running; start it\nafterwards to go on.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			path := c.String("config", "", "the apply-worker's configuration `file`")
			from := c.String("from", "", "where to begin: beginning, an `offset` or a time (RFC 3339)")
			force := c.Bool("force", false, "also where the target has rows and a position")
			if err := c.parse("config", "from"); err != nil {
				return err
			}
			start, err := parsePlace(*from)
			if err != nil {
				return c.wrong("--from: %v", err)
			}
			w, err := loadWorker(*path)
			if err != nil {
				return err
			}
			k, err := openKafka(ctx, &config.File{Path: *path, Worker: w})
			if err != nil {
				return err
			}
			if start.offset >= 0 && len(w.Sources) > 1 {
				return c.wrong("--from %d: an offset is one source's, and the configuration names %v; use beginning or a time", start.offset, w.SourceNames())
			}
			return (&replay{kafka: k, cfg: w, stdio: stdio, start: start, force: *force, began: now()}).run(ctx)
		},
	}
}

// replay rebuilds a target.
type replay struct {
	*kafka
	cfg   *config.Worker
	stdio IO
	start place
	force bool
	began time.Time
	until map[string]int64
}

func (r *replay) run(ctx context.Context) error {
	if err := r.nobodyElse(ctx); err != nil {
		return err
	}
	log, err := logger(r.cfg.Log, r.stdio)
	if err != nil {
		return err
	}
	worker, err := apply.New(apply.Config{
		Target: r.cfg.Target, Name: r.cfg.Name + "-replay", DSN: r.cfg.DSN, Sources: r.cfg.SourceNames(),
		Parallelism: r.cfg.Parallelism, OnError: r.cfg.OnError, Memory: int64(r.cfg.Memory) / int64(len(r.cfg.Sources)), NoSets: !r.cfg.Sets,
	}, apply.Deps{Topics: r.Config, Codec: r.codec, Log: log, Metrics: prometheus.NewRegistry(), Normalise: classify.Normalise, Shape: classify.Shape, Definition: classify.Definition})
	if err != nil {
		return err
	}
	if err := r.reset(ctx); err != nil {
		return err
	}
	watched, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // ends with stop, which is waited for
		defer close(ended)
		for pause(watched, 2*time.Second) == nil {
			r.progress(watched)
		}
	}()
	err = worker.RunUntil(ctx, r.until)
	stop()
	<-ended
	if err != nil {
		return fmt.Errorf("replay stopped: %w", err)
	}
	fmt.Fprintf(r.stdio.Out, "target %s holds what was in the topic of %s when replay began, in %s; start its apply-worker to go on\n",
		r.cfg.Target, strings.Join(r.cfg.SourceNames(), ", "), now().Sub(r.began).Round(100*time.Millisecond))
	return nil
}

// aliveWithin is how long a worker that runs may be between two heartbeats.
const aliveWithin = 3 * time.Second

// nobodyElse refuses while a worker of the target is running: the two would take
// the stream from each other. A heartbeat that does not change is of one that ended.
func (r *replay) nobodyElse(ctx context.Context) error {
	first, err := r.heartbeats(ctx)
	if err != nil {
		return err
	}
	suspects := map[string]topics.Heartbeat{}
	for key, h := range first {
		if h.Role == topics.RoleWorker && h.Target == r.cfg.Target && alive(h, now()) {
			suspects[key] = h
		}
	}
	for deadline := now().Add(aliveWithin); len(suspects) > 0 && now().Before(deadline); {
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
		beats, err := r.heartbeats(ctx)
		if err != nil {
			return err
		}
		for key, h := range suspects {
			again, ok := beats[key]
			if !ok {
				delete(suspects, key)
			} else if again.Time.After(h.Time) {
				return fmt.Errorf("apply-worker %s of target %s is running: stop it first, and start it again after the replay", h.Name, h.Target)
			}
		}
	}
	return nil
}

// reset puts the target's position to where replay begins.
func (r *replay) reset(ctx context.Context) error {
	positions, err := apply.ReadPosition(ctx, r.cfg.DSN)
	if err != nil {
		return fmt.Errorf("target %s: %w", r.cfg.Target, connectCause(err))
	}
	if len(positions) > 0 && !r.force {
		table, err := r.firstRow(ctx)
		if err != nil {
			return err
		}
		if table != "" {
			return fmt.Errorf("target %s has rows (in %s) and a position: replaying would make transactions take effect twice; empty its database first, start the apply-worker if it shall only go on, or use --force if its rows are of that point of the stream", r.cfg.Target, table)
		}
	}
	r.until = map[string]int64{}
	for _, source := range r.cfg.SourceNames() {
		b, err := r.bounds(ctx, source)
		if err != nil {
			return err
		}
		from, err := r.resolve(ctx, source, r.start, b)
		if err != nil {
			return err
		}
		if err := apply.Reset(ctx, r.cfg.DSN, source, b.id, from); err != nil {
			return err
		}
		r.until[source] = b.end
		fmt.Fprintf(r.stdio.Err, "source %s: replaying offsets %d to %d\n", source, from, b.end)
	}
	return nil
}

// firstRow names a table of the target that has rows; "" where none has.
func (r *replay) firstRow(ctx context.Context) (string, error) {
	conn, err := connect(ctx, r.cfg.DSN, "target (dsn)")
	if err != nil {
		return "", err
	}
	defer disconnect(ctx, conn)
	tables, err := column[string](ctx, conn, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname NOT IN ('opmux', 'information_schema') AND n.nspname NOT LIKE 'pg\_%' ORDER BY 1`)
	if err != nil {
		return "", err
	}
	for _, table := range tables {
		rows, err := one[bool](ctx, conn, "SELECT EXISTS (SELECT FROM "+table+")")
		if err != nil {
			return "", err
		}
		if rows {
			return table, nil
		}
	}
	return "", nil
}

// progress prints how far the target is.
func (r *replay) progress(ctx context.Context) {
	positions, err := apply.ReadPosition(ctx, r.cfg.DSN)
	if err != nil {
		return // the replay itself says what is wrong
	}
	for _, source := range r.cfg.SourceNames() {
		fmt.Fprintf(r.stdio.Err, "%6.1f s  source %s: offset %d of %d\n", now().Sub(r.began).Seconds(), source, positions[source].Low, r.until[source])
	}
}
