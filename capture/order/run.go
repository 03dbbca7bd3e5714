package order

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run follows the topic, beats, ends silent epochs and settles, until the epoch is
// over or ctx is done. It returns Err() in the first
// case, nil after Close.
func (l *Ledger) Run(ctx context.Context) error {
	defer l.running()()
	g, inner := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{
		func(ctx context.Context) error { return l.followOps(ctx, l.readers.ops) },
		func(ctx context.Context) error { return l.followStatus(ctx, l.readers.status) },
		l.beats, l.watchPrimary, l.watchLock, l.settleLoop, l.awaitEnd,
	} {
		g.Go(func() error {
			err := loop(inner)
			if inner.Err() == nil {
				l.end(err) // at once: sessions must not wait for the other loops
			}
			return err
		})
	}
	err := g.Wait()
	switch why := l.Err(); {
	case errors.Is(why, errClosed):
		return nil
	case why != nil:
		return why
	}
	return err
}

// awaitEnd waits for the end of the epoch.
func (l *Ledger) awaitEnd(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ended:
		return l.Err()
	}
}

// running notes that Run runs; the result notes its end.
func (l *Ledger) running() func() {
	over := make(chan struct{})
	l.runMu.Lock()
	l.runOver = over
	l.runMu.Unlock()
	return func() { close(over) }
}

// awaitRun waits for the end of Run, if it was called. The epoch must be over.
func (l *Ledger) awaitRun() {
	l.runMu.Lock()
	over := l.runOver
	l.runMu.Unlock()
	if over != nil {
		<-over
	}
}

// watchLock waits for the loss of the lock. Under gate none the epoch ends: another
// agent may begin. Where the lock is shared it is taken again.
func (l *Ledger) watchLock(ctx context.Context) error {
	for {
		l.lockMu.Lock()
		held := l.lock
		l.lockMu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-held.Lost():
		}
		if l.cfg.Gate == GateNone {
			return ErrLockLost
		}
		if err := l.lockAgain(ctx); err != nil {
			return err
		}
	}
}

// lockAgain tries until the shared lock is held, the gate excludes it, or ctx ends.
func (l *Ledger) lockAgain(ctx context.Context) error {
	for {
		err := l.takeLock(ctx)
		var second *SecondAgentError
		if err == nil || errors.As(err, &second) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(l.cfg.Beat):
		}
	}
}
