package session

import (
	"context"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// onParse plans a statement. Its text may be sent with columns added that the
// client never sees.
func (s *Session) onParse(ctx context.Context, m pgwire.Message) error {
	body, err := pgwire.DecodeParse(m.Body())
	if err != nil {
		return s.refuseExtended(malformed(err))
	}
	text, unread, err := s.readText(body.Text, true)
	if err != nil {
		return s.planFailed(err, true)
	}
	if unread != nil && !unread.ask {
		return s.refuseParse(unread.refusal, body.Name)
	}
	if r := s.strangeName(body.Name); r != nil {
		return s.refuseExtended(r)
	}
	st := &statement{name: body.Name, text: text, declared: body.OIDs, columns: -1}
	parts, err := s.deps.Classifier.Split(text)
	if unread != nil || err != nil || len(parts) > 1 {
		// The server says what is wrong with it; if it finds nothing wrong, the
		// statement exists but is not executed.
		return s.sendRaw(m, s.parseEntry(st))
	}
	if len(parts) == 0 {
		st.plan = emptyStatement
		return s.sendRaw(m, s.parseEntry(st))
	}
	plan, err := s.plan(ctx, text, body.OIDs, true)
	if err != nil {
		return s.planFailed(err, true)
	}
	if r := s.refusedPlan(plan, 0); r != nil {
		return s.refuseParse(r, body.Name)
	}
	st.plan = plan
	if plan.Lock != "" {
		return s.parseLocked(ctx, plan, func() error { return s.parse(m, body, st) })
	}
	return s.parse(m, body, st)
}

// parse sends the Parse of a statement that is planned.
func (s *Session) parse(m pgwire.Message, body pgwire.ParseBody, st *statement) error {
	var err error
	if st.plan.SQL == st.text {
		err = s.sendRaw(m, s.parseEntry(st))
	} else {
		body.Text = st.plan.SQL
		err = s.sendParse(body, s.parseEntry(st))
	}
	if err != nil || (!captured(st.plan) && st.plan.Kind != classify.Execute) {
		return err
	}
	return s.describeStatement(st)
}

// emptyStatement is the plan of a text without a statement.
var emptyStatement = &classify.Plan{Kind: classify.Pass, Class: event.ClassNone, ClientColumns: -1}

// parseEntry makes the statement known at once, since Bind may follow in the
// same packet, and forgets it if the server refuses it.
func (s *Session) parseEntry(st *statement) *entry {
	s.setStatement(st)
	e := &entry{kind: answerParse, onDone: func() { st.before = nil }, taken: st.name != "" && st.before != nil}
	if st.plan != nil {
		e.rewrote(st.plan, 0)
	}
	e.onFail = func() {
		if st.name == "" && !e.skipped && s.statements[""] == st {
			st.gone = true
			delete(s.statements, "") // the server drops the former one first
			return
		}
		s.restoreStatement(st)
	}
	return e
}

// describeStatement asks for the types of a captured statement's parameters and
// the number of its columns, behind its Parse.
func (s *Session) describeStatement(st *statement) error {
	return s.send(pgwire.Describe, pgwire.Target{Name: st.name}.Append(nil),
		&entry{kind: answerDescribe, silent: true, describes: st, plan: s.innermost(st.plan)})
}

// innermost is the plan whose columns a statement returns: of an SQL-level PREPARE or
// EXECUTE it is that of what was prepared.
func (s *Session) innermost(p *classify.Plan) *classify.Plan {
	switch {
	case p != nil && p.Kind == classify.Prepare:
		return p.Inner
	case p == nil || p.Kind != classify.Execute:
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.statements[p.Name]; st != nil && st.sqlLevel && st.plan != nil {
		return st.plan.Inner
	}
	return p
}

// onBind makes a portal. The hidden columns are asked for as text.
func (s *Session) onBind(ctx context.Context, m pgwire.Message) error {
	body, err := pgwire.DecodeBind(m.Body())
	if err != nil {
		return s.refuseExtended(malformed(err))
	}
	if err := s.beforeBind(ctx, body.Portal); err != nil {
		return err
	}
	if r := s.strangeName(body.Portal, body.Statement); r != nil {
		return s.refuseExtended(r)
	}
	st := s.statementNamed(body.Statement)
	switch {
	case st == nil:
		return s.sendRaw(m, s.setPortal(&portal{name: body.Portal, plan: mustFail}))
	case st.plan == nil || st.plan == emptyStatement || controls(st.plan):
		return s.sendRaw(m, s.setPortal(&portal{name: body.Portal, stmt: st, plan: st.plan}))
	}
	plan, r, err := s.bound(ctx, st)
	if err != nil {
		return s.planFailed(err, true)
	}
	if r != nil {
		return s.refuseExtended(r)
	}
	if s.resultChanged(st) {
		return s.refuseExtended(changedResult)
	}
	one, r, err := s.resolveExecute(ctx, part{plan: plan}, true)
	if err != nil {
		return s.planFailed(err, true)
	}
	if r != nil {
		return s.refuseExtended(r)
	}
	if !captured(one.plan) {
		return s.sendRaw(m, s.setPortal(&portal{name: body.Portal, stmt: st, plan: plan}))
	}
	if err := s.lockAhead(ctx, one.plan); err != nil {
		return err
	}
	counted := st
	if plan.Kind == classify.Execute { // the name may stand for another statement than when st was described
		counted = s.statementNamed(plan.Name)
	}
	if err := s.adjustFormats(counted, one.plan, &body); err != nil {
		return err
	}
	p := &portal{name: body.Portal, stmt: st, plan: one.plan, params: one.params}
	s.locked(func() { p.context = s.context })
	if plan == one.plan {
		var unread *unread
		switch p.params, unread, err = s.readParams(st, body.Params); {
		case err != nil:
			return s.planFailed(err, true)
		case unread != nil && unread.ask:
			return s.sendRaw(m, s.setPortal(&portal{name: body.Portal, plan: mustFail}))
		case unread != nil:
			return s.refuseExtended(unread.refusal)
		}
	}
	return s.bind(m, body, p)
}

// bind sends the Bind of a captured portal.
func (s *Session) bind(m pgwire.Message, body pgwire.BindBody, p *portal) error {
	e := s.setPortal(p)
	if p.plan.Hidden == 0 {
		return s.sendRaw(m, e) // adjustFormats had nothing to alter
	}
	return sendBody(s, pgwire.Bind, body, e)
}

func (s *Session) resultChanged(st *statement) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return st.changed
}

// controls tells statements whose plan does not depend on the session.
func controls(p *classify.Plan) bool {
	switch p.Kind {
	case classify.Begin, classify.Commit, classify.Rollback, classify.Savepoint, classify.RollbackTo, classify.Release:
		return true
	}
	return false
}

// parameterTypes returns what is known of a statement's parameter types.
func (s *Session) parameterTypes(st *statement) []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.oids != nil {
		return st.oids
	}
	return st.declared
}

// adjustFormats extends the client's result formats to the hidden columns.
func (s *Session) adjustFormats(st *statement, plan *classify.Plan, body *pgwire.BindBody) error {
	if plan.Hidden == 0 {
		return nil
	}
	if plan.ClientColumns < 0 {
		body.ResultFormats = nil
		return nil
	}
	switch n := len(body.ResultFormats); {
	case n == 0 || (n == 1 && body.ResultFormats[0] == 0):
		body.ResultFormats = nil
		return nil
	case n > 1:
		body.ResultFormats = append(body.ResultFormats, make([]int16, plan.Hidden)...)
		return nil
	}
	s.mu.Lock()
	columns := st.columns
	s.mu.Unlock()
	if columns < 0 {
		if st.sqlLevel { // nobody has asked yet
			if err := s.describeStatement(st); err != nil {
				return err
			}
		}
		if err := s.drain(); err != nil {
			return err
		}
		s.mu.Lock()
		columns = max(st.columns, 0)
		s.mu.Unlock()
	}
	formats := make([]int16, columns+plan.Hidden)
	for i := range columns {
		formats[i] = body.ResultFormats[0]
	}
	body.ResultFormats = formats
	return nil
}

// onDescribe forwards the question; the answer loses the hidden columns.
func (s *Session) onDescribe(ctx context.Context, m pgwire.Message) error {
	t, err := pgwire.DecodeTarget(m.Body())
	if err != nil {
		return s.refuseExtended(malformed(err))
	}
	e := s.plainEntry(answerDescribe, false)
	if t.Portal {
		p, err := s.knownPortal(ctx, t.Name)
		if err != nil {
			return err
		}
		if p != nil {
			e.plan = p.plan
		}
		return s.sendRaw(m, e)
	}
	st, err := s.knownStatement(ctx, t.Name)
	if err != nil {
		return err
	}
	if st != nil {
		if s.resultChanged(st) {
			return s.refuseExtended(changedResult)
		}
		e.describes, e.plan = st, s.innermost(st.plan)
	}
	return s.sendRaw(m, e)
}

// onClose forwards it; rows of a write that the client leaves behind are read first.
func (s *Session) onClose(_ context.Context, m pgwire.Message) error {
	t, err := pgwire.DecodeTarget(m.Body())
	if err != nil {
		return s.refuseExtended(malformed(err))
	}
	if !t.Portal {
		st := s.statementNamed(t.Name)
		return s.sendRaw(m, &entry{kind: answerClose, onDone: func() { s.dropStatement(st) }})
	}
	if err := s.drainPortal(t.Name); err != nil {
		return err
	}
	s.mu.Lock()
	p := s.portals[t.Name]
	s.mu.Unlock()
	return s.sendRaw(m, &entry{kind: answerClose, onDone: func() {
		if p == nil {
			return
		}
		p.gone = true
		if s.portals[t.Name] == p {
			delete(s.portals, t.Name)
		}
	}})
}
