package session

import (
	"context"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// refresh plans a statement again as the session now stands: the server does so
// too when its path or the catalogue has changed. Where other columns must be added now,
// or such of other types, the statement is prepared again under its name, unseen.
func (s *Session) refresh(ctx context.Context, st *statement) (*classify.Plan, error) {
	plan, err := s.plan(ctx, st.text, st.declared, true)
	if err != nil || plan == st.plan {
		return plan, err
	}
	same := plan.SQL == st.plan.SQL && plan.HiddenTypes == st.plan.HiddenTypes
	if same || s.refusedPlan(plan, 0) != nil || plan.Kind == classify.MustFail {
		return plan, nil
	}
	if err := s.drain(); err != nil {
		return nil, err
	}
	if s.failing() {
		return st.plan, nil // the server looks at nothing that comes now
	}
	return plan, s.prepareAgain(st, plan)
}

// ownTried is the name that a text is tried under before it takes another's place.
const ownTried = "opmux_tried"

// prepareAgain puts another text in a statement's place. Where the server refuses it (a
// column is gone), all behind it is skipped, and the client keeps its statement, as it
// would without the agent: the DDL may be undone, or the path set back.
func (s *Session) prepareAgain(st *statement, plan *classify.Plan) error {
	s.mu.Lock()
	before, columns := st.plan, st.columns
	st.plan, st.columns = plan, -1
	oids := st.oids // what the server has once made of them stays
	s.mu.Unlock()
	if oids == nil {
		oids = st.declared
	}
	silent := func(kind answerKind) *entry { return &entry{kind: kind, silent: true} }
	if err := s.sendParse(pgwire.ParseBody{Name: ownTried, Text: plan.SQL, OIDs: oids}, silent(answerParse)); err != nil {
		return err
	}
	for _, name := range []string{ownTried, st.name} {
		if err := s.send(pgwire.Close, pgwire.Target{Name: name}.Append(nil), silent(answerClose)); err != nil {
			return err
		}
	}
	e := silent(answerParse)
	e.onFail = func() {
		if e.skipped {
			st.plan, st.columns = before, columns
			return
		}
		s.dropStatement(st)
	}
	if err := s.sendParse(pgwire.ParseBody{Name: st.name, Text: plan.SQL, OIDs: oids}, e); err != nil {
		return err
	}
	if err := s.describeStatement(st); err != nil {
		return err
	}
	return s.drain()
}
