package simulation

import (
	"context"
	"time"

	"github.com/opmux/opmux/capture/order"
)

// end is the client's COMMIT: the hold, and what follows it.
func (s *session) end() {
	w := s.w
	if s.tx.Postgres.XID == 0 || len(s.tx.Operations) == 0 && s.tx.Chunks == 0 || s.failing() {
		s.commitAlone()
		return
	}
	ticket, ok := s.hold()
	if !ok {
		return
	}
	if !s.step("recorded") {
		return
	}
	if w.broken(OutcomeFirst) {
		ticket.Committed()
	}
	flush := latency(s.rng)
	if s.rng.IntN(25) == 0 {
		flush = between(s.rng, 0, 4*time.Second) // the commit waits for a standby
	}
	answer := w.primary.commit(s.b, latency(s.rng), flush, latency(s.rng))
	if !s.step("commit sent") {
		return
	}
	select {
	case committed := <-answer:
		if !s.step("commit answered") {
			return
		}
		if committed {
			ticket.Committed()
		} else {
			ticket.Aborted()
		}
		if !s.step("outcome") {
			return
		}
		if committed && s.hop() == nil {
			w.mu.Lock()
			w.told[s.tx.ID] = true
			w.mu.Unlock()
		}
	case <-s.b.closed:
		s.unknown(ticket)
	case <-s.ctx.Done():
		if s.a.alive() {
			s.unknown(ticket)
		}
	}
}

func (s *session) unknown(t *order.Ticket) {
	if s.w.broken(UnknownIsAborted) {
		t.Aborted()
		return
	}
	t.Unknown()
}

// hold takes the ticket and waits for the gate; false: it must not commit.
func (s *session) hold() (*order.Ticket, bool) {
	s.tx.Commit = time.Now().UnixMicro()
	if !s.step("before the intent") {
		return nil, false
	}
	ticket, err := s.early, error(nil)
	if ticket == nil {
		s.tx.Operations = append(s.tx.Operations, s.marks()...)
		ticket, err = s.l.Ticket(s.tx)
	}
	if err != nil {
		s.rollback()
		return nil, false
	}
	if !s.step("intent produced") {
		return nil, false
	}
	err = s.recorded(ticket)
	if !s.a.alive() {
		return nil, false
	}
	if err != nil && !s.w.broken(RefusalIgnored) {
		ticket.Aborted()
		s.rollback()
		return nil, false
	}
	return ticket, true
}

func (s *session) recorded(ticket *order.Ticket) error {
	if s.w.broken(GateSkipped) {
		// Granted in time for the outcome; nobody waits for it.
		s.w.actors.Go(func() { _ = ticket.Recorded(context.WithoutCancel(s.ctx)) })
		return nil
	}
	return ticket.Recorded(s.ctx)
}

// ticketEarly takes the ticket before the last statement is sent.
func (s *session) ticketEarly(o op) error {
	s.w.mu.Lock()
	o.version = s.w.primary.rows[table].value
	s.w.mu.Unlock()
	s.tx.Operations = append(append(s.tx.Operations, o.event(0, false)), s.marks()...)
	s.tx.DependsOn = s.l.High()
	var err error
	s.early, err = s.l.Ticket(s.tx)
	return err
}

// commitAlone ends a transaction that has nothing to record.
func (s *session) commitAlone() {
	marks := s.marks()
	defer s.publish(marks)
	select {
	case <-s.w.primary.commit(s.b, latency(s.rng), latency(s.rng), latency(s.rng)):
	case <-s.b.closed:
	case <-s.ctx.Done():
	}
}

func (s *session) failing() bool { return s.w.failed(s.b) }

// failed says whether a backend's transaction can only be rolled back.
func (w *world) failed(b *backend) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return b.tx != nil && b.tx.failed
}
