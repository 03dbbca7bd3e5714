package session

import (
	"context"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// alone runs, under policy flag, a refused command that cannot be wrapped. What it
// may change is given up before it runs: it may commit in between and fail then,
// and what others make of its rows must find them given up already (I6).
func (s *Session) alone(ctx context.Context, p part) error {
	if r, err := s.giveUp(ctx, p.plan); err != nil || r != nil {
		if r != nil {
			return s.refuseQuery(r)
		}
		return err
	}
	e := &entry{kind: answerQuery, shift: -p.before}
	s.changesAnyhow(p.plan, e)
	if err := s.sendQuery(p.sql, e); err != nil {
		return err
	}
	return s.aloneDone(ctx)
}

// aloneExtended is alone for the extended protocol.
func (s *Session) aloneExtended(ctx context.Context, m pgwire.Message, plan *classify.Plan) error {
	if r, err := s.giveUp(ctx, plan); err != nil || r != nil {
		if r != nil {
			return s.refuseExtended(r)
		}
		return err
	}
	e := &entry{kind: answerExecute}
	s.changesAnyhow(plan, e)
	if err := s.sendRaw(m, e); err != nil {
		return err
	}
	if err := s.send(pgwire.Flush, nil, nil); err != nil {
		return err
	}
	return s.aloneDone(ctx)
}

func (s *Session) aloneDone(ctx context.Context) error {
	if err := s.drain(); err != nil {
		return err
	}
	s.endTx(ctx, true)
	return nil
}

// giveUp records that a plan's tables have diverged, and commits that at once.
func (s *Session) giveUp(ctx context.Context, p *classify.Plan) (*refusal, error) {
	if len(p.Diverged) == 0 {
		return nil, nil
	}
	ticket, r, err := s.standaloneTicket(ctx, p)
	if ticket != nil {
		ticket.Committed()
	}
	return r, err
}

// changesAnyhow is changes for what may have had its effect though it fails.
func (s *Session) changesAnyhow(p *classify.Plan, e *entry) {
	s.changes(p, e)
	e.onFail = func() { e.onTag("") }
}
