package session

import (
	"context"
	"errors"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
)

// errHeldBack says that a transaction became too large while a statement in it
// waited for its client.
var errHeldBack = errors.New("more was written than is kept while the rows of a statement before it had not been fetched")

// heldBack is how many chunks of a transaction are held at most where they cannot
// be written out, because a portal before them is suspended (I7).
const heldBack = 64

// spill writes the log out as a chunk (I7), up to the first execution that is not
// over. One chunk is on its way at most. Callers hold s.mu, which is given up while
// the ledger is waited for; only the goroutine that reads the answers spills, or
// the one that reads COPY data while there are none.
func (s *Session) spill(ctx context.Context, t *txn) {
	n := t.writable()
	if n == 0 {
		if t.bytes > s.withheld() {
			t.fail(errHeldBack)
		}
		return
	}
	out := t.log[:n]
	chunk := &event.Chunk{Tx: t.id, Index: t.chunks, Operations: flatten(out, true)}
	for _, item := range out {
		if item.context != nil {
			t.context = item.context
		}
		t.count(-item.size())
	}
	t.log = append([]*logItem(nil), t.log[n:]...)
	if last := out[n-1]; last.exec != nil {
		// Its further parts follow in the next chunk.
		last.ops, last.context, last.savepoint, last.cut = nil, nil, "", true
		t.log = append([]*logItem{last}, t.log...)
		t.count(last.size())
	}
	t.chunks++
	t.spilled = true
	a, err := s.appendChunk(ctx, chunk, t.lastChunk)
	if err != nil {
		t.fail(err)
		return
	}
	if t.firstChunk == nil {
		t.firstChunk = a
	}
	t.lastChunk = a
}

// writable is how many items of the log can be written out: those before the
// first execution that is not over, and that one too where it is the last.
func (t *txn) writable() int {
	for i, item := range t.log {
		if item.exec == nil {
			continue
		}
		if i == len(t.log)-1 && item.exec.divisible(len(t.stack) > 0) && len(item.ops) > 0 {
			return i + 1
		}
		return i
	}
	return len(t.log)
}

// divisible tells whether a part of an execution that is not over can be written
// out. Under a savepoint a statement that fails can be rolled back alone; rows
// can then be ended where they were, but a COPY of half its data is an error.
func (x *execution) divisible(savepoints bool) bool {
	return !x.finished && (!savepoints || x.plan.Kind != classify.Copy)
}

// endCut ends an operation that is written out in part and whose statement failed,
// before the rollback to a savepoint that undoes it. Callers hold s.mu.
func (s *Session) endCut(t *txn) {
	if len(t.log) == 0 || !t.log[0].cut || t.log[0].exec == nil || t.broken != nil {
		return
	}
	x := t.log[0].exec
	x.affected = x.returned
	ops, err := s.operationsOf(x, false)
	s.settleItem(t.log[0], ops, err)
}

// fail says that the transaction cannot be recorded; what was captured of it is
// dropped. The first reason stands.
func (t *txn) fail(err error) {
	if t.broken == nil {
		t.broken = err
	}
	for _, item := range t.log {
		item.ops = nil
	}
	t.count(len(t.log)*itemBytes - t.bytes)
}

// appendChunk gives s.mu up while it waits.
func (s *Session) appendChunk(ctx context.Context, c *event.Chunk, before *order.Append) (*order.Append, error) {
	s.mu.Unlock()
	defer s.mu.Lock()
	if before != nil {
		if _, err := before.Wait(ctx); err != nil {
			return nil, err
		}
	}
	return s.ledger.Chunk(c)
}
