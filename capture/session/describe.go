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
		s.mu.Lock()
		e.describes.columns = pgwire.Columns(m.Body()) - hidden
		s.mu.Unlock()
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
		s.mu.Unlock()
	}
	return nil
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
