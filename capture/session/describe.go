package session

import "github.com/opmux/opmux/wire/pgwire"

// describeAnswer deals with RowDescription: hidden columns are taken out, and a
// statement that returns nothing of the client's answers NoData.
func (s *Session) describeAnswer(e *entry, m pgwire.Message) error {
	hidden, clientColumns := 0, 0
	if e.plan != nil {
		hidden, clientColumns = e.plan.Hidden, e.plan.ClientColumns
	}
	if e.exec != nil {
		e.exec.columns = pgwire.Columns(m.Body())
	}
	if e.describes != nil {
		if err := s.tellResult(e.describes, m, pgwire.Columns(m.Body())-hidden); err != nil {
			return err
		}
	}
	if !e.silent && hidden > 0 {
		if err := s.describeCut(e, m, hidden, clientColumns); err != nil {
			return err
		}
	} else if err := s.pass(e, m); err != nil {
		return err
	}
	if e.kind == answerDescribe {
		s.mu.Lock()
		e.done()
		s.pop()
		s.spare(e)
		s.mu.Unlock()
	}
	return nil
}

// tellResult keeps what a statement's result is, and notices that it has become another.
func (s *Session) tellResult(st *statement, m pgwire.Message, columns int) error {
	result, err := pgwire.RowTypes(m.Body(), columns)
	if err != nil {
		return upstreamError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.columns = columns; !st.told {
		st.told, st.result = true, result
	}
	st.changed = st.result != result
	return nil
}

// changedResult is the server's answer to what was prepared with another result: it
// does not see that of a statement which the agent has prepared anew.
var changedResult = &refusal{code: stateNotSupported, message: "cached plan must not change result type", plain: true}

// staleResult is where the server finds that a prepared statement's result is of other
// types by now. A client whose statement has none would never hear of it: the rows
// that a write returns to the agent are of them.
const staleResult = "RevalidateCachedQuery"

// returnsOthers tells whether an error says so of a portal that returns rows to the agent alone.
func (p *portal) returnsOthers(fields []pgwire.Field) bool {
	return p != nil && p.plan != nil && p.plan.ClientColumns < 0 && p.plan.Hidden > 0 && pgwire.FieldValue(fields, pgwire.FieldRoutine) == staleResult
}

func (s *Session) describeCut(e *entry, m pgwire.Message, hidden, clientColumns int) error {
	if clientColumns < 0 {
		if e.kind == answerDescribe {
			return s.toClient(pgwire.NoData, nil)
		}
		return nil
	}
	body, err := pgwire.CutRowDescription(m.Body(), pgwire.Columns(m.Body())-hidden)
	if err != nil {
		return upstreamError(err)
	}
	return s.toClient(m.Type, body)
}

// parametersAnswer deals with ParameterDescription.
func (s *Session) parametersAnswer(e *entry, m pgwire.Message) error {
	oids, err := pgwire.DecodeParameterDescription(m.Body())
	if err != nil {
		return upstreamError(err)
	}
	if e.describes != nil {
		s.mu.Lock()
		e.describes.oids = oids
		s.mu.Unlock()
	}
	return s.pass(e, m)
}
