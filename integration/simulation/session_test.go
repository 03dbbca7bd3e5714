package simulation

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
)

// session runs one transaction of a client through an agent, with the calls that
// capture/session makes, in its order.
type session struct {
	w   *world
	a   *agent
	l   *order.Ledger
	ctx context.Context
	rng *rand.Rand
	b   *backend

	tx    *event.Transaction
	large bool
	spots []spot
	sp    int
	wrote bool
	// refused says that a part could not be recorded: only a rollback is left.
	refused bool
	// early is the ticket of a transaction that has no hold point (a broken rule).
	early *order.Ticket
}

// spot is a savepoint.
type spot struct {
	name string
	at   savepoint
	ops  int
}

// transact runs one transaction of a client, through any agent that serves; false:
// none does.
func (w *world) transact(id event.TxID, rng *rand.Rand) bool {
	w.mu.Lock()
	var a *agent
	if len(w.living) > 0 {
		a = w.living[rng.IntN(len(w.living))]
	}
	if a == nil || a.serving == nil || a.stopping.Load() {
		w.mu.Unlock()
		return false
	}
	s := &session{w: w, a: a, ctx: a.serving, rng: rng, l: a.ledger.Load()}
	a.sessions++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		a.sessions--
		w.mu.Unlock()
	}()
	if s.l == nil || s.hop() != nil {
		return false
	}
	var err error
	if s.b, err = w.primary.connect(a.process); err != nil {
		return false
	}
	defer s.hangUp()
	if s.b.server != s.l.Primary().Started && !w.broken(AnyServer) {
		return false // a later start than the epoch's: must not write
	}
	s.tx = &event.Transaction{ID: id, FirstChunk: -1}
	s.large = rng.IntN(12) == 0
	s.run()
	if a.alive() {
		s.early.Unknown() // where it has no end yet
	}
	return true
}

// hangUp closes the session's connection, if there is somebody to do it.
func (s *session) hangUp() {
	s.w.mu.Lock()
	silent := s.a.silent
	s.w.mu.Unlock()
	if !silent {
		s.w.primary.hangUp(s.b, latency(s.rng))
	}
}

// hop is a message between two of client, agent and primary. An error says that the
// session is over: its agent is dead, or closes it.
func (s *session) hop() error { return s.a.pause(s.ctx, latency(s.rng)) }

func (s *session) run() {
	if s.w.primary.begin(s.b, s.tx.ID) != nil {
		return
	}
	for left := 1 + s.rng.IntN(4); left > 0; left-- {
		if s.rng.IntN(6) == 0 {
			s.savepoint()
		}
		if err := s.statement(s.w.draw(s.rng), left == 1); err != nil {
			if errors.Is(err, errKilled) || s.ctx.Err() != nil || errors.Is(err, errConnection) {
				return
			}
			if !s.recover() {
				s.rollback()
				return
			}
		}
		if s.rng.IntN(8) == 0 && len(s.spots) > 0 && !s.recover() {
			return
		}
	}
	if s.rng.IntN(10) == 0 || s.hop() != nil {
		s.rollback()
		return
	}
	s.end()
}

// statement runs one statement; what it did is an operation of the transaction.
func (s *session) statement(o op, last bool) error {
	if !s.wrote {
		if err := s.l.Admit(); err != nil {
			return err
		}
	}
	s.wrote = true
	if last && o.kind == opMix && len(s.spots) == 0 && s.tx.Postgres.XID != 0 && s.w.broken(NoHoldPoint) {
		if err := s.ticketEarly(o); err != nil {
			return err
		}
	}
	if err := s.hop(); err != nil {
		return err
	}
	if s.w.broken(FirstResponse) && len(s.tx.Operations) == 0 {
		s.tx.DependsOn = s.l.High()
	}
	value, affected, err := s.w.primary.exec(s.b, &o)
	if hopErr := s.hop(); hopErr != nil {
		return hopErr
	}
	switch {
	case s.w.broken(FirstResponse), s.early != nil:
	case s.w.broken(NoDependsOn):
		s.tx.DependsOn = 0
	default:
		s.tx.DependsOn = s.l.High()
	}
	if s.tx.Postgres.XID == 0 && err == nil {
		if s.tx.Postgres, err = s.w.primary.probe(s.b); err != nil {
			return err
		}
	}
	if err != nil || !affected || s.early != nil {
		return err
	}
	e := o.event(value, true)
	s.tx.Barrier = s.tx.Barrier || o.kind == opDDL
	s.tx.Operations = append(s.tx.Operations, e)
	return s.spill()
}

// spill sends what there is of a large transaction as a chunk.
func (s *session) spill() error {
	if !s.large || len(s.tx.Operations) < 2 {
		return nil
	}
	c, err := s.l.Chunk(&event.Chunk{Tx: s.tx.ID, Index: s.tx.Chunks, Operations: s.tx.Operations})
	var offset int64
	if err == nil {
		offset, err = c.Wait(s.ctx)
	}
	if err != nil {
		s.refused = true
		return err
	}
	if s.tx.Chunks == 0 {
		s.tx.FirstChunk = offset
	}
	s.tx.Chunks++
	s.tx.Operations = nil
	return nil
}

// savepoint sets one. Those of large transactions travel, since what is in a chunk
// cannot be taken back.
func (s *session) savepoint() {
	if s.b.tx == nil || s.w.failed(s.b) {
		return
	}
	s.sp++
	p := spot{fmt.Sprintf("s%d", s.sp), s.w.primary.savepoint(s.b), len(s.tx.Operations)}
	s.spots = append(s.spots, p)
	if s.large {
		s.tx.Operations = append(s.tx.Operations, event.Operation{Kind: event.OpSavepoint, Class: event.ClassText, Text: p.name})
	}
}

// recover rolls back to the newest savepoint; false: there is none, or no connection.
func (s *session) recover() bool {
	if s.refused || len(s.spots) == 0 || s.hop() != nil {
		return false
	}
	p := s.spots[len(s.spots)-1]
	if s.w.primary.rollbackTo(s.b, p.at) != nil || s.hop() != nil {
		return false
	}
	switch {
	case s.w.broken(SavepointsIgnored):
	case s.large:
		s.tx.Operations = append(s.tx.Operations, event.Operation{Kind: event.OpRollbackTo, Class: event.ClassText, Text: p.name})
	default:
		s.tx.Operations = s.tx.Operations[:p.ops] // I2
	}
	return true
}

// rollback ends the transaction; sequences that it drew from have moved all the same.
func (s *session) rollback() {
	if s.hop() != nil {
		return
	}
	marks := s.marks()
	s.w.primary.rollback(s.b)
	if s.tx.Chunks > 0 {
		s.l.Abandon(s.tx.ID)
	}
	s.publish(marks)
}

// publish sends marks that no transaction carries. They may be lost: nothing was
// written with them.
func (s *session) publish(marks []event.Operation) {
	if len(marks) > 0 && s.hop() == nil {
		_ = s.l.Marks(s.ctx, marks)
	}
}

// marks says how far the transaction drew from the sequence, in what was rolled back
// as well.
func (s *session) marks() []event.Operation {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	last := uint64(0)
	if s.b.tx != nil {
		for _, v := range s.b.tx.drawn {
			last = max(last, v)
		}
	}
	if last == 0 {
		return nil
	}
	return []event.Operation{{Kind: event.OpSequence, Class: event.ClassPinned, Digest: event.Digest{SQLState: "00000", Affected: -1},
		Sequences: []event.SequenceMark{{Schema: "public", Name: "s", Value: int64(last), Ascending: true}}}}
}

// digestValue is the answer's sum of an operation.
func digestValue(e *event.Operation) (uint64, bool) {
	if len(e.Digest.Hash) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(e.Digest.Hash), true
}

// step is a named point at which an agent may be killed.
func (s *session) step(point string) bool {
	s.w.mu.Lock()
	hit := s.w.killAt[point] > 0
	if hit {
		s.w.killAt[point]--
		s.w.kills[point]++
	}
	s.w.mu.Unlock()
	if hit {
		s.a.die()
		slot := s.a.slot
		s.w.later(between(s.rng, 10*time.Millisecond, 8*time.Second), func() { s.w.revive(slot) })
		return false
	}
	return s.a.alive()
}
