package order

import (
	"context"
	"sync"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/crashpoint"
)

// Ticket is a transaction's place in its agent's epoch. It is taken after the
// transaction's last response and before its COMMIT is forwarded (I3), and ends by
// exactly one of Committed, Aborted and Unknown.
type Ticket struct {
	// N is the place.
	N int64

	ledger *Ledger
	tx     *event.Transaction
	taken  time.Time
	acked  chan struct{} // closed when the record is acknowledged or has failed; nil under gate none
	// written is closed when nothing more is to be waited for of how the ticket ended;
	// nil but for a standalone command.
	written chan struct{}
	once    sync.Once // closes written

	mu     sync.Mutex
	state  ticketState
	offset int64 // of the record, once acknowledged
	err    error // why the record failed
}

// ticketState is where a ticket stands. A ticket that is refused never becomes
// granted: its OUTCOME is aborted (I2).
type ticketState int

const (
	ticketPending  ticketState = iota // nothing may be forwarded yet
	ticketGranted                     // COMMIT may have been forwarded
	ticketRefused                     // COMMIT must not be forwarded
	ticketResolved                    // how it ended is known, or being settled
)

// Ticket takes the place of a transaction whose responses have all arrived and
// whose COMMIT has not been forwarded. Under gate recorded it hands the record to
// the producer. A standalone command is not forwarded before; its place is its end's.
// *RefusedError: nothing was taken; roll back.
func (l *Ledger) Ticket(tx *event.Transaction) (*Ticket, error) {
	t := &Ticket{ledger: l, tx: tx, taken: time.Now()}
	if err := l.enter(); err != nil {
		return nil, err
	}
	if tx.Standalone {
		t.written = make(chan struct{})
	}
	var err error
	switch {
	case l.cfg.Gate == GateNone && tx.Standalone:
		// Its place is where it ends: conclude takes it.
		tx.Intent = false
		t.state = ticketGranted
		err = l.line.takes(tx, l.cfg.RecordBytes)
	case l.cfg.Gate == GateNone:
		tx.Intent = false
		t.state = ticketGranted
		t.N, err = l.line.reserve(tx, l.cfg.RecordBytes)
	default:
		tx.Intent = true
		crashpoint.At(crashpoint.IntentBefore)
		t.acked = make(chan struct{})
		t.N, err = l.line.put(tx, l.cfg.RecordBytes, t.acknowledge)
	}
	if err != nil {
		l.leave()
		l.metrics.refused.Inc()
		return nil, &RefusedError{Reason: "the transaction cannot be recorded", Err: err}
	}
	return t, nil
}

// acknowledge takes the end of the record's way to Kafka.
func (t *Ticket) acknowledge(n, offset int64, err error) {
	t.mu.Lock()
	t.offset, t.err = offset, err
	t.mu.Unlock()
	close(t.acked)
	if err == nil {
		crashpoint.At(crashpoint.IntentAfter)
		pg := t.tx.Postgres // a copy: the record's operations need not be kept
		t.ledger.own(offset, ownRecord{n: n, intent: &pg, id: t.tx.ID, time: t.tx.Commit})
		t.ledger.metrics.append.Observe(time.Since(t.taken).Seconds())
	}
}

// Recorded returns nil once COMMIT may be forwarded: under gate recorded when the
// record is acknowledged by all in-sync replicas. *RefusedError: roll back and call
// Aborted. It is called at most once, and not concurrently with the other methods.
func (t *Ticket) Recorded(ctx context.Context) error {
	if t.acked == nil {
		return nil
	}
	timer := time.NewTimer(t.ledger.cfg.Timeout - time.Since(t.taken))
	defer timer.Stop()
	reason := &RefusedError{}
	select {
	case <-t.acked:
	case <-timer.C:
		reason = &RefusedError{Reason: "Kafka did not acknowledge the transaction's record within " + t.ledger.cfg.Timeout.String()}
	case <-t.ledger.ended:
		reason = t.ledger.refuseEnded()
	case <-ctx.Done():
		reason = &RefusedError{Reason: "the session ended before the transaction's record was acknowledged", Err: ctx.Err()}
	}
	return t.decide(reason)
}

// decide grants or refuses a ticket whose waiting is over; reason says why it is
// if the record has not been acknowledged.
func (t *Ticket) decide(reason *RefusedError) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.acked:
		reason = nil
	default:
	}
	switch {
	case t.state != ticketPending:
		return &RefusedError{Reason: "the transaction has ended"}
	case t.err != nil:
		reason = &RefusedError{Reason: "Kafka refused the transaction's record", Err: t.err}
	case reason == nil && t.ledger.Err() != nil:
		reason = t.ledger.refuseEnded()
	case reason == nil && time.Since(t.taken) > t.ledger.cfg.Timeout:
		// The process may have been frozen meanwhile, and others have ended its epoch.
		reason = &RefusedError{Reason: "the transaction's record was acknowledged too late"}
	}
	if reason != nil {
		t.state = ticketRefused
		t.ledger.metrics.refused.Inc()
		return reason
	}
	t.state = ticketGranted
	return nil
}

// Written is closed once the end of a standalone command's ticket stands in the topic,
// or surely never will by this ledger: the command's place is there, so what may only
// come behind it waits for this.
func (t *Ticket) Written() <-chan struct{} { return t.written }

// told closes written.
func (t *Ticket) told() {
	if t.written != nil {
		t.once.Do(func() { close(t.written) })
	}
}

// place returns the offset of the record; 0 while it is not acknowledged.
func (t *Ticket) place() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.offset
}

// resolve moves the ticket to its end and returns where it stood. Only the first
// call counts (false otherwise).
func (t *Ticket) resolve() (was ticketState, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == ticketResolved {
		return t.state, false
	}
	was, t.state = t.state, ticketResolved
	return was, true
}

// Committed tells that the primary has committed the transaction.
func (t *Ticket) Committed() {
	was, first := t.resolve()
	if !first {
		return
	}
	if was != ticketGranted {
		// I2: a refused transaction is not said to be committed because a session
		// thinks so; the primary is asked.
		t.ledger.log.Error("a commit was reported of a transaction that was refused")
		t.ledger.settleOwn(t)
		return
	}
	t.ledger.conclude(t, true)
}

// Aborted tells that the transaction surely did not commit and never will.
func (t *Ticket) Aborted() {
	if _, first := t.resolve(); first {
		t.ledger.conclude(t, false)
	}
}

// Unknown tells that the connection to the primary was lost before the answer to
// COMMIT, or that for any other reason nobody knows how the transaction ended. On
// a nil ticket it does nothing.
func (t *Ticket) Unknown() {
	if t == nil {
		return // nothing was recorded
	}
	if _, first := t.resolve(); first {
		t.ledger.settleOwn(t)
	}
}
