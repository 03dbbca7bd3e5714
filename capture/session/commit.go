package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/crashpoint"
	"github.com/opmux/opmux/wire/pgwire"
)

// errMoved says that a name which did not resolve at classification did at
// execution.
var errMoved = errors.New("a relation appeared between classification and execution")

// held is what the hold of a commit came to.
type held struct {
	ticket *order.Ticket // nil: nothing to record
	// version is what the COMMIT's guard is to hold the catalogue to, 0: it was
	// looked at.
	version int64
	// refusal is why the transaction must not commit; told is set where the
	// client has heard it from the server already.
	refusal *refusal
	told    bool
	// kept is the id under which a transaction that is to be prepared was written down.
	kept uint64
}

// hold is the point that orders a transaction: all its responses have arrived
// and its COMMIT has not been forwarded (I3). What is here is recorded, and with
// gate recorded acknowledged, before hold returns without a refusal (I1).
func (s *Session) hold(ctx context.Context, tx *txn, extended bool) (held, error) {
	if !tx.writes() {
		return held{}, nil
	}
	if failed, err := s.drawXID(tx, extended); failed || err != nil {
		return held{told: failed}, err
	}
	if failed, err := s.durable(extended); failed || err != nil {
		return held{told: failed}, err
	}
	if err := s.renew(ctx, tx); err != nil {
		return held{refusal: refusedByGate(err)}, nil
	}
	body, err := s.transaction(ctx, tx, extended)
	if err != nil {
		return held{refusal: refusedByGate(err)}, nil
	}
	if tx.ownDDL && tx.barrier {
		if _, err := (querier{s: s, extended: extended}).Query(ctx, catalog.LockPlace); err != nil {
			return held{refusal: refusedByGate(err)}, nil
		}
	}
	s.locked(tx.expected.Comes)
	ticket, err := s.ledger.Ticket(body)
	if err != nil {
		return held{refusal: refusedByGate(err)}, nil
	}
	h := held{ticket: ticket, version: s.guardable(tx)}
	if h.version == 0 {
		h.refusal = s.recorded(ctx, tx, ticket, extended)
	} else if err := ticket.Recorded(ctx); err != nil {
		h.refusal = refusedByGate(err)
	}
	if h.refusal != nil {
		ticket.Aborted()
		return held{refusal: h.refusal}, nil
	}
	return h, nil
}

// recorded waits for the record and looks whether the catalogue has
// moved since the transaction's statements were classified (DESIGN §4.2).
func (s *Session) recorded(ctx context.Context, tx *txn, ticket *order.Ticket, extended bool) *refusal {
	version, err := s.acknowledged(ctx, ticket)
	if err == nil {
		version, err = s.behindOthers(ctx, tx, version)
	}
	if err != nil {
		return refusedByGate(err)
	}
	if what := s.catalogMoved(ctx, tx, version, extended); what != "" {
		return moved(what)
	}
	return s.overtaken(ctx, tx, version, extended)
}

// acknowledged waits for the record, and then reads the catalogue's version: DDL that it does
// not count has its place behind this one.
func (s *Session) acknowledged(ctx context.Context, ticket *order.Ticket) (int64, error) {
	if err := ticket.Recorded(ctx); err != nil {
		return 0, err
	}
	version, err := s.deps.Catalog.Version(ctx)
	if err != nil {
		return 0, fmt.Errorf("the catalogue's version could not be read: %w", err)
	}
	return version, nil
}

// transaction makes the body of the record.
func (s *Session) transaction(ctx context.Context, tx *txn, extended bool) (*event.Transaction, error) {
	s.mu.Lock()
	ops := tx.operations()
	p := tx.probe
	s.mu.Unlock()
	if p == nil {
		return nil, errors.New("the transaction's identity is not known")
	}
	var q catalog.Querier
	if tx.ownDDL || tx.restarts {
		// Its own lock would keep the agent's connection from a sequence that it altered.
		q = querier{s: s, extended: extended}
	}
	marks, err := s.marks(ctx, tx, ops, q)
	if err != nil {
		return nil, err
	}
	if len(marks) > 0 {
		ops = append(ops, event.Operation{Kind: event.OpSequence, Class: event.ClassPinned, Reason: "sequence values drawn",
			Sequences: marks, Digest: event.Digest{SQLState: "00000", Affected: -1}})
	}
	t := &event.Transaction{
		ID: tx.id, Intent: !s.cfg.None, DependsOn: tx.dependsOn(), Barrier: tx.barrier,
		Begin: p.now, Commit: time.Now().UnixMicro(),
		Context:    event.Context{User: s.who.user, Application: s.who.application, Settings: tx.first.withIsolation(p.isolation)},
		Postgres:   event.PostgresTx{XID: p.xid, BackendPID: p.pid, BackendStart: s.who.backendStart, ProbeLSN: p.lsn},
		FirstChunk: -1, Chunks: tx.chunks, Operations: ops, CatalogVersion: tx.catalogVersion, Shapes: s.shapes.unpublished(tx),
	}
	tx.shapes = t.Shapes
	if tx.firstChunk != nil {
		if t.FirstChunk, err = tx.firstChunk.Wait(ctx); err != nil {
			return nil, fmt.Errorf("a part of the transaction was not recorded: %w", err)
		}
		if _, err = tx.lastChunk.Wait(ctx); err != nil {
			return nil, fmt.Errorf("a part of the transaction was not recorded: %w", err)
		}
	}
	return t, nil
}

// commitSimple deals with the client's COMMIT in the simple protocol. False: the
// transaction was rolled back instead, and the client has been told its status. So
// it is where a cancel comes before the commit has begun: the server keeps the block,
// failed, and a savepoint could bring back what is said to have been aborted (I1).
func (s *Session) commitSimple(ctx context.Context, p part, e *entry) (bool, error) {
	h, refused, err := s.holdCommit(ctx, p.plan, false)
	if err != nil {
		return false, err
	}
	defer h.ticket.Unknown() // should a panic come between: the first end counts
	if !refused {
		c := &commitment{ticket: h.ticket, version: h.version, chain: p.plan.Chain, answer: e,
			forward: func(*sentry) error { return s.sendQuery(p.sql, e) }}
		e.unless = func(status byte) bool { return c.end.fails() && status == pgwire.StatusFailed }
		if refused, err = s.commit(ctx, c); err == nil {
			s.preparedEnds(ctx, h.kept, &c.end)
			refused = refused || c.end.fails() && s.transactionStatus() == pgwire.StatusFailed
		}
	}
	if refused && err == nil {
		return false, s.rollbackWrapped(ctx, false)
	}
	return true, err
}

// holdCommit holds the open transaction; true: it must not commit, and the
// client has been told why. The plan is the client's COMMIT, nil for the agent's own.
func (s *Session) holdCommit(ctx context.Context, plan *classify.Plan, extended bool) (held, bool, error) {
	tx, status, err := s.openTx(plan)
	if tx == nil || err != nil {
		return held{}, false, err
	}
	if !extended && status == pgwire.StatusIdle && tx.writes() {
		// To go on would forward a COMMIT of what nobody recorded (I1).
		return held{}, false, violation("the server says that no transaction is open, and what ran in one has not ended")
	}
	if !extended && status != pgwire.StatusBlock {
		return held{}, false, nil
	}
	s.locked(func() { s.untold = nil })
	h, over, err := s.gather(ctx, tx, extended)
	switch {
	case over || err != nil:
	case plan != nil && plan.Prepares:
		h, err = s.keep(ctx, tx, plan, extended)
	default:
		h, err = s.hold(ctx, tx, extended)
	}
	if err != nil {
		return held{}, false, err
	}
	if h.refusal == nil {
		return h, h.told, nil
	}
	// The COMMIT's own Bind is answered first, and may have failed by itself.
	if err := s.drain(); err != nil {
		return held{}, false, err
	}
	if s.failing() {
		return held{}, true, s.tellUntold()
	}
	return held{}, true, s.refuse(h.refusal)
}

// ending is how the server answered a COMMIT.
type ending struct {
	tag     string
	failed  bool // an error, or it was skipped behind one
	skipped bool
}

func (end *ending) watch(e *entry) {
	before := e.onFail // what stands behind the COMMIT in its Query must hear of it, too
	e.onTag, e.onError = func(t string) { end.tag = t }, isFatal
	e.onFail = func() {
		end.failed, end.skipped = true, e.skipped
		if before != nil {
			before()
		}
	}
}

// definite tells whether the answer says how the transaction ended. One that says
// neither is not the protocol's, and must not be taken for an abort (I1).
func (end *ending) definite() bool { return end.failed || end.tag == "COMMIT" || end.tag == "ROLLBACK" }

// fails tells whether the COMMIT was looked at, and ended in an error.
func (end *ending) fails() bool { return end.failed && !end.skipped }

// committed waits for a COMMIT's answer and tells the ledger how it ended.
func (s *Session) committed(ctx context.Context, ticket *order.Ticket, end *ending, chain bool) error {
	if err := s.drainAt(crashpoint.CommitSent); err != nil {
		return s.lost(ticket, err)
	}
	if ticket != nil && !end.definite() {
		return s.lost(ticket, violation("COMMIT was answered by %q", end.tag))
	}
	if end.skipped {
		// The transaction is still there, and has failed: the client will end it.
		if ticket != nil {
			ticket.Aborted()
		}
		return nil
	}
	ok := end.tag == "COMMIT"
	if ticket != nil {
		crashpoint.At(crashpoint.CommitAfter)
		if ok {
			ticket.Committed()
		} else {
			ticket.Aborted()
		}
	}
	s.endTx(ctx, ok && ticket != nil)
	s.begun = chain && s.transactionStatus() == pgwire.StatusBlock
	return nil
}

// isFatal keeps the server's last words from a client whose COMMIT they answer:
// it hears from lost that the outcome is unknown.
func isFatal(fields []pgwire.Field) bool {
	severity := pgwire.FieldValue(fields, pgwire.FieldSeverityPlain)
	return severity == "FATAL" || severity == "PANIC"
}

// lost deals with a connection that broke while a COMMIT was under way: whether
// it took effect is not known here, and the client must hear just that.
func (s *Session) lost(ticket *order.Ticket, err error) error {
	if ticket == nil {
		return err
	}
	ticket.Unknown()
	s.mu.Lock()
	s.tx.end()
	s.tx = nil
	s.mu.Unlock()
	if dieErr := s.die(&refusal{code: stateUnknown,
		message: "the connection to the primary was lost during COMMIT; whether the transaction committed is not known",
		hint:    "Look for its effect before trying again."}); !errors.Is(dieErr, errEnded) {
		return errors.Join(err, dieErr)
	}
	return err
}

// commitWrapped commits what the agent began, and then releases the answer.
func (s *Session) commitWrapped(ctx context.Context, extended bool) error {
	h, refused, err := s.holdCommit(ctx, nil, extended)
	if err != nil {
		return err
	}
	defer h.ticket.Unknown() // should a panic come between: the first end counts
	c := &commitment{ticket: h.ticket, version: h.version, extended: extended, answer: &entry{silent: true}}
	// What the guard keeps back goes by Execute like itself.
	c.forward = func(*sentry) error { return s.sendEnd("COMMIT", ownCommit, c.answer, extended || c.version != 0) }
	if !refused {
		refused, err = s.commit(ctx, c)
	}
	if err != nil {
		return err
	}
	if refused {
		return s.rollbackWrapped(ctx, extended)
	}
	if c.end.tag == "COMMIT" {
		if err := s.releaseHeld(); err != nil {
			return err
		}
		return s.ready(s.transactionStatus())
	}
	if s.transactionStatus() == pgwire.StatusFailed {
		return s.rollbackWrapped(ctx, extended) // a cancel came before the commit had begun
	}
	s.dropHeld()
	return s.ready(s.transactionStatus())
}

// rollbackSimple deals with the client's ROLLBACK in the simple protocol.
func (s *Session) rollbackSimple(ctx context.Context, p part, e *entry) error {
	done := false
	e.onTag = both(e.onTag, func(string) { done = true })
	if err := s.sendQuery(p.sql, e); err != nil {
		return err
	}
	if err := s.drain(); err != nil || !done {
		return err // behind a cancel it is all there, and its savepoints can bring it back
	}
	s.endTx(ctx, false)
	s.begun = s.transactionStatus() != pgwire.StatusIdle
	return nil
}
