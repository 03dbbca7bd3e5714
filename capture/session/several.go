package session

import (
	"context"
	"errors"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// several deals with a Query of several statements, which the server would run
// in one implicit transaction. Where all of them are uncaptured they go as they
// are; otherwise one by one, inside a block of the agent's.
func (s *Session) several(ctx context.Context, m pgwire.Message, text string, statements []classify.Statement) error {
	if !s.wrapped {
		plain, err := s.allPlain(ctx, statements)
		if err != nil {
			return s.planFailed(err, false)
		}
		if plain {
			return s.sendRaw(m, &entry{kind: answerQuery})
		}
	}
	if len(statements) == 0 {
		// It ends a pipeline, whose commit comes before the server's word that it was empty.
		s.locked(func() { s.held = pgwire.AppendMessage(s.held, pgwire.EmptyQueryResponse, nil) })
	}
	s.inParts.Store(true)
	defer s.inParts.Store(false)
	for i, st := range statements {
		last := i == len(statements)-1
		ok, told, err := s.oneOfSeveral(ctx, text, st, last)
		if err != nil || told {
			return err
		}
		if !ok {
			break
		}
	}
	if s.wrapped {
		return s.finishWrapped(ctx, false)
	}
	return s.ready(s.transactionStatus())
}

// allPlain tells whether every statement can be forwarded unseen.
func (s *Session) allPlain(ctx context.Context, statements []classify.Statement) (bool, error) {
	for _, st := range statements {
		p, err := s.plan(ctx, st.Text, nil, false)
		if err != nil {
			return false, err
		}
		if (p.Kind != classify.Pass && p.Kind != classify.Maintenance) || p.ContextChanges || p.DiscardsStatements ||
			p.CatalogChanges || p.Construct == constructCopy || p.Holds || p.Awake != nil && s.behindTraced() {
			return false, nil
		}
	}
	return true, nil
}

// oneOfSeveral runs one statement and waits for its answer. False: it failed,
// and what follows is not run. Told: the client has had its ReadyForQuery.
func (s *Session) oneOfSeveral(ctx context.Context, text string, st classify.Statement, last bool) (ok, told bool, err error) {
	plan, err := s.plan(ctx, st.Text, nil, false)
	if err != nil && s.wrapped {
		return false, false, s.partFailed(err)
	}
	if err != nil {
		return false, true, s.planFailed(err, false)
	}
	p := part{plan: plan, text: st.Text, sql: plan.SQL, before: characters(text[:st.Offset]), quiet: true}
	r := s.refusedPlan(plan, p.before)
	if r == nil && s.transactionStatus() != pgwire.StatusFailed {
		if p, r, err = s.resolveExecute(ctx, p, false); err != nil {
			return false, false, s.partFailed(err)
		}
	}
	p.plan = s.awake(p.plan)
	if plan = p.plan; r == nil && s.wrapped && controls(plan) && plan.Kind != classify.Begin && (plan.Chain || plan.Name != "") {
		r = outsideBlock(plan)
	}
	if r != nil {
		return false, false, s.refusePart(r, p)
	}
	switch plan.Kind {
	case classify.Begin, classify.Commit, classify.Rollback, classify.Savepoint, classify.RollbackTo, classify.Release:
	default:
		if s.transactionStatus() == pgwire.StatusIdle {
			if begun, err := s.beginImplicit(); err != nil || !begun {
				return false, false, err
			}
		}
	}
	if captured(plan) && plan.Kind != classify.Standalone && s.transactionStatus() == pgwire.StatusBlock {
		if locked, err := s.lockBefore(plan); err != nil || !locked {
			return false, false, err
		}
		ok, err = s.write(ctx, p, false, last && s.wrapped)
		return ok && s.transactionStatus() == pgwire.StatusBlock, false, err
	}
	e := &entry{kind: answerQuery, shift: -p.before, hold: last && s.wrapped && !endsImplicit(plan), holdReady: true}
	failed := false
	e.onFail = func() { failed = true }
	wrapped := s.wrapped
	if wrapped && (plan.Kind == classify.Commit || plan.Kind == classify.Rollback) {
		e.warning = noTransaction
	}
	if plan.Kind == classify.Commit {
		done, err := s.commitSimple(ctx, p, e)
		return done && !failed, !done, err
	}
	if err := s.uncaptured(ctx, p, e); err != nil {
		return false, false, err
	}
	err = s.drain()
	if failed && wrapped && plan.Kind == classify.Begin {
		s.wrapped, s.begun = true, false // it is the agent's still
	}
	return !failed, false, err
}

// endsImplicit tells whether a statement leaves nothing of the implicit transaction that
// the agent would commit: it ends it, or makes it the client's block.
func endsImplicit(p *classify.Plan) bool {
	return p.Kind == classify.Commit || p.Kind == classify.Rollback || p.Kind == classify.Begin
}

// partFailed answers a statement behind others whose plan could not be made: the
// implicit transaction fails, and the caller ends it.
func (s *Session) partFailed(err error) error {
	var side *sideError
	if errors.As(err, &side) {
		return err
	}
	var answered *serverError
	if errors.As(err, &answered) {
		return s.toClient(pgwire.ErrorResponse, pgwire.AppendFields(nil, answered.fields))
	}
	return s.refusePart(refusedPlanning(err), part{quiet: true})
}

// beginImplicit opens the block that stands for the server's implicit
// transaction. False: the server did not open it, and has said why.
func (s *Session) beginImplicit() (bool, error) {
	e := &entry{kind: answerQuery, silent: true}
	if err := s.sendQuery("BEGIN", e); err != nil {
		return false, err
	}
	if err := s.drain(); err != nil {
		return false, err
	}
	s.wrapped = s.transactionStatus() == pgwire.StatusBlock
	return s.wrapped, nil
}

// refusePart answers one statement with an error of the agent's; where others
// stood before it in the same Query, ReadyForQuery is the caller's.
func (s *Session) refusePart(r *refusal, p part) error {
	if !p.quiet {
		return s.refuseQuery(r)
	}
	if s.transactionStatus() == pgwire.StatusIdle {
		return s.refuse(r)
	}
	if err := s.sendQuery(failingSQL, &entry{kind: answerQuery, refusal: r, holdReady: true}); err != nil {
		return err
	}
	return s.drain()
}
