package session

import (
	"context"
	"errors"
	"strings"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// looksBehind tells statements whose effect is looked at on the session before
// anything else runs there.
func looksBehind(p *classify.Plan) bool {
	return p.Makes != nil || p.Computes != nil || p.Fills != nil || p.Offsets || p.Recomputes
}

// behindSimple looks, in the simple protocol, at what a statement did. The probe goes
// first, as behind every first write.
func (s *Session) behindSimple(ctx context.Context, x *execution, quiet bool) error {
	if err := s.probeSimple(ctx, x.tx, true); err != nil {
		return err
	}
	if err := s.behind(ctx, x, false); err != nil {
		return err
	}
	if quiet {
		return nil
	}
	return s.ready(s.transactionStatus())
}

// behindExtended is behindSimple for the extended protocol. What comes behind the
// statement in the pipeline is planned upon its effect.
func (s *Session) behindExtended(ctx context.Context, x *execution) error {
	if s.probing(x.tx) {
		if err := s.runOwn(ownProbe, s.probeEntry(ctx, x.tx)); err != nil {
			return err
		}
	}
	if err := s.drain(); err != nil {
		return err
	}
	return s.behind(ctx, x, true)
}

// behind looks at what a statement did; what cannot be carried of that makes the
// transaction one that cannot be recorded. The session is drained.
func (s *Session) behind(ctx context.Context, x *execution, extended bool) error {
	if s.failing() || !x.finished {
		return nil
	}
	var err error
	for _, look := range s.looks(x.plan) {
		if err = look(ctx, x, extended); err != nil {
			break
		}
	}
	if ended := s.lookFailed(err, extended); ended != nil {
		return ended
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x.tx.depends = s.ledger.High()
	if err != nil {
		x.tx.fail(err)
	}
	return nil
}

// looks are what is looked at behind a statement.
func (s *Session) looks(p *classify.Plan) []func(context.Context, *execution, bool) error {
	var list []func(context.Context, *execution, bool) error
	if p.Offsets {
		list = append(list, s.checkOffsets)
	}
	if p.Recomputes {
		list = append(list, s.checkRecomputed)
	}
	switch {
	case p.Computes != nil:
		list = append(list, s.checkComputed)
	case p.Fills != nil:
		list = append(list, s.carryFilled)
	case p.Makes != nil:
		list = append(list, s.carryMade)
	}
	return list
}

// lookFailed tells the client of an error (a cancel that came late) that the server
// gave to a question of the agent's behind a statement: the transaction has failed by
// it, and in the simple protocol the client has not heard why. The error is one that
// ends the session.
func (s *Session) lookFailed(err error, extended bool) error {
	var side *sideError
	var answered *serverError
	switch {
	case errors.As(err, &side):
		return err
	case errors.As(err, &answered) && !extended:
		s.locked(func() { s.untold = nil })
		return s.toClient(pgwire.ErrorResponse, pgwire.AppendFields(nil, answered.fields))
	}
	return nil
}

// checkComputed looks whether a materialized view that has been computed is what the
// backups will compute at its place (ADR 21). One that was there already (IF NOT
// EXISTS) has not been.
func (s *Session) checkComputed(ctx context.Context, x *execution, extended bool) error {
	if strings.HasPrefix(x.tag, "CREATE ") {
		return nil
	}
	c := x.plan.Computes
	sources, err := s.deps.Catalog.Sources(ctx, querier{s: s, extended: extended}, c.Schema, c.Name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	isolation := ""
	if x.tx.probe != nil {
		isolation = x.tx.probe.isolation
	}
	r := x.plan.Check(sources, isolation)
	if r == nil {
		return nil
	}
	l := onLog{s: s, tx: x.tx}
	return l.giveUp(x.plan.Tables[0], r)
}
