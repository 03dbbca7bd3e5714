package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/apply/schedule"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// stream applies one source. Its goroutines share the scheduler under mu.
type stream struct {
	*Worker
	source string
	topic  string
	log    *zap.Logger
	status *streamStatus
	commit func(offset int64) // to the group; nil outside of one
	// committed is what the group was told last, below 0: nothing; nil outside of one.
	committed func(ctx context.Context) (int64, error)

	held   *position.Held
	shared *execute.Shared
	begun  map[int64]position.Standalone

	mu        sync.Mutex
	scheduler *schedule.Scheduler
	changed   chan struct{}     // closed when the scheduler has changed
	ended     bool              // nothing more will be read
	stopped   error             // why reading ended
	differing map[string]string // where tables are defined otherwise, by table

	finish chan []finishing
}

func newStream(w *Worker, source string) *stream {
	return &stream{
		Worker:  w,
		source:  source,
		topic:   w.deps.Topics.Names().Ops(source),
		log:     w.deps.Log.With(zap.String("source", source), zap.String("target", w.cfg.Target)),
		status:  w.status.add(source),
		changed: make(chan struct{}),
		finish:  make(chan []finishing),
		begun:   map[int64]position.Standalone{},

		differing: map[string]string{},
	}
}

// errDone ends the goroutines of a stream that has come to its end.
var errDone = errors.New("done")

// run applies what next returns, up to offset until, and returns when all of
// that is applied, ctx ends or an error stops the stream.
func (st *stream) run(ctx context.Context, held *position.Held, next nextFunc, until int64) error {
	st.held = held
	st.shared = execute.NewShared(held.Diverged)
	for _, s := range held.Standalone {
		st.begun[s.Offset] = s
	}
	st.scheduler = schedule.New(schedule.Config{
		GroupTransactions: st.cfg.Group, WindowBytes: st.cfg.Memory,
	}, held.Position, st.skip)
	st.ended = held.Low >= until
	tasks, ctx := errgroup.WithContext(ctx)
	if !st.ended {
		tasks.Go(func() error { return st.read(ctx, next, until) })
	}
	for lane := range st.cfg.Parallelism {
		tasks.Go(func() error { return st.lane(ctx, lane) })
	}
	f := newFinisher(st)
	tasks.Go(func() error { return f.run(ctx) })
	tasks.Go(func() error { return st.untilQuiet(ctx, f) })
	tasks.Go(func() error { return st.observe(ctx) })
	err := tasks.Wait()
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// skip says why a transaction is not to be executed: the snapshot that the
// target was filled with shows it.
func (st *stream) skip(offset int64, tx *event.Transaction) (string, error) {
	snap := st.held.Snapshot
	if snap == nil || tx.Postgres.XID == 0 {
		return "", nil
	}
	// Intents lie below the Mark, since they come before their commit. What was
	// recorded after its commit may come behind it. Numbers of transactions begin
	// anew only with another epoch, after the primary has crashed.
	if offset >= snap.Mark && (tx.Intent || st.scheduler.Adding().Epoch >= snap.Mark) {
		return "", nil
	}
	hidden, err := position.NotVisible(snap.Snapshot, tx.Postgres.XID)
	if err != nil || hidden {
		return "", err
	}
	return skipSnapshot, nil
}

const skipSnapshot = "snapshot"

// signal wakes everybody who waits for the scheduler; mu is held.
func (st *stream) signal() {
	close(st.changed)
	st.changed = make(chan struct{})
}

// lane applies groups until ctx ends.
func (st *stream) lane(ctx context.Context, number int) error {
	lane := execute.NewLane(execute.Config{
		Source: st.source, DSN: st.cfg.DSN, Lane: number, Fence: st.held.Fence,
		Open: st.operations, Shared: st.shared, Normalise: st.deps.Normalise, Log: st.log,
		Trouble: st.trouble, Differs: st.differs, Shape: st.shape(), Definition: st.deps.Definition,
	})
	defer func() { _ = lane.Close() }() // it never fails
	for {
		group, base, err := st.take(ctx)
		if err != nil {
			return err
		}
		results, err := st.execute(ctx, lane, group, base)
		if err != nil {
			return err
		}
		if err := st.applied(ctx, group, results); err != nil {
			return err
		}
	}
}

func (st *stream) shape() execute.ShapeFunc {
	if st.cfg.NoSets {
		return nil
	}
	return st.deps.Shape
}

func (st *stream) execute(ctx context.Context, lane *execute.Lane, group *schedule.Group, base position.Position) ([]execute.Result, error) {
	job := execute.Job{Transactions: group.Transactions, Base: base}
	first := group.Transactions[0]
	if !first.Transaction.Standalone {
		return lane.Run(ctx, job)
	}
	var begun *position.Standalone
	if s, ok := st.begun[first.Offset]; ok {
		begun = &s
	}
	return lane.RunStandalone(ctx, job, begun)
}

// take waits for a group that may run, and returns the position without it.
func (st *stream) take(ctx context.Context) (*schedule.Group, position.Position, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for {
		news := !st.scheduler.Idle()
		if group := st.scheduler.Next(); group != nil {
			return group, st.scheduler.Position(nil), nil
		}
		if news {
			st.signal() // that nothing can run is news to the reader
		}
		changed := st.changed
		st.mu.Unlock()
		select {
		case <-ctx.Done():
			st.mu.Lock()
			return nil, position.Position{}, ctx.Err()
		case <-changed:
			st.mu.Lock()
		}
	}
}

// applied notes that a group is committed and hands it on to be finished.
func (st *stream) applied(ctx context.Context, group *schedule.Group, results []execute.Result) error {
	st.metrics.groups.WithLabelValues(st.source).Inc()
	st.metrics.groupSize.WithLabelValues(st.source).Observe(float64(len(results)))
	list := make([]finishing, len(results))
	for i := range results {
		list[i] = finishing{Tx: results[i].Tx, result: &results[i]}
	}
	st.mu.Lock()
	st.scheduler.Applied(group)
	st.signal()
	st.mu.Unlock()
	return st.hand(ctx, list)
}

// hand gives transactions to the finisher.
func (st *stream) hand(ctx context.Context, list []finishing) error {
	if len(list) == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case st.finish <- list:
		return nil
	}
}

func (st *stream) trouble(reason execute.Reason, err error) {
	if err == nil {
		st.status.over()
		return
	}
	st.metrics.retries.WithLabelValues(st.source, string(reason)).Inc()
	if st.status.trouble(err) {
		st.log.Warn("trying again", zap.String("reason", string(reason)), zap.Error(err))
	}
}

// untilQuiet ends the stream once nothing is read any more and all that could
// be applied is.
func (st *stream) untilQuiet(ctx context.Context, f *finisher) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		st.mu.Lock()
		over, err := st.ended && st.scheduler.Quiet(), st.stopped
		st.mu.Unlock()
		if !over {
			continue
		}
		if saveErr := f.save(ctx); saveErr != nil && err == nil {
			err = saveErr
		}
		if err == nil {
			err = errDone
		}
		return err
	}
}

// nextFunc returns the topic's next record.
type nextFunc func(ctx context.Context) (topics.Message, error)

func (st *stream) recordError(offset int64, err error) error {
	return fmt.Errorf("source %s, record at offset %d: %w", st.source, offset, err)
}
