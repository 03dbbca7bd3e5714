package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/apply/schedule"
	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/crashpoint"
)

// finishing is a transaction of which nothing is left to execute.
type finishing struct {
	*schedule.Tx
	result *execute.Result // nil: it was not executed
}

// finisher does what follows the target transaction: sequence marks, which are
// not transactional, and digests. The position moves past a transaction only
// when both are safe, so that a worker that takes over does them again.
//
// It is the one writer of sequences of its stream, also for those that aborted
// transactions have drawn from.
type finisher struct {
	*stream
	keeper *keeper
	failed chan error    // of the producer
	acked  chan struct{} // there is something in acknowledged

	ackMu        sync.Mutex
	acknowledged []*schedule.Tx // their digests are, and they are to be noted as finished

	saving  sync.Mutex
	saved   int64 // the position that the keeper has stored
	savedAt time.Time

	lookedAt time.Time // whether the target still has all that it has confirmed

	warnedAt time.Time // of an operation that was unlike the primary's
}

func newFinisher(st *stream) *finisher {
	return &finisher{
		stream: st, keeper: newKeeper(st), failed: make(chan error, 1), acked: make(chan struct{}, 1), saved: st.held.Low,
	}
}

// Positions are saved so often when lanes have nothing to do, and at least so
// often when they have.
const (
	saveIdle = 100 * time.Millisecond
	saveBusy = 2 * time.Second
)

func (f *finisher) run(ctx context.Context) error {
	defer f.keeper.close()
	tick := time.NewTicker(saveIdle)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-f.failed:
			return err
		case list := <-f.finish:
			if err := f.finishAll(ctx, list); err != nil {
				return err
			}
		case <-f.acked:
			f.finished(f.takeAcknowledged())
		case <-tick.C:
			if err := f.saveIdle(ctx); err != nil {
				return err
			}
		}
	}
}

// finishAll finishes transactions that came together.
func (f *finisher) finishAll(ctx context.Context, list []finishing) error {
	var marks execute.Marks
	var counts counts
	records := make([]*event.DigestRecord, len(list))
	for i, t := range list {
		counts.add(t)
		f.warnUnlike(t)
		record, own, err := f.conclude(ctx, t)
		if err != nil {
			return err
		}
		records[i] = record
		marks.Merge(own)
	}
	counts.report(f.stream)
	if err := f.keeper.setSequences(ctx, marks); err != nil {
		return err
	}
	for _, t := range list {
		t.Transaction = nil // only its place is needed from here on (I7)
	}
	var finished []*schedule.Tx
	for i, t := range list {
		if records[i] == nil {
			finished = append(finished, t.Tx)
		} else if err := f.publish(t.Tx, records[i]); err != nil {
			return err
		}
	}
	f.finished(finished)
	return nil
}

// counts are what a list of transactions adds to the metrics.
type counts struct {
	outcomes   map[string]int
	operations execute.Counts
	unlike     int
}

func (c *counts) add(t finishing) {
	if c.outcomes == nil {
		c.outcomes = map[string]int{}
	}
	switch {
	case !t.Committed:
		c.outcomes["aborted"]++
	case t.result == nil:
		c.outcomes["skipped"]++
	default:
		c.outcomes["applied"]++
		if t.result.Unknown == "" {
			for _, n := range t.result.Operations {
				c.operations.Add(n)
			}
			c.unlike += t.result.Unlike.Count
		}
	}
}

func (c *counts) report(st *stream) {
	st.metrics.unlike.WithLabelValues(st.source).Add(float64(c.unlike))
	for outcome, n := range c.outcomes {
		st.metrics.transactions.WithLabelValues(st.source, outcome).Add(float64(n))
	}
	for _, n := range c.operations {
		st.metrics.operations.WithLabelValues(st.source, string(n.Kind), "single").Add(float64(n.All - n.InSets))
		st.metrics.operations.WithLabelValues(st.source, string(n.Kind), "set").Add(float64(n.InSets))
	}
}

// warnAgain is how soon one more operation that was unlike the primary's is told of.
const warnAgain = time.Second

// warnUnlike says, without a verifier too, that the target has diverged.
func (f *finisher) warnUnlike(t finishing) {
	if t.result == nil || t.result.Unlike.Count == 0 || t.result.Unknown != "" || time.Since(f.warnedAt) < warnAgain {
		return
	}
	f.warnedAt = time.Now()
	o := t.result.Unlike.First
	f.log.Warn("an operation hit another number of rows than on the primary: the target had diverged before", zap.Int64("offset", t.Offset), zap.Int32("operation", o.Index),
		zap.Strings("tables", o.Tables), zap.Int64("rows", o.Rows), zap.Int64("on_the_primary", o.OnPrimary), zap.Int("of_the_transaction", t.result.Unlike.Count))
}

// conclude returns a transaction's digests, nil for none to publish, and its
// sequence marks.
func (f *finisher) conclude(ctx context.Context, t finishing) (*event.DigestRecord, execute.Marks, error) {
	record := &event.DigestRecord{
		Source: f.source, Tx: t.Transaction.ID, Offset: t.Offset, Target: f.cfg.Target,
		Level: event.LevelFull, Time: time.Now().UnixMicro(), Skipped: t.Skip,
	}
	if t.result != nil {
		record.Skipped = t.result.Unknown
	}
	if t.result != nil && t.result.Unknown == "" {
		t.result.Digests.Fill(record)
		return publishable(record), t.result.Marks, nil
	}
	if t.Skip == skipSnapshot && t.Transaction.Chunks > 0 {
		// The snapshot has its sequences; the operations are not worth reading.
		record.Count = 1
		return record, nil, nil
	}
	count, marks, err := f.look(ctx, t.Tx)
	if err != nil || !t.Committed {
		return nil, marks, err
	}
	record.Count = count
	if t.Skip == skipSnapshot {
		marks = nil
	}
	return publishable(record), marks, nil
}

func publishable(r *event.DigestRecord) *event.DigestRecord {
	if r.Count == 0 {
		return nil // nothing in it is compared
	}
	return r
}

// look passes through the operations of a transaction that was not executed by
// this worker: its sequence marks count all the same.
func (f *finisher) look(ctx context.Context, tx *schedule.Tx) (compared int32, marks execute.Marks, err error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		compared, marks, err = f.lookOnce(ctx, tx)
		var chunks *execute.ReadError
		if ctx.Err() != nil || !errors.As(err, &chunks) {
			return compared, marks, err
		}
		f.trouble(execute.ReasonChunks, err)
		if err := pause(ctx, wait); err != nil {
			return 0, nil, err
		}
	}
}

func (f *finisher) lookOnce(ctx context.Context, tx *schedule.Tx) (compared int32, marks execute.Marks, err error) {
	ops, err := f.operations(ctx, tx)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = ops.Close() }() // it only reads
	var number digest.Numbering
	for {
		op, err := ops.Next(ctx)
		if err != nil || op == nil {
			return compared, marks, err
		}
		marks.Add(op.Sequences)
		if _, last := number.Next(op); last && digest.Compared(op.Kind) {
			compared++
		}
	}
}

// publish hands a transaction's digests to the producer. The transaction is
// finished when they are acknowledged.
func (f *finisher) publish(tx *schedule.Tx, record *event.DigestRecord) error {
	value, err := f.deps.Codec.EncodeDigest(record)
	if err != nil {
		return f.recordError(tx.Offset, fmt.Errorf("encoding its digests: %w", err))
	}
	topic := f.deps.Topics.Names().Digests(f.source)
	crashpoint.At(crashpoint.DigestBefore)
	f.producer.Produce(topic, digest.Key(f.source, record.Tx), value, nil, func(_ int64, err error) {
		if err == nil {
			crashpoint.At(crashpoint.DigestAfter)
			f.acknowledge(tx)
			return
		}
		select {
		case f.failed <- fmt.Errorf("publishing digests to topic %s: %w", topic, err):
		default: // one is enough
		}
	})
	return nil
}

// acknowledge leaves a transaction to the finisher's own goroutine, which notes those
// that came meanwhile together.
func (f *finisher) acknowledge(tx *schedule.Tx) {
	f.ackMu.Lock()
	defer f.ackMu.Unlock()
	f.acknowledged = append(f.acknowledged, tx)
	select {
	case f.acked <- struct{}{}:
	default: // it knows
	}
}

func (f *finisher) takeAcknowledged() []*schedule.Tx {
	f.ackMu.Lock()
	defer f.ackMu.Unlock()
	list := f.acknowledged
	f.acknowledged = nil
	return list
}

func (f *finisher) finished(list []*schedule.Tx) {
	if len(list) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, tx := range list {
		f.scheduler.Finish(tx)
	}
	f.signal()
}

// saveIdle stores the position when it has moved and no group does, and now and
// then in any case. Where it has not, it looks now and then whether the target still has
// all that counts as applied: nothing else would tell while there is nothing to do.
func (f *finisher) saveIdle(ctx context.Context) error {
	f.mu.Lock()
	low, quiet := f.scheduler.Low(), f.scheduler.Quiet()
	f.mu.Unlock()
	f.saving.Lock()
	due := low != f.saved && (quiet || time.Since(f.savedAt) >= saveBusy)
	f.saving.Unlock()
	switch {
	case due:
		return f.save(ctx)
	case time.Since(f.lookedAt) < lookAgain:
		return nil
	}
	f.lookedAt = time.Now()
	return f.keeper.look(ctx)
}

// save stores the position as it is now.
func (f *finisher) save(ctx context.Context) error {
	f.saving.Lock()
	defer f.saving.Unlock()
	f.mu.Lock()
	p := f.scheduler.Position(nil)
	f.mu.Unlock()
	crashpoint.At(crashpoint.PositionBefore)
	if err := f.keeper.save(ctx, p); err != nil {
		return err
	}
	crashpoint.At(crashpoint.PositionAfter)
	f.saved, f.savedAt = p.Low, time.Now()
	if f.commit != nil {
		f.commit(p.Low)
	}
	return nil
}
