package session

import (
	"context"
	"errors"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// observeParse looks at a statement that is prepared, and sends it on.
func (s *Session) observeParse(ctx context.Context, m pgwire.Message) error {
	body, err := pgwire.DecodeParse(m.Body())
	if err != nil {
		return s.refuseExtended(malformed(err))
	}
	st := &statement{name: body.Name, declared: body.OIDs, columns: -1}
	var unread *unread
	if st.text, unread, err = s.readText(body.Text, true); err != nil {
		return s.planFailed(err, true)
	}
	if unread != nil {
		s.tell(look{text: body.Text, err: errors.New(unread.message)}, 0)
		return s.sendRaw(m, s.parseEntry(st))
	}
	l, there, err := s.lookAtStatement(ctx, st)
	if err != nil {
		return s.planFailed(err, true)
	}
	if there {
		s.tell(l, 0)
	}
	return s.sendRaw(m, s.parseEntry(st))
}

// lookAtStatement looks at a prepared statement as the session now stands. False:
// its text holds none, or several, which the server refuses.
func (s *Session) lookAtStatement(ctx context.Context, st *statement) (look, bool, error) {
	parts, err := s.deps.Classifier.Split(st.text)
	if err != nil {
		return look{text: st.text, err: err}, true, nil //nolint:nilerr // the look tells it
	}
	if len(parts) != 1 {
		return look{}, false, nil
	}
	l, err := s.lookAt(ctx, st.text, st.declared, true)
	if st.sqlLevel && l.plan != nil && l.plan.Inner != nil {
		l.plan = l.plan.Inner // what the PREPARE is of is run by the protocol
	}
	return l, true, err
}

// observeBind looks at the statement again, since the session or the catalogue may
// have changed, and sends the message on.
func (s *Session) observeBind(ctx context.Context, m pgwire.Message) error {
	body, err := pgwire.DecodeBind(m.Body())
	if err != nil {
		return s.refuseExtended(malformed(err))
	}
	st := s.statementNamed(body.Statement)
	if st == nil {
		return s.sendRaw(m, s.setPortal(&portal{name: body.Portal, seen: &look{err: errNotKnown}}))
	}
	p := &portal{name: body.Portal, stmt: st}
	l, there, err := s.lookAtStatement(ctx, st)
	if err != nil {
		return s.planFailed(err, true)
	}
	if there {
		p.plan, p.seen = l.plan, &l
	}
	return s.sendRaw(m, s.setPortal(p))
}

// observeExecute tells of a statement that is run, the first time that its portal is.
func (s *Session) observeExecute(ctx context.Context, m pgwire.Message) error {
	body, err := pgwire.DecodeExecute(m.Body())
	if err != nil {
		return s.refuseExtended(malformed(err))
	}
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	p := s.portals[body.Portal]
	s.mu.Unlock()
	if p == nil || p.seen == nil || p.seen.counted {
		return s.sendRaw(m, &entry{kind: answerExecute}) // a cursor of SQL's, no statement, or more of its rows
	}
	l := *p.seen
	p.seen.counted = true
	switch {
	case l.plan == nil:
	case s.failing() && !endsBlock(l.plan):
		l.plan = inFailedBlock
	case l.plan.CopyDraw != nil:
		l.plan = refusedAlways(l.text, l.plan.Construct, drawnExtended)
	}
	return s.observeRun(ctx, m, l)
}

// observeRun sends an Execute on, and waits for its end where what comes behind it
// depends on that.
func (s *Session) observeRun(ctx context.Context, m pgwire.Message, l look) error {
	done := false
	e := &entry{kind: answerExecute}
	if err := s.follow(l, e); err != nil {
		return err
	}
	e.onTag = both(e.onTag, func(string) { done = true })
	copies := l.plan != nil && l.plan.Construct == constructCopy
	if !copies {
		s.tell(l, 1)
	}
	if err := s.sendRaw(m, e); err != nil {
		return err
	}
	if copies {
		err := s.observeCopy(ctx, &l)
		s.tell(l, 1)
		return err
	}
	if l.plan != nil && l.plan.Kind == classify.Begin {
		s.begun = true
	}
	if !l.alters() && !endsBlock(l.plan) {
		return nil
	}
	failed := s.transactionStatus() == pgwire.StatusFailed
	if err := s.drain(); err != nil {
		return err
	}
	switch {
	case !done || l.plan == nil:
	case l.plan.Kind == classify.RollbackTo && failed:
		s.setStatus(pgwire.StatusBlock)
	case l.plan.Kind == classify.Commit, l.plan.Kind == classify.Rollback:
		s.endTx(ctx, false)
		s.blockEnded(true, l.plan.Chain)
	}
	return nil
}

// observeSync sends the end of a pipeline on.
func (s *Session) observeSync(ctx context.Context, m pgwire.Message) error {
	if !s.inBlock() {
		s.locked(func() { clear(s.portals) })
	}
	s.synced = true
	if !s.made() {
		return s.sendRaw(m, &entry{kind: answerSync})
	}
	if err := s.sendRaw(m, &entry{kind: answerSync, holdReady: true}); err != nil {
		return err
	}
	s.piped = false
	return s.release(ctx)
}

// observeTooLarge streams a message on that is longer than what is kept of one: an
// agent would refuse it.
func (s *Session) observeTooLarge(ctx context.Context, large *pgwire.TooLargeError) error {
	l := look{plan: refusedAlways("", "a message longer than capture.max_message", tooLarge(large))}
	e := &entry{}
	s.changes(unknownEffect, e)
	switch large.Type {
	case pgwire.Query:
		if err := s.settle(ctx); err != nil {
			return err
		}
		e.kind = answerQuery
		s.locked(func() { s.dropStatement(s.statements[""]) })
	case pgwire.Parse:
		e.kind = answerParse
		s.locked(func() { s.dropStatement(s.statements[""]) })
	case pgwire.Bind:
		e.kind = answerBind
		s.locked(func() { s.portals[""] = &portal{seen: &look{counted: true}} })
	case pgwire.FunctionCall:
		e.kind = answerFunction
	default:
		return s.die(tooLarge(large))
	}
	s.tell(l, 1)
	s.push(e)
	if err := s.forward(); err != nil {
		return err
	}
	s.piped = large.Type == pgwire.Parse || large.Type == pgwire.Bind
	if large.Type == pgwire.Query {
		s.synced = true
		return s.observeCopies(ctx, nil)
	}
	return nil
}
