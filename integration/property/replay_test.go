package property

import (
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// turnPatience bounds how long a step waits for those that ended before it began:
// in a smaller plan one of them may wait for a lock that this client holds.
const turnPatience = 100 * time.Millisecond

// turns keeps the order that a recording had. A step begins when every other
// client is past what had ended by then.
type turns struct {
	mu      sync.Mutex
	next    map[int]int64 // client → end of the step that it is at
	changed chan struct{} // closed and replaced when next changes
}

func newTurns(by map[int][]*step) *turns {
	t := &turns{next: map[int]int64{}, changed: make(chan struct{})}
	for client, steps := range by {
		t.next[client] = steps[0].ended
	}
	return t
}

// await waits until it is s's turn, or until patience is over.
func (t *turns) await(ctx context.Context, s *step) {
	timer := time.NewTimer(turnPatience)
	defer timer.Stop()
	for {
		changed, mine := t.look(s)
		if mine {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-changed:
		}
	}
}

func (t *turns) look(s *step) (changed <-chan struct{}, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for client, end := range t.next {
		if client != s.client && end < s.began {
			return t.changed, false
		}
	}
	return nil, true
}

// done says that a client is at next now; nil: it is through.
func (t *turns) done(client int, next *step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if next == nil {
		delete(t.next, client)
	} else {
		t.next[client] = next.ended
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// replay runs a plan's steps.
func (w *world) replay(ctx context.Context, p plan) []failure {
	by := p.by()
	t := newTurns(by)
	group, ctx := errgroup.WithContext(ctx)
	for id, steps := range by {
		group.Go(func() error {
			c, err := w.client(id, io.Discard)
			if err != nil {
				return err
			}
			return c.replay(ctx, steps, t)
		})
	}
	if err := group.Wait(); err != nil {
		return []failure{clientFailure(err)}
	}
	return nil
}

func (c *client) replay(ctx context.Context, steps []*step, t *turns) error {
	defer c.close()
	for i, s := range steps {
		t.await(ctx, s)
		if err := c.again(ctx, s); err != nil {
			return err
		}
		var next *step
		if i+1 < len(steps) {
			next = steps[i+1]
		}
		if next == nil || next.script != s.script {
			if err := c.settle(ctx); err != nil {
				return err
			}
		}
		t.done(s.client, next)
	}
	return nil
}

// again does a step, on a new connection where its own is not in the plan.
func (c *client) again(ctx context.Context, s *step) error {
	if s.verb == connects && c.conn != nil || s.verb == leaves && c.conn == nil {
		return nil
	}
	if s.verb != connects && c.conn == nil {
		if _, err := c.perform(ctx, action{verb: connects}); err != nil {
			return err
		}
	}
	_, err := c.perform(ctx, s.action)
	return err
}

// settle ends a block whose own end is not in the plan.
func (c *client) settle(ctx context.Context) error {
	if c.conn == nil || c.conn.TxStatus() == idle {
		return nil
	}
	_, err := c.perform(ctx, action{verb: executes, st: stmt{kind: "control", sql: "ROLLBACK", fields: anyFields}})
	return err
}
