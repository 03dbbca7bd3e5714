package order

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// errClosed is why the epoch of a closed ledger is over.
var errClosed = errors.New("the ledger is closed")

// flushTimeout bounds the waiting for digests, which cost a verdict at most.
const flushTimeout = 5 * time.Second

// Close waits until every ticket has ended, writes the last outcomes and, where
// nothing is lost, a clean FENCE, and gives the lock up. Sessions must have ended
// or be about to. An error says that ctx ended before: then the next epoch settles
// what is open. It may be called twice.
func (l *Ledger) Close(ctx context.Context) error {
	l.closeMu.Lock()
	defer l.closeMu.Unlock()
	if l.closed {
		return l.closeErr
	}
	l.closed = true
	l.closeErr = l.close(ctx)
	return l.closeErr
}

func (l *Ledger) close(ctx context.Context) error {
	l.draining.Store(true)
	err := l.drain(ctx)
	if err == nil {
		l.awaitSettled(ctx)
	}
	l.outcomes.flush()
	if err == nil {
		err = l.finish(ctx)
	}
	broken := l.broken()
	l.end(errClosed)
	l.awaitRun()
	l.line.stop(errClosed)
	l.release()
	if broken {
		// Records that Kafka refused for good make it refuse every later one.
		return errors.Join(err, l.deps.Producer.Reset())
	}
	if err == nil && !l.quiet {
		l.beat(ctx)
		l.flush(ctx)
	}
	return err
}

// drain waits for the tickets to end. Once Run is over nobody else settles those of
// gate none, whose places would stay empty.
func (l *Ledger) drain(ctx context.Context) error {
	drained := l.startDraining()
	if l.broken() {
		return nil // nothing more can be told
	}
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return l.undrained(ctx)
	case <-l.ended:
	}
	l.awaitRun()
	for !l.broken() {
		l.settleDue(ctx)
		select {
		case <-drained:
			return nil
		case <-ctx.Done():
			return l.undrained(ctx)
		case <-time.After(pendingEvery):
		}
	}
	return nil
}

// awaitSettled gives Run a moment to settle tickets whose end is unknown, so that
// they don't stay open until another agent takes them up.
func (l *Ledger) awaitSettled(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleAfter)
	defer cancel()
	for l.settling.asking() {
		select {
		case <-ctx.Done():
			return
		case <-l.ended:
			return
		case <-time.After(pendingEvery / 10):
		}
	}
}

// broken tells whether the chain cannot go on.
func (l *Ledger) broken() bool {
	err := l.line.err()
	return err != nil && !errors.Is(err, errClosed)
}

func (l *Ledger) undrained(ctx context.Context) error {
	l.outMu.Lock()
	defer l.outMu.Unlock()
	return fmt.Errorf("closing the epoch: %d transactions have not ended: %w", l.out, ctx.Err())
}

func (l *Ledger) startDraining() <-chan struct{} {
	l.outMu.Lock()
	defer l.outMu.Unlock()
	if l.drained == nil {
		l.drained = make(chan struct{})
		if l.out == 0 {
			close(l.drained)
		}
	}
	return l.drained
}

// finish closes the epoch by a FENCE that says that everything ticketed is in the
// topic, and waits for it.
func (l *Ledger) finish(ctx context.Context) error {
	var ended *EndedError
	if l.unclean.Load() || errors.As(l.Err(), &ended) {
		l.flush(ctx)
		return nil
	}
	acked := make(chan error, 1)
	var offset int64 // written before acked is
	fence := l.newFence(l.cfg.Gate)
	fence.Clean = true
	err := l.line.seal(fence, errClosed, func(_, at int64, err error) {
		offset = at
		acked <- err
	})
	if err != nil {
		return fmt.Errorf("closing the epoch: %w", err)
	}
	select {
	case err = <-acked:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("closing the epoch: its last record is not acknowledged: %w", err)
	}
	l.flush(ctx)
	l.closedAt.Store(offset)
	return nil
}

// flush waits for what is on its way, digests above all.
func (l *Ledger) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := l.deps.Producer.Flush(ctx); err != nil {
		l.log.Warn("the last outcomes and digests are not acknowledged: others settle those, these are not verified", zap.Error(err))
	}
}

// release gives up what Open took.
func (l *Ledger) release() {
	l.readers.close()
	l.lockMu.Lock()
	defer l.lockMu.Unlock()
	if l.lock != nil {
		_ = l.lock.Close() // closing is giving up, whatever it returns
	}
}
