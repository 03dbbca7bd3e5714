package simulation

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
)

// settler is an agent's connection for questions: package settle judges, the
// simulated server answers.
type settler struct {
	p   *process
	rng *rand.Rand
}

func (s *settler) Identify(ctx context.Context) (settle.Identity, error) {
	p := s.p.w.primary
	if err := p.ping(ctx, s.p, s.rng); err != nil {
		return settle.Identity{}, err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return settle.Identity{Primary: event.Primary{Make: "postgres", SystemID: "1", Timeline: 1, Database: "app", Started: p.started},
		Postmaster: p.started, RecoveryLSN: p.recovery, CheckpointLSN: p.checkpoint, NextXID: p.checkpointXID}, nil
}

func (s *settler) Settle(ctx context.Context, i settle.Intent) (settle.Verdict, error) {
	if i.Tx.XID == 0 {
		return settle.Verdict{State: settle.InDoubt, Reason: "no transaction id"}, nil
	}
	id, err := s.Identify(ctx)
	if err != nil {
		return settle.Verdict{}, err
	}
	if s.p.w.broken(RecoveryIgnored) && i.Tx.BackendStart < id.Started {
		return conn{s, id.Started}.Status(ctx, i.Tx.XID)
	}
	return settle.Judge(ctx, conn{s, id.Started}, id, i)
}

// Lost tells which of some committed transactions the server does not have.
func (s *settler) Lost(ctx context.Context, of []event.PostgresTx, end uint64) ([]bool, error) {
	p := s.p.w.primary
	if err := p.ping(ctx, s.p, s.rng); err != nil {
		return nil, err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	lost := make([]bool, len(of))
	for i, tx := range of {
		known := p.txs[tx.XID]
		lost[i] = tx.ProbeLSN > end || tx.XID != 0 && (known == nil || known.state != txCommitted)
	}
	return lost, nil
}

// conn is the connection to one start of the server.
type conn struct {
	*settler
	started int64
}

func (c conn) ask(ctx context.Context) error {
	p := c.p.w.primary
	if err := p.ping(ctx, c.p, c.rng); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.started != c.started {
		return errConnection
	}
	return nil
}

func (c conn) Terminate(ctx context.Context, tx event.PostgresTx) (bool, string, error) {
	if err := c.ask(ctx); err != nil {
		return false, "", err
	}
	p := c.p.w.primary
	p.w.mu.Lock()
	b := p.backends[tx.BackendPID]
	found := b != nil && b.start == tx.BackendStart
	p.w.mu.Unlock()
	if found && !p.w.broken(BackendLives) {
		p.hangUp(b, latency(c.rng))
	}
	return found, "", nil
}

func (c conn) Status(ctx context.Context, xid uint64) (settle.Verdict, error) {
	if err := c.ask(ctx); err != nil {
		return settle.Verdict{}, err
	}
	p := c.p.w.primary
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	tx := p.txs[xid]
	switch {
	case tx == nil && xid >= p.nextXID:
		return settle.Verdict{State: settle.Undrawn}, nil
	case tx == nil: // lost, between others that are not
		return settle.Verdict{State: settle.Aborted, By: "xid status"}, nil
	case tx.state == txCommitted:
		return settle.Verdict{State: settle.Committed, By: "xid status"}, nil
	case tx.state == txAborted || p.w.broken(InProgressIsAborted):
		return settle.Verdict{State: settle.Aborted, By: "xid status"}, nil
	}
	return settle.Verdict{State: settle.Pending}, nil
}

// Attempt: nobody prepares transactions here.
func (c conn) Attempt(_ context.Context, _ settle.Intent, status settle.Verdict) (settle.Verdict, error) {
	return status, nil
}

// advisory is the source's lock on the primary.
type advisory struct {
	p      *primary
	owner  *process
	shared bool
	lost   chan struct{}
}

func (a *advisory) Lost() <-chan struct{} { return a.lost }

func (a *advisory) Close() error {
	a.p.w.mu.Lock()
	defer a.p.w.mu.Unlock()
	a.p.release(a)
	return nil
}

// release gives a lock up; w.mu is held.
func (p *primary) release(a *advisory) {
	if p.advisory[a] {
		delete(p.advisory, a)
		close(a.lost)
	}
}

// lockFor is how a process takes the lock, as settle.Acquire does.
func (p *primary) lockFor(owner *process, rng *rand.Rand) order.LockFunc {
	return func(ctx context.Context, _ string, shared bool) (order.Lock, error) {
		for deadline := time.Now().Add(3 * time.Second); ; {
			if err := p.ping(ctx, owner, rng); err != nil {
				return nil, err
			}
			if a := p.tryLock(owner, shared); a != nil {
				return a, nil
			}
			if time.Now().After(deadline) {
				return nil, settle.ErrLocked
			}
			if err := owner.pause(ctx, 100*time.Millisecond); err != nil {
				return nil, err
			}
		}
	}
}

func (p *primary) tryLock(owner *process, shared bool) *advisory {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for other := range p.advisory {
		if !shared || !other.shared {
			return nil
		}
	}
	a := &advisory{p: p, owner: owner, shared: shared, lost: make(chan struct{})}
	p.advisory[a] = true
	return a
}

// forget gives up what a dead process held on the primary, a while later.
func (p *primary) forget(owner *process, rng *rand.Rand, unnoticed time.Duration) {
	p.w.mu.Lock()
	backends := sorted(p.backends)
	p.w.mu.Unlock()
	for _, b := range backends {
		if b.owner == owner {
			p.hangUp(b, latency(rng)+unnoticed)
		}
	}
	after := latency(rng)
	if unnoticed > 0 {
		after = 30 * time.Second // the lock's connection has keep-alives
	}
	p.w.actors.Go(func() {
		time.Sleep(after)
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		for a := range p.advisory {
			if a.owner == owner {
				p.release(a)
			}
		}
	})
}

// sorted returns a map's values in the order of its keys, so that a seed means one run.
func sorted[K cmp.Ordered, V any](m map[K]V) []V {
	keys := slices.Sorted(maps.Keys(m))
	list := make([]V, len(keys))
	for i, k := range keys {
		list[i] = m[k]
	}
	return list
}
