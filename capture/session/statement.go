package session

import (
	"slices"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

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
	// sqlLevel is set for PREPARE; schemas is the path that it was planned under.
	sqlLevel bool
	schemas  []string
}

// portal is a bound statement of the client's.
type portal struct {
	name   string
	stmt   *statement
	plan   *classify.Plan
	params []event.Param
	exec   *execution
	// suspended says that the server holds rows of a write that it has not sent.
	suspended bool
}

// dropStatement forgets a prepared statement that the server has dropped.
func (s *Session) dropStatement(name string) {
	s.mu.Lock()
	delete(s.statements, name)
	s.mu.Unlock()
}

// statementNamed returns a prepared statement, nil if there is none.
func (s *Session) statementNamed(name string) *statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statements[name]
}

// resolveExecute finds what an SQL-level EXECUTE will run.
func (s *Session) resolveExecute(p part) (part, *refusal) {
	if p.plan.Kind != classify.Execute {
		return p, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.statements[p.plan.Name]
	if st == nil {
		return p, nil // the server will say so
	}
	if st.plan == nil {
		return p, unknownStatement
	}
	if !st.sqlLevel {
		return p, &refusal{code: stateNotSupported, message: "EXECUTE of a statement that was prepared by the protocol",
			hint: "Bind and execute it by the protocol, or PREPARE it."}
	}
	if captured(st.plan) && s.context != nil && st.schemas != nil && !slices.Equal(st.schemas, s.context.schemas) {
		return p, &refusal{code: stateNotSupported, message: "EXECUTE of a statement that was prepared under another search_path",
			hint: "DEALLOCATE it and PREPARE it again."}
	}
	inner := st.plan.BindArgs(p.plan)
	if inner.Kind == classify.Refused && !s.cfg.Flag {
		return p, refusedStatement(inner.Refusal, 0)
	}
	p.params, p.plan = p.plan.Args, inner
	return p, nil
}

// eventParams turns bound values into what a transaction carries. Their bytes
// are copied, since the message's go with the next one.
func eventParams(params []pgwire.Param, oids []uint32) []event.Param {
	out := make([]event.Param, len(params))
	for i, p := range params {
		out[i] = event.Param{Null: p.Null, Binary: p.Binary, Value: append([]byte(nil), p.Value...)}
		if i < len(oids) {
			out[i].OID = oids[i]
		}
	}
	return out
}
