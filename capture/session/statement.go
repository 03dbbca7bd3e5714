package session

import (
	"context"
	"slices"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// The maps of statements and portals follow the server's from what was sent, since
// a client may use a name in the packet that makes it. Where they are in doubt a
// statement is taken for one that must fail: it runs in a transaction that cannot
// commit, so that nothing is ever written unseen (I1, I6).

// statement is a prepared statement of the client's. Its fields beside name and
// text are guarded by the session's mu.
type statement struct {
	name string
	text string
	// plan is nil for text that the classifier cannot parse.
	plan *classify.Plan
	// declared are the parameter types of Parse, oids those that the server
	// resolved, nil while they are not known.
	declared, oids []uint32
	// columns are the client's result columns, -1 while they are not known.
	columns int
	// result is what made the client's result, as the server first told it, told that it
	// has; changed: it is another one now, which the server does not allow.
	result        string
	told, changed bool
	// sqlLevel is set for PREPARE.
	sqlLevel bool
	// before had the name before, while the server has not answered; gone is set
	// once the server has it no more.
	before *statement
	gone   bool
}

// portal is a bound statement of the client's.
type portal struct {
	name   string
	stmt   *statement
	plan   *classify.Plan
	params []event.Param
	// context is what the session's settings were when it was bound.
	context *sessionContext
	exec    *execution
	// limited says that the client has executed it with a limit on its rows.
	limited bool
	// cut says that this limit was the agent's to keep, which has let go of the rows behind it.
	cut bool
	// suspended says that the server holds rows of a write that it has not sent.
	suspended bool
	before    *portal
	gone      bool
	// seen is what a session that looks on made of it when it was bound, nil where it
	// holds no statement.
	seen *look
}

// mustFail stands for what the server is expected to refuse.
var mustFail = &classify.Plan{Kind: classify.MustFail, Class: event.ClassNone, ClientColumns: -1, Barrier: true,
	Reason: "the session does not know the statement"}

// setStatement makes a statement known.
func (s *Session) setStatement(st *statement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.before = s.statements[st.name]
	s.statements[st.name] = st
}

// knownStatement is the statement that has a name, nil: none. A Parse that took the name
// from another may have failed before a Sync, so that the server knows it as the other's
// yet: the answer is waited for. Without a Sync between, it skips what follows.
func (s *Session) knownStatement(ctx context.Context, name string) (*statement, error) {
	st := s.statementNamed(name)
	if st == nil || !s.synced || !s.inDoubt(func() bool { return st.before != nil }) {
		return st, nil
	}
	if err := s.settleSynced(ctx); err != nil {
		return nil, err
	}
	return s.statementNamed(name), nil
}

// knownPortal is knownStatement of portals.
func (s *Session) knownPortal(ctx context.Context, name string) (*portal, error) {
	p := s.portalNamed(name)
	if p == nil || !s.synced || !s.inDoubt(func() bool { return p.before != nil }) {
		return p, nil
	}
	if err := s.settleSynced(ctx); err != nil {
		return nil, err
	}
	return s.portalNamed(name), nil
}

func (s *Session) portalNamed(name string) *portal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.portals[name]
}

func (s *Session) inDoubt(of func() bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of()
}

// dropStatement forgets a statement that the server has dropped. Callers hold s.mu.
func (s *Session) dropStatement(st *statement) {
	if st == nil {
		return
	}
	st.gone = true
	if s.statements[st.name] == st {
		delete(s.statements, st.name)
	}
}

// restoreStatement puts back what had the name before. Callers hold s.mu.
func (s *Session) restoreStatement(st *statement) {
	st.gone = true
	if s.statements[st.name] != st {
		return
	}
	before := st.before
	for before != nil && before.gone {
		before = before.before
	}
	if before == nil {
		delete(s.statements, st.name)
		return
	}
	s.statements[st.name] = before
}

// setPortal makes a portal known; the entry is that of its Bind.
func (s *Session) setPortal(p *portal) *entry {
	e := s.plainEntry(answerBind, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.before = s.portals[p.name]
	s.portals[p.name] = p
	e.binds = p
	return e
}

// unbind forgets the portal of a Bind that has failed. Callers hold s.mu.
func (s *Session) unbind(e *entry) {
	p := e.binds
	p.gone = true
	if s.portals[p.name] != p {
		return
	}
	before := p.before
	for before != nil && before.gone {
		before = before.before
	}
	switch {
	case p.name == "" && !e.skipped:
		// The server has dropped the former one, or has not come so far.
		s.portals[""] = &portal{plan: mustFail}
	case before == nil:
		delete(s.portals, p.name)
	default:
		s.portals[p.name] = before
	}
}

// statementNamed returns a prepared statement, nil if there is none.
func (s *Session) statementNamed(name string) *statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statements[name]
}

// resolveExecute finds what an SQL-level EXECUTE will run, as the session now stands.
func (s *Session) resolveExecute(ctx context.Context, p part, extended bool) (part, *refusal, error) {
	name := p.plan.Runs
	if p.plan.Kind == classify.Execute {
		name = p.plan.Name
	}
	if name == "" {
		return p, nil, nil
	}
	now, r, err := s.preparedAs(ctx, name, extended)
	if now == nil {
		return p, r, err
	}
	if now == mustFail {
		p.plan = mustFail // the server will say so
		return p, nil, nil
	}
	inner := now.Inner
	if p.plan.Runs == "" {
		inner = inner.BindArgs(p.plan)
	}
	if r := s.refusedPlan(inner, 0); r != nil {
		r.position = 0
		return p, r, nil
	}
	if p.plan.Runs != "" {
		p.plan, r = runs(p.plan, inner)
		return p, r, nil
	}
	p.params, p.plan = p.plan.Args, inner
	return p, nil, nil
}

// bound plans what a Bind is of, as the session now stands: what was prepared by the
// protocol, or by SQL, whose statements have their names in the same place.
func (s *Session) bound(ctx context.Context, st *statement) (*classify.Plan, *refusal, error) {
	if !st.sqlLevel {
		plan, err := s.refresh(ctx, st)
		if err != nil {
			return nil, nil, err
		}
		return plan, s.refusedPlan(plan, 0), nil
	}
	now, r, err := s.preparedAs(ctx, st.name, true)
	if r != nil || err != nil || now == mustFail {
		return now, r, err
	}
	if r := s.refusedPlan(now.Inner, 0); r != nil {
		r.position = 0
		return nil, r, nil
	}
	if captured(now.Inner) && s.parameterTypes(st) == nil {
		err = s.describeStatement(st)
	}
	return now.Inner, nil, err
}

// runs is the plan of a statement that makes a table of what was prepared, which may
// only read, and draw from sequences where the table is not temporary.
func runs(p, inner *classify.Plan) (*classify.Plan, *refusal) {
	if !inner.ContextChanges && (inner.Kind == classify.Pass || inner.Kind == classify.Draw && !inner.Barrier && p.Makes != nil) {
		return p.With(inner), nil
	}
	return p, &refusal{code: stateNotSupported, message: p.Construct + " … EXECUTE: the prepared statement does more than read",
		hint: "EXECUTE it on its own."}
}

// preparedAs plans what a name was prepared as, as the session now stands. Nil: it
// cannot be run, and why.
func (s *Session) preparedAs(ctx context.Context, name string, extended bool) (*classify.Plan, *refusal, error) {
	st := s.statementNamed(name)
	switch {
	case st == nil:
		return mustFail, nil, nil
	case st.plan == nil:
		return nil, unknownStatement, nil
	case !st.sqlLevel:
		return nil, &refusal{code: stateNotSupported, message: "EXECUTE of a statement that was prepared by the protocol",
			hint: "Bind and execute it by the protocol, or PREPARE it."}, nil
	}
	now, err := s.planAgain(ctx, st.text, nil, extended, st)
	chars := s.charsetNow()
	switch {
	case err != nil:
		return nil, nil, err
	case now.Kind == classify.MustFail:
		return mustFail, nil, nil
	case now.Kind == classify.Refused:
		return nil, refusedStatement(now.Refusal, 0), nil
	case now.Kind != classify.Prepare || now.SQL != st.plan.SQL || now.Inner.HiddenTypes != st.plan.Inner.HiddenTypes:
		return nil, &refusal{code: stateNotSupported, message: "EXECUTE of a statement that was prepared under another search_path or other tables",
			hint: "DEALLOCATE it and PREPARE it again."}, nil
	case now.Inner.Hidden > 0 && !now.Inner.InHex && chars.name != utf8Name:
		return nil, &refusal{code: stateNotSupported, message: "EXECUTE in client_encoding " + chars.name + " of a statement that was prepared in UTF8: " +
			"what it writes is read back, and may have characters that this encoding has not",
			hint: "DEALLOCATE it and PREPARE it again, or SET client_encoding = 'UTF8'."}, nil
	}
	return now, nil, nil
}

// smallParam is how many bytes share memory with a statement's other parameters: one that
// is kept keeps the others.
const smallParam = 128

// eventParams turns bound values into what a transaction carries. Their bytes
// are copied, since the message's go with the next one.
func eventParams(params []pgwire.Param, oids []uint32) []event.Param {
	out := make([]event.Param, len(params))
	small := 0
	for i := range params {
		if n := len(params[i].Value); n <= smallParam {
			small += n
		}
	}
	slab := make([]byte, 0, small)
	for i, p := range params {
		out[i] = event.Param{Null: p.Null, Binary: p.Binary}
		switch n, start := len(p.Value), len(slab); {
		case n > smallParam:
			out[i].Value = slices.Clone(p.Value)
		case n > 0:
			slab = append(slab, p.Value...)
			out[i].Value = slab[start:len(slab):len(slab)]
		}
		if i < len(oids) {
			out[i].OID = oids[i]
		}
	}
	return out
}
