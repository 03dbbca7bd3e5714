package session

import (
	"context"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// onExecute runs a portal.
func (s *Session) onExecute(ctx context.Context, m pgwire.Message) error {
	body, err := pgwire.DecodeExecute(m.Body())
	if err != nil {
		return clientError(err)
	}
	s.mu.Lock()
	p := s.portals[body.Portal]
	s.mu.Unlock()
	if p == nil || p.stmt == nil {
		return s.sendRaw(m, &entry{kind: answerExecute})
	}
	if p.plan == nil {
		return s.refuseExtended(unknownStatement)
	}
	if p.exec != nil {
		p.suspended = false
		return s.sendRaw(m, &entry{kind: answerExecute, exec: p.exec, portal: p})
	}
	one, r := s.resolveExecute(part{plan: p.plan, text: p.stmt.text, sql: p.stmt.text, params: p.params})
	if r != nil {
		return s.refuseExtended(r)
	}
	e := &entry{kind: answerExecute}
	switch {
	case one.plan.Kind == classify.Commit:
		return s.commitExtended(ctx, m, one.plan)
	case one.plan.Kind == classify.Rollback:
		return s.rollbackExtended(ctx, m, e)
	case !captured(one.plan):
		if err := s.settleSynced(ctx); err != nil {
			return err
		}
		if err := s.hook(one.plan, one.text, e); err != nil {
			return err
		}
		return s.sendRaw(m, e)
	case one.plan.Kind == classify.Standalone:
		return s.standaloneExtended(ctx, m, one.plan)
	}
	return s.writeExtended(ctx, m, body, p, one)
}

// settleSynced waits, where the client has sent Sync since, for the state that
// it left, so that what follows is planned upon the truth.
func (s *Session) settleSynced(ctx context.Context) error {
	if !s.synced {
		return nil
	}
	s.synced = false
	if !s.idle() {
		if err := s.drain(); err != nil {
			return err
		}
	}
	return s.settle(ctx)
}

// inBlock tells whether a transaction block is open, as far as sent.
func (s *Session) inBlock() bool {
	return s.begun || s.wrapped || s.transactionStatus() != pgwire.StatusIdle
}

// writeExtended runs a captured statement: outside of a block behind a BEGIN of
// the agent's, which the Sync to come will end.
func (s *Session) writeExtended(ctx context.Context, m pgwire.Message, body pgwire.ExecuteBody, p *portal, one part) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	tx, r, err := s.begin(ctx, one.plan, true)
	if err != nil {
		return err
	}
	if r != nil {
		return s.refuseExtended(r)
	}
	if !s.inBlock() {
		if err := s.runOwn(ownBegin, &entry{}); err != nil {
			return err
		}
		s.wrapped = true
	}
	x := s.newExecution(tx, one.plan, one.params)
	e := &entry{kind: answerExecute, exec: x, portal: p}
	if one.plan.Kind == classify.MustFail {
		e.exec, e.onTag = nil, func(string) { tx.broken = errMoved }
	}
	if one.plan.CatalogChanges {
		s.changes(one.plan, e)
	}
	if one.plan.ClientColumns < 0 && body.Limit != 0 {
		// A limit on rows that the client does not know of would suspend the portal.
		body.Limit = 0
		err = s.send(pgwire.Execute, body.Append(nil), e)
	} else {
		err = s.sendRaw(m, e)
	}
	if err != nil {
		return err
	}
	if one.plan.ClientColumns >= 0 && one.plan.Hidden > 0 {
		p.exec = x
	}
	if one.plan.Kind == classify.Copy {
		if err := s.send(pgwire.Flush, nil, nil); err != nil {
			return err
		}
		if err := s.copyData(ctx, x); err != nil {
			return err
		}
	}
	if !s.probing(tx) {
		return nil
	}
	return s.runOwn(ownProbe, s.probeEntry(ctx, tx))
}

// onSync ends a pipeline. What the agent began in it is committed here.
func (s *Session) onSync(ctx context.Context, m pgwire.Message) error {
	if !s.wrapped {
		if !s.inBlock() {
			s.mu.Lock()
			clear(s.portals)
			s.mu.Unlock()
		}
		s.synced = true
		return s.sendRaw(m, &entry{kind: answerSync})
	}
	if err := s.drainPortals(ctx, nil, true); err != nil {
		return err
	}
	if err := s.sendRaw(m, &entry{kind: answerSync, holdReady: true}); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	s.mu.Lock()
	clear(s.portals)
	s.mu.Unlock()
	return s.finishWrapped(ctx, true)
}

// drainPortals reads to the end what writes have returned and the client has
// not fetched, since their images are in it.
func (s *Session) drainPortals(_ context.Context, _ *txn, extended bool) error {
	s.mu.Lock()
	names := make([]string, 0, len(s.portals))
	for name, p := range s.portals {
		if p.exec != nil {
			names = append(names, name)
		}
	}
	s.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		if err := s.drainPortal(name); err != nil {
			return err
		}
	}
	if extended {
		return s.drain()
	}
	if err := s.send(pgwire.Sync, nil, &entry{kind: answerSync, silent: true}); err != nil {
		return err
	}
	return s.drain()
}

// drainPortal reads one portal to its end if it is a write's and holds more.
func (s *Session) drainPortal(name string) error {
	s.mu.Lock()
	p := s.portals[name]
	s.mu.Unlock()
	if p == nil || p.exec == nil {
		return nil
	}
	if !s.idle() {
		if err := s.drain(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	suspended := p.suspended
	s.mu.Unlock()
	if !suspended {
		return nil
	}
	p.suspended = false
	return s.send(pgwire.Execute, pgwire.ExecuteBody{Portal: name}.Append(nil),
		&entry{kind: answerExecute, silent: true, exec: p.exec, portal: p})
}

// commitExtended deals with the client's COMMIT in the extended protocol: it is
// held until the answers before it are in.
func (s *Session) commitExtended(ctx context.Context, m pgwire.Message, plan *classify.Plan) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	if s.failing() {
		return s.sendRaw(m, &entry{kind: answerExecute})
	}
	ticket, refused, err := s.holdCommit(ctx, true)
	if err != nil {
		return err
	}
	defer ticket.Unknown() // should a panic come between: the first end counts
	if refused {
		return s.failCommit()
	}
	var tag string
	e := &entry{kind: answerExecute, onTag: func(t string) { tag = t }, onError: isFatal}
	if err := s.sendRaw(m, e); err != nil {
		return s.lost(ticket, err)
	}
	if err := s.send(pgwire.Flush, nil, nil); err != nil {
		return s.lost(ticket, err)
	}
	if err := s.committed(ctx, ticket, &tag, false); err != nil {
		return err
	}
	s.begun = plan.Chain && tag == "COMMIT"
	return nil
}

// failing tells whether the pipeline has failed, or the block had before it.
func (s *Session) failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.skipping || s.status == pgwire.StatusFailed
}

// failCommit leaves a transaction that must not commit to the Sync to come,
// which rolls it back as one of the agent's; until then the server skips.
func (s *Session) failCommit() error {
	s.wrapped, s.begun = true, false
	s.mu.Lock()
	skipping := s.skipping
	s.mu.Unlock()
	if skipping {
		return nil
	}
	parse := pgwire.ParseBody{Name: "opmux_refused", Text: failingSQL}
	return s.send(pgwire.Parse, parse.Append(nil), &entry{kind: answerParse, silent: true,
		onError: func([]pgwire.Field) bool { return true }})
}

// rollbackExtended deals with the client's ROLLBACK in the extended protocol.
func (s *Session) rollbackExtended(ctx context.Context, m pgwire.Message, e *entry) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	done := false
	e.onTag = func(string) { done = true }
	if err := s.sendRaw(m, e); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	if done {
		s.endTx(ctx, false)
	}
	return nil
}

// standaloneExtended is standalone for the extended protocol.
func (s *Session) standaloneExtended(ctx context.Context, m pgwire.Message, plan *classify.Plan) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	if s.inBlock() {
		return s.sendRaw(m, &entry{kind: answerExecute})
	}
	ticket, r, err := s.standaloneTicket(ctx, plan)
	if err != nil {
		return err
	}
	if r != nil {
		return s.refuseExtended(r)
	}
	done := false
	e := &entry{kind: answerExecute, onTag: func(string) { done = true }}
	if err := s.sendRaw(m, e); err != nil {
		return s.lost(ticket, err)
	}
	if err := s.send(pgwire.Flush, nil, nil); err != nil {
		return s.lost(ticket, err)
	}
	return s.standaloneDone(ctx, ticket, &done)
}
