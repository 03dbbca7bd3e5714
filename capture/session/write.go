package session

import (
	"context"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// begin makes the transaction ready for a write, which may be refused while the
// ledger cannot take it: better now than with locks held (DESIGN §4.3).
func (s *Session) begin(ctx context.Context, one part, extended bool) (*txn, *refusal, error) {
	if r, err := s.reachedBySQL(one, extended); r != nil || err != nil {
		return nil, r, err
	}
	p := one.plan
	if defines(p) || p.ByTriggers {
		if r, err := s.beforeOwnDDL(ctx, p, extended); r != nil || err != nil {
			return nil, r, err
		}
	}
	tx, err := s.currentTx()
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !tx.admitted {
		if err := s.ledger.Admit(); err != nil {
			return nil, refusedByGate(err), nil
		}
		tx.admitted = true
		tx.expected = s.ledger.Expect()
	}
	c := s.context
	if c == nil {
		c = s.lastContext // the pipeline has failed, and the server will not look at this
	}
	tx.enter(c)
	tx.note(p)
	return tx, nil, nil
}

// newExecution makes what captures one run of a plan.
func (s *Session) newExecution(tx *txn, p *classify.Plan, params []event.Param) *execution {
	x := &execution{tx: tx, plan: p, params: params}
	if p.Kind != classify.Copy {
		return x
	}
	encoding := utf8Name // what is kept is read first
	if p.CopyDraw != nil {
		encoding = s.charsetNow().name
	}
	x.scan, x.copy = p.NewCopyScanner(encoding), newCopyText(p, s.cfg.MaxMessage)
	return x
}

// probing tells whether the transaction's identity is still to be learnt.
func (s *Session) probing(tx *txn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tx.probe == nil || tx.probe.xid == 0
}

// write sends a captured statement in the simple protocol. With wrap the agent's
// BEGIN goes in front, in the same text; with hold the end of the answer waits
// for the release. Inside a client's block only the probe's answer is waited for.
// False: the statement did not run well.
func (s *Session) write(ctx context.Context, p part, wrap, hold bool) (bool, error) {
	plan := p.plan
	tx, r, err := s.begin(ctx, p, false)
	if err != nil {
		return false, err
	}
	if r != nil {
		return false, s.refusePart(r, p)
	}
	x := s.newExecution(tx, plan, p.params)
	failed := false
	e := &entry{kind: answerQuery, shift: -p.before, hold: hold, holdReady: true, exec: x, plan: plan, onFail: func() { failed = true }}
	e.rewrote(plan, p.before)
	if plan.CopyDraw != nil {
		e.exec, e.hold = nil, false // its answer is only the first of several
	}
	if plan.Kind == classify.MustFail {
		e.exec, e.onTag = nil, func(string) { tx.fail(errMoved) }
	}
	if plan.CatalogChanges || plan.ByTriggers {
		s.changes(plan, e)
	}
	text := p.sql
	if plan.ByTriggers {
		text, e.skipTags, e.shift = switchOnPrefix+text, 1, len(switchOnPrefix)+e.shift
	}
	if wrap {
		text, e.skipTags, e.shift = wrapPrefix+text, e.skipTags+1, len(wrapPrefix)+e.shift
		s.wrapped = true
	}
	s.explainEnds(plan, e)
	if err := s.sendQuery(text, e); err != nil {
		return false, err
	}
	switch {
	case plan.CopyDraw != nil:
		err = s.copyRows(ctx, x, e, hold)
	case plan.Construct == constructCopy:
		err = s.copyData(ctx, e.exec)
	}
	if err != nil {
		return false, err
	}
	if looksBehind(plan) {
		return !failed, s.behindSimple(ctx, x, hold || p.quiet)
	}
	if plan.ByTriggers {
		return !failed, s.takeSimple(ctx, tx, plan, hold || p.quiet)
	}
	return !failed, s.probeSimple(ctx, tx, hold || p.quiet)
}

// probeSimple sends the probe behind a write and waits for both answers. It goes by
// Bind and Execute, since the server would plan its many columns anew for each
// Query. The client is told the block's state by the probe's ReadyForQuery, since a
// cancel may have hit the probe.
func (s *Session) probeSimple(ctx context.Context, tx *txn, quiet bool) error {
	if s.probing(tx) {
		return s.probeBehind(ctx, tx, quiet, nil)
	}
	if err := s.drain(); err != nil {
		return err
	}
	if quiet {
		return nil
	}
	return s.ready(s.transactionStatus())
}

// probeBehind sends the probe and what else is to be asked, and waits for the answers.
func (s *Session) probeBehind(ctx context.Context, tx *txn, quiet bool, more func(context.Context) error) error {
	probe := s.probeEntry(ctx, tx)
	probe.onError = s.failedBefore
	if err := s.runOwn(ownProbe, probe); err != nil {
		return err
	}
	if more != nil {
		if err := more(ctx); err != nil {
			return err
		}
	}
	if err := s.send(pgwire.Sync, nil, &entry{kind: answerSync, silent: true, passReady: !quiet}); err != nil {
		return err
	}
	return s.drain()
}

// failedBefore takes the error of a question behind a statement that has failed, be it a
// second cancel's. Callers hold s.mu.
func (s *Session) failedBefore(fields []pgwire.Field) bool {
	return pgwire.FieldValue(fields, pgwire.FieldCode) == stateFailedTransaction || s.status == pgwire.StatusFailed && !isFatal(fields)
}

// stateFailedTransaction is what the server answers in a failed block.
const stateFailedTransaction = "25P02"

// finishWrapped ends what the agent began around an autocommit statement.
func (s *Session) finishWrapped(ctx context.Context, extended bool) error {
	switch s.transactionStatus() {
	case pgwire.StatusBlock:
		return s.commitWrapped(ctx, extended)
	case pgwire.StatusFailed:
		return s.rollbackWrapped(ctx, extended)
	}
	s.dropHeld()
	s.endTx(ctx, false)
	return s.ready(pgwire.StatusIdle)
}

// rollbackAttempts is how often the agent's ROLLBACK is tried: a cancel, or a timeout, may hit
// it as any command, and each hits one.
const rollbackAttempts = 10

// rollbackWrapped ends a failed transaction of the agent's; the client has heard
// of the error and now hears that its session is idle.
func (s *Session) rollbackWrapped(ctx context.Context, extended bool) error {
	s.dropHeld()
	for attempt := range rollbackAttempts {
		if attempt > 0 && extended {
			// The portal of the one before is there until the transaction ends.
			if err := s.send(pgwire.Close, pgwire.Target{Portal: true, Name: ownRollback}.Append(nil), s.plainEntry(answerClose, true)); err != nil {
				return err
			}
		}
		e := &entry{silent: true, onError: func([]pgwire.Field) bool { return true }}
		if err := s.endOwn("ROLLBACK", ownRollback, e, extended); err != nil {
			return err
		}
		if s.transactionStatus() != pgwire.StatusFailed {
			s.endTx(ctx, false)
			return s.ready(s.transactionStatus())
		}
	}
	return violation("a ROLLBACK that does not end its transaction")
}

// endOwn runs the agent's ROLLBACK and waits for its answer.
func (s *Session) endOwn(sql, name string, e *entry, extended bool) error {
	if extended && s.failing() {
		// The server skips up to a Sync since a question of the agent's failed.
		if err := s.send(pgwire.Sync, nil, &entry{kind: answerSync, silent: true}); err != nil {
			return err
		}
		if err := s.drain(); err != nil {
			return err
		}
	}
	if err := s.sendEnd(sql, name, e, extended); err != nil {
		return err
	}
	return s.drain()
}

// sendEnd puts the agent's COMMIT or ROLLBACK on its way.
func (s *Session) sendEnd(sql, name string, e *entry, extended bool) error {
	if !extended {
		e.kind = answerQuery
		return s.sendQuery(sql, e)
	}
	if err := s.runOwn(name, e); err != nil {
		return err
	}
	return s.send(pgwire.Sync, nil, &entry{kind: answerSync, silent: true})
}

// dropHeld forgets an answer whose command did not come about.
func (s *Session) dropHeld() {
	s.mu.Lock()
	s.held = s.held[:0]
	s.mu.Unlock()
}

// releaseHeld sends the client the end of the answer that was kept back.
func (s *Session) releaseHeld() error {
	s.mu.Lock()
	held := s.held
	s.held = nil
	s.mu.Unlock()
	s.downMu.Lock()
	defer s.downMu.Unlock()
	if err := s.down.Write(held); err != nil {
		return clientError(err)
	}
	return nil
}
