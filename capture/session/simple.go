package session

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// wrapPrefix goes before an autocommit write, in one text with it: if BEGIN
// fails (a cancel that came late), the statement does not run either.
const wrapPrefix = "BEGIN;"

// part is one statement of a Query message.
type part struct {
	plan *classify.Plan
	text string // as the client wrote it
	sql  string // as it is sent
	// before is how many characters of the client's text precede sql's beginning.
	before int
	// quiet leaves ReadyForQuery to the caller: other parts follow.
	quiet bool
	// params are the arguments of an SQL-level EXECUTE.
	params []event.Param
}

// onQuery deals with the simple protocol. Every answer is waited for before the
// next Query is planned, since the plan depends on the transaction's status.
func (s *Session) onQuery(ctx context.Context, m pgwire.Message) error {
	if s.piped {
		if ignored, err := s.queryInPipeline(ctx); ignored || err != nil {
			return err
		}
	} else if err := s.beforeQuery(ctx); err != nil {
		return err
	}
	raw, err := pgwire.QueryText(m.Body())
	if err != nil {
		return s.refuseQuery(malformed(err))
	}
	s.mu.Lock()
	s.dropStatement(s.statements[""]) // as the server does
	s.mu.Unlock()
	text, unread, err := s.readText(raw, false)
	switch {
	case err != nil:
		return s.planFailed(err, false)
	case unread != nil && unread.ask:
		return s.unparsable(raw, unread.refusal)
	case unread != nil:
		return s.refuseQuery(unread.refusal)
	}
	statements, err := s.deps.Classifier.Split(text)
	if err != nil {
		return s.unparsable(raw, unknownStatement)
	}
	switch {
	case len(statements) == 0 && !s.wrapped:
		return s.sendRaw(m, &entry{kind: answerQuery})
	case len(statements) == 1 && !s.wrapped:
		return s.single(ctx, m, text, statements[0])
	}
	return s.several(ctx, m, text, statements)
}

// settle waits for every answer and deals with a transaction that has ended
// without the agent's doing: by ROLLBACK, or by an error of a COMMIT.
func (s *Session) settle(ctx context.Context) error {
	if err := s.drain(); err != nil {
		return err
	}
	s.mu.Lock()
	over := s.status == pgwire.StatusIdle && (s.tx != nil || s.contextChanged || s.begun)
	s.mu.Unlock()
	if over {
		s.endTx(ctx, false)
	}
	return nil
}

// single deals with a Query of one statement.
func (s *Session) single(ctx context.Context, m pgwire.Message, text string, st classify.Statement) error {
	plan, err := s.plan(ctx, st.Text, nil, false)
	if err != nil {
		return s.planFailed(err, false)
	}
	if r := s.refusedPlan(plan, characters(text[:st.Offset])); r != nil {
		return s.refuseQuery(r)
	}
	p := part{plan: plan, text: st.Text, sql: text}
	if plan.SQL != st.Text {
		p.sql, p.before = plan.SQL, characters(text[:st.Offset])
	}
	if s.transactionStatus() == pgwire.StatusFailed {
		return s.inFailed(ctx, m, p)
	}
	p, r, err := s.resolveExecute(ctx, p, false)
	if err != nil {
		return s.planFailed(err, false)
	}
	if r != nil {
		return s.refuseQuery(r)
	}
	p.plan = s.awake(p.plan)
	plan = p.plan
	if !captured(plan) {
		return s.uncaptured(ctx, p, &entry{kind: answerQuery, shift: -p.before})
	}
	if plan.Kind == classify.Standalone {
		return s.standalone(ctx, p)
	}
	wrap := s.transactionStatus() == pgwire.StatusIdle
	if wrap && plan.Alone {
		return s.alone(ctx, p)
	}
	if locksBefore(plan) {
		return s.lockedSimple(ctx, p, wrap)
	}
	if _, err := s.write(ctx, p, wrap, wrap); err != nil || !s.wrapped {
		return err
	}
	return s.finishWrapped(ctx, false)
}

// refusedPlan is the answer to a statement that policy reject does not run.
func (s *Session) refusedPlan(p *classify.Plan, before int) *refusal {
	if p.Kind == classify.Prepare && p.Inner != nil {
		p = p.Inner
	}
	if p.Kind != classify.Refused || (s.cfg.Flag && !p.Refusal.Always) || s.deps.Observer != nil {
		return nil
	}
	r := refusedStatement(p.Refusal, before)
	if r.position > 0 {
		r.position = s.clientPlace(r.position)
	}
	return r
}

// inFailed forwards what comes in a failed block: the server refuses all but
// its end and ROLLBACK TO.
func (s *Session) inFailed(ctx context.Context, m pgwire.Message, p part) error {
	switch p.plan.Kind {
	case classify.Commit, classify.Rollback, classify.RollbackTo:
		return s.uncaptured(ctx, p, &entry{kind: answerQuery})
	}
	return s.sendRaw(m, &entry{kind: answerQuery})
}

// captured tells whether a statement's effect is to be published.
func captured(p *classify.Plan) bool {
	switch p.Kind {
	case classify.Draw, classify.Write, classify.Copy, classify.DDL, classify.MustFail, classify.Standalone, classify.Refused:
		return true
	}
	return false
}

// uncaptured forwards a statement that is not published: reads, transaction
// control and session commands.
func (s *Session) uncaptured(ctx context.Context, p part, e *entry) error {
	switch p.plan.Kind {
	case classify.Commit:
		_, err := s.commitSimple(ctx, p, e)
		return err
	case classify.Rollback:
		return s.rollbackSimple(ctx, p, e)
	case classify.CommitPrepared, classify.RollbackPrepared:
		if s.transactionStatus() == pgwire.StatusIdle {
			return s.finishSimple(ctx, p, e)
		}
	}
	if r, err := s.reachedBySQL(p, false); err != nil || r != nil {
		if r != nil {
			s.fail(e)
			return s.refusePart(r, p)
		}
		return err
	}
	if err := s.hook(p.plan, p.text, e); err != nil {
		return err
	}
	if err := s.holds(p.plan, p.sql, e); err != nil {
		return err
	}
	if err := s.hideOwn(p.plan); err != nil {
		return err
	}
	if err := s.sendQuery(p.sql, e); err != nil {
		return err
	}
	if p.plan.Construct == constructCopy {
		return s.copyData(ctx, nil)
	}
	return nil
}

// hook sets what an uncaptured statement changes of the session once it is done.
func (s *Session) hook(p *classify.Plan, text string, e *entry) error {
	switch p.Kind {
	case classify.Begin:
		e.muteWarning = s.wrapped
		s.begun, s.wrapped = true, false
	case classify.Savepoint, classify.RollbackTo, classify.Release:
		tx, err := s.currentTx()
		if err != nil {
			return err
		}
		e.onTag = func(string) { s.savepoint(tx, p) }
	case classify.Prepare:
		e.rewrote(p, -e.shift)
		st := &statement{name: p.Name, plan: p, text: text, sqlLevel: true, columns: -1}
		e.onTag = func(string) { s.statements[p.Name] = st }
	case classify.Deallocate:
		e.onTag = func(string) { s.deallocated(p) }
	}
	if p.ContextChanges || p.DiscardsStatements || p.CatalogChanges {
		s.changes(p, e)
	}
	return nil
}

// savepoint follows the client's savepoints. Callers hold s.mu.
func (s *Session) savepoint(tx *txn, p *classify.Plan) {
	switch p.Kind {
	case classify.Savepoint:
		tx.savepoint(p.Name)
	case classify.RollbackTo:
		s.kept.Drop()
		s.endCut(tx)
		tx.rollbackTo(p.Name)
		if s.contextChanged {
			s.context = nil
		}
	case classify.Release:
		tx.release(p.Name)
	}
}

// refuseQuery answers a Query with an error of the agent's. Inside a block the
// server is made to fail, so that the block's state is its own.
func (s *Session) refuseQuery(r *refusal) error {
	if err := s.drain(); err != nil {
		return err
	}
	if s.transactionStatus() == pgwire.StatusIdle {
		if err := s.refuse(r); err != nil {
			return err
		}
		return s.ready(pgwire.StatusIdle)
	}
	return s.sendQuery(failingSQL, &entry{kind: answerQuery, refusal: r})
}

// failingSQL is a text that any server refuses to parse; the client sees the
// agent's error in its place.
const failingSQL = "opmux refused a statement"

// unparsable sends text that the agent cannot read as Parse alone, which runs
// nothing: a syntax error goes to the client, and a statement that only the server
// understands is refused.
func (s *Session) unparsable(raw string, r *refusal) error {
	failed := false
	e := &entry{kind: answerParse, silent: true, onFail: func() { failed = true }}
	if err := s.send(pgwire.Parse, pgwire.ParseBody{Text: raw}.Append(nil), e); err != nil {
		return err
	}
	if err := s.send(pgwire.Sync, nil, &entry{kind: answerSync, holdReady: true}); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	if failed {
		return s.ready(s.transactionStatus())
	}
	return s.refuseQuery(r)
}

var unknownStatement = &refusal{code: stateNotSupported,
	message: "statement: opmux cannot parse it, so it cannot tell what it would change",
	hint:    "Rewrite it in the grammar of PostgreSQL 17, or run it on the primary and on every target."}

// characters counts what PostgreSQL's error positions count.
func characters(s string) int { return utf8.RuneCountInString(s) }

// planFailed answers a statement whose plan could not be made.
func (s *Session) planFailed(err error, extended bool) error {
	var side *sideError
	if errors.As(err, &side) {
		return err
	}
	if extended {
		return s.refuseExtended(refusedPlanning(err))
	}
	var answered *serverError
	if errors.As(err, &answered) {
		if err := s.toClient(pgwire.ErrorResponse, pgwire.AppendFields(nil, answered.fields)); err != nil {
			return err
		}
		return s.ready(s.transactionStatus())
	}
	return s.refuseQuery(refusedPlanning(err))
}
