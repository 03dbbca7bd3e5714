package simulation

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/apply/schedule"
	"github.com/opmux/opmux/event"
)

// lane applies groups until its worker ends, as apply/execute does.
func (k *worker) lane(number int) {
	w := k.w
	rng := w.rng(k.name + " lane " + string(rune('0'+number)))
	conn := w.target.connect()
	seq := int64(0)
	for {
		g, p, err := k.take()
		if err != nil {
			return
		}
		w.mu.Lock()
		list := make([]work, len(g.Transactions))
		for i, tx := range g.Transactions {
			list[i] = *k.load(tx)
		}
		w.mu.Unlock()
		if w.broken(PositionFirst) {
			w.mu.Lock()
			if r := w.target.lanes[number]; r.fence == k.fence {
				w.target.store(number, r, p)
				seq++
			}
			w.mu.Unlock()
			if k.pause(k.ctx, latency(rng)) != nil {
				return
			}
		}
		if !k.persist(&conn, number, &seq, p, list, rng) {
			return
		}
		if k.pause(k.ctx, latency(rng)) != nil {
			return
		}
		w.mu.Lock()
		delete(k.running, g)
		k.scheduler.Applied(g)
		k.signal()
		w.mu.Unlock()
		for i, tx := range g.Transactions {
			k.finish(tx, &list[i])
		}
	}
}

// persist tries a group until it is committed; false: the lane ends.
func (k *worker) persist(conn **targetSession, lane int, seq *int64, p position.Position, list []work, rng *rand.Rand) bool {
	w, unsure := k.w, false
	for {
		// On its way, and executing; where the worker dies meanwhile it may arrive.
		if k.pause(k.ctx, between(rng, 100*time.Microsecond, 6*time.Millisecond)) != nil && rng.IntN(2) == 0 {
			return false
		}
		err := w.target.commit(*conn, lane, k.fence, *seq, p, list)
		lost := err == nil && rng.IntN(30) == 0 // the answer
		switch {
		case !k.alive():
			return false
		case err == nil && !lost:
			*seq++
			return true
		case errors.Is(err, errFenced):
			k.kill()
			return false
		}
		unsure = unsure || lost
		if k.pause(k.ctx, between(rng, 5*time.Millisecond, 30*time.Millisecond)) != nil {
			return false
		}
		*conn = w.target.connect()
		w.mu.Lock()
		now := w.target.lanes[lane]
		w.mu.Unlock()
		switch {
		case w.broken(RetriedBlindly):
		case now.fence != k.fence && !w.broken(FenceIgnored):
			k.kill()
			return false
		case now.seq == *seq+1 && unsure:
			*seq++
			return true // it was committed after all
		}
	}
}

// take waits for a group that may run beside those that do.
func (k *worker) take() (*schedule.Group, position.Position, error) {
	w := k.w
	for {
		w.mu.Lock()
		news := !k.scheduler.Idle()
		if g := k.scheduler.Next(); g != nil {
			p := k.scheduler.Position(g)
			k.beside(g)
			w.groups++
			w.mu.Unlock()
			return g, p, nil
		}
		if news {
			k.signal()
		}
		changed := k.changed
		w.mu.Unlock()
		select {
		case <-k.ctx.Done():
			return nil, position.Position{}, k.ctx.Err()
		case <-changed:
		}
	}
}

// beside checks that a group shares no row with those that run: what the primary's
// locks kept apart must not run side by side (I3). w.mu is held.
func (k *worker) beside(g *schedule.Group) {
	touched := map[string]bool{}
	for _, tx := range g.Transactions {
		for _, e := range k.load(tx).ops {
			if e.Kind != event.OpStatement {
				continue
			}
			o, err := parseOp(e.Text)
			if err != nil {
				continue // said where it is applied
			}
			for name, alone := range o.locks() {
				touched[name] = touched[name] || alone
			}
		}
	}
	for _, rows := range k.running {
		for name, alone := range touched {
			if strong, there := rows[name]; there && (strong || alone) {
				k.w.sideBySide = append(k.w.sideBySide, name)
			}
		}
	}
	k.running[g] = touched
}

// load returns a transaction with the operations of its chunks; w.mu is held.
func (k *worker) load(tx *schedule.Tx) *work {
	t := tx.Transaction
	x := &work{id: t.ID, offset: tx.Offset}
	log := k.w.broker.topic(names.Ops(source)).log
	for offset, found := t.FirstChunk, int32(0); found < t.Chunks && offset < tx.Offset; offset++ {
		rec, err := codec.DecodeRecord(log[offset].Value)
		if err != nil {
			k.w.violate("%v", err)
			continue
		}
		if c, ok := rec.Body.(*event.Chunk); ok && c.Tx == t.ID {
			if c.Index != found {
				k.w.violate("chunk %d of the transaction at %d comes as number %d", c.Index, tx.Offset, found)
			}
			found++
			x.ops = append(x.ops, c.Operations...)
		}
	}
	x.ops = undoRolledBack(append(x.ops, t.Operations...))
	return x
}
