package session

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/crashpoint"
	"github.com/opmux/opmux/wire/pgwire"
)

// finish is one COMMIT PREPARED or ROLLBACK PREPARED outside of a block. Both claim the
// transaction, so that what is committed under a name is what was claimed under it.
type finish struct {
	s       *Session
	plan    *classify.Plan
	attempt event.TxID
	// claimed is the id of the transaction that the attempt has, 0: it has none.
	claimed uint64
	ticket  *order.Ticket // nil: nothing is recorded
	// answer is the entry of the command that send puts on its way.
	answer *entry
	send   func(*entry) error
}

// finishSimple runs it in the simple protocol.
func (s *Session) finishSimple(ctx context.Context, p part, e *entry) error {
	r, err := s.finishPrepared(ctx, p.plan, e, func(e *entry) error {
		return s.sendQuery(p.sql, e)
	})
	if r != nil {
		return s.refuseQuery(r)
	}
	return err
}

// finishExtended runs it in the extended protocol.
func (s *Session) finishExtended(ctx context.Context, m pgwire.Message, plan *classify.Plan) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	if s.inBlock() {
		return s.sendRaw(m, &entry{kind: answerExecute}) // the server refuses it
	}
	if err := s.drain(); err != nil {
		return err
	}
	if s.skips() {
		return s.sendRaw(m, &entry{kind: answerExecute})
	}
	r, err := s.finishPrepared(ctx, plan, &entry{kind: answerExecute}, func(e *entry) error { return s.sendRaw(m, e) })
	if r != nil {
		return s.refuseExtended(r)
	}
	return err
}

// finishPrepared claims the transaction, records it where it is to be committed, and
// forwards the command. A refusal: nothing was forwarded, and it is still prepared.
func (s *Session) finishPrepared(ctx context.Context, plan *classify.Plan, e *entry, send func(*entry) error) (*refusal, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	f := &finish{s: s, plan: plan, attempt: event.TxID(id), answer: e, send: send}
	disabled, unusable := s.deps.Prepared.Usable()
	if disabled {
		return nil, f.forward(ctx) // there is none
	}
	if unusable != nil {
		return &refusal{code: stateNotSupported, message: f.name() + ": " + unusable.Error(), hint: "Let the catalogue login use the table, and start the agent again."}, nil
	}
	if f.commits() {
		if err := s.ledger.Admit(); err != nil {
			return stillPrepared(err), nil
		}
	}
	claim, err := s.deps.Prepared.Claim(ctx, plan.GID, prepared.Attempt{ID: f.attempt, BackendPID: s.who.pid, BackendStart: s.who.backendStart})
	if err != nil {
		return stillPrepared(err), nil
	}
	if claim.Standing != prepared.Claimed {
		return f.unclaimed(ctx, claim.Standing)
	}
	f.claimed = claim.XID
	defer func() { f.ticket.Unknown() }() // should a panic come between: the first end counts
	if r := f.record(ctx, claim); r != nil {
		f.giveUp(ctx)
		return r, nil
	}
	return nil, f.forward(ctx)
}

func (f *finish) commits() bool { return f.plan.Kind == classify.CommitPrepared }

// name is the command, and the tag that answers it.
func (f *finish) name() string {
	if f.commits() {
		return "COMMIT PREPARED"
	}
	return "ROLLBACK PREPARED"
}

// stillPrepared says what has become of the transaction.
func stillPrepared(err error) *refusal {
	r := refusedByGate(err)
	r.hint = "The transaction is still prepared; try again."
	return r
}

// unclaimed deals with a name under which there is nothing to claim. What no agent saw
// being prepared may be rolled back; its commit would be on no target (I6).
func (f *finish) unclaimed(ctx context.Context, standing prepared.Standing) (*refusal, error) {
	s := f.s
	switch {
	case standing == prepared.Absent:
		// It is not asked: by then something may have been prepared under that name.
		return &refusal{code: stateUndefinedObject, plain: true, message: `prepared transaction with identifier "` + f.plan.GID + `" does not exist`}, nil
	case standing == prepared.Elsewhere:
		return &refusal{code: stateNotSupported, plain: true, message: "prepared transaction belongs to another database",
			hint: "Connect to the database where the transaction was prepared to finish it."}, nil
	case standing == prepared.Busy:
		return &refusal{code: stateNotPrepared, message: f.name() + ": another attempt to end the prepared transaction is under way, or how it ended is being found out",
			hint: "Try again."}, nil
	case f.commits():
		c := &classify.Refusal{Construct: f.name(), Reason: "the transaction was prepared past opmux, so what it changed is not known",
			Hint: "ROLLBACK PREPARED it, and run it through the agent."}
		if !s.cfg.Flag {
			return refusedStatement(c, 0), nil
		}
		if r, err := s.giveUp(ctx, refusedPlan(f.plan.SQL, c)); r != nil || err != nil {
			return r, err
		}
	}
	return nil, f.forward(ctx)
}

// record takes the transaction's place, now that it is to be committed: until then it
// holds its locks (I3). What the gate asks for has happened when it returns nil.
func (f *finish) record(ctx context.Context, claim prepared.Claim) *refusal {
	s := f.s
	if !f.commits() || len(claim.Body) == 0 {
		return nil
	}
	tx, err := s.ledger.Unpack(claim.Body)
	if err != nil {
		return stillPrepared(err)
	}
	if err := s.drawnSince(ctx, tx.Operations); err != nil {
		return stillPrepared(err)
	}
	tx.ID, tx.DependsOn, tx.Commit, tx.Intent = f.attempt, event.BehindAll, time.Now().UnixMicro(), !s.cfg.None
	// The session that may commit it is this one. Its id is older than the position,
	// which a primary must have that can say how it ended.
	tx.Postgres = event.PostgresTx{XID: claim.XID, BackendPID: s.who.pid, BackendStart: s.who.backendStart, ProbeLSN: claim.LSN}
	if f.ticket, err = s.ledger.Ticket(tx); err != nil {
		return stillPrepared(err)
	}
	var r *refusal
	version, err := s.acknowledged(ctx, f.ticket)
	moved := claim.Version == 0 || claim.Version != version || !s.deps.Catalog.Counted()
	if err == nil && moved {
		err = s.awaitDDL(ctx)
	}
	if err != nil {
		r = stillPrepared(err)
	} else if moved {
		r = s.promisesHold(ctx, claim.Promises)
	}
	if r != nil {
		f.ticket.Aborted()
	}
	return r
}

// promisesHold looks whether the transaction's statements mean today what they meant
// when they ran.
func (s *Session) promisesHold(ctx context.Context, promises []byte) *refusal {
	what, err := s.deps.Classifier.Broken(ctx, promises)
	switch {
	case err != nil:
		return stillPrepared(fmt.Errorf("the catalogue could not be read: %w", err))
	case what != "":
		return &refusal{code: stateSerialization, message: "the catalogue has changed since the transaction was prepared: " + what,
			hint: "The transaction is still prepared: undo the DDL and try again, or ROLLBACK PREPARED it and run it again."}
	}
	return nil
}

// forward sends the command and waits for its answer.
func (f *finish) forward(ctx context.Context) error {
	s := f.s
	crashpoint.At(crashpoint.CommitBefore)
	end := &ending{}
	end.watch(f.answer)
	if f.ticket == nil {
		f.answer.onError = nil // the server's last words are the client's
	}
	err := f.send(f.answer)
	if err == nil {
		err = s.drainAt(crashpoint.CommitSent)
	}
	if err == nil && f.ticket != nil && !end.failed && end.tag != f.name() {
		err = violation("%s was answered by %q", f.name(), end.tag)
	}
	if err != nil {
		return s.lost(f.ticket, err)
	}
	crashpoint.At(crashpoint.CommitAfter)
	if end.failed {
		f.giveUp(ctx)
		return nil
	}
	if f.ticket != nil {
		f.ticket.Committed()
	}
	if f.claimed != 0 {
		s.clearPrepared(ctx, f.claimed)
	}
	s.endTx(ctx, true)
	return nil
}

// giveUp lets others end the transaction, where it is still prepared. Where it is not,
// somebody has ended it past opmux, and its status tells how.
func (f *finish) giveUp(ctx context.Context) {
	if f.claimed == 0 {
		return
	}
	given, err := f.s.deps.Prepared.GiveUp(ctx, f.claimed, f.attempt)
	if err != nil {
		f.s.log.Warn("a prepared transaction stays with an attempt that failed until its session ends", zapError(err))
	}
	switch {
	case f.ticket == nil:
	case given:
		f.ticket.Aborted()
	default:
		f.ticket.Unknown()
	}
}
