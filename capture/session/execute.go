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
		return s.refuseExtended(malformed(err))
	}
	p, err := s.knownPortal(ctx, body.Portal)
	if err != nil {
		return err
	}
	if p == nil { // an SQL-level cursor, if any
		if s.behindTraced() {
			return s.refuseExtended(cursorByProtocol)
		}
		return s.sendRaw(m, &entry{kind: answerExecute}) // it only reads
	}
	if p.plan == nil {
		return s.refuseExtended(unknownStatement)
	}
	if p.exec != nil && !p.plan.ByTriggers {
		return s.fetchMore(m, p)
	}
	one := part{plan: s.awake(p.plan), params: p.params}
	if p.stmt != nil {
		one.text = p.stmt.text
	}
	switch {
	case one.plan.Kind == classify.Begin && s.wrapped:
		return s.beginExtended(m, one)
	case one.plan.Kind == classify.Commit:
		return s.commitExtended(ctx, m, one.plan)
	case one.plan.Kind == classify.Rollback:
		return s.rollbackExtended(ctx, m, one.plan)
	case one.plan.Kind == classify.CommitPrepared, one.plan.Kind == classify.RollbackPrepared:
		return s.finishExtended(ctx, m, one.plan)
	case !captured(one.plan):
		return s.passExtended(ctx, m, one)
	case one.plan.Kind == classify.Standalone:
		return s.standaloneExtended(ctx, m, one.plan)
	}
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	if one.plan.Alone && !s.inBlock() {
		return s.aloneExtended(ctx, m, one.plan)
	}
	return s.writeExtended(ctx, m, body, p, one)
}

// passExtended runs what is not published.
func (s *Session) passExtended(ctx context.Context, m pgwire.Message, one part) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	if s.wrapped && controls(one.plan) && one.plan.Kind != classify.Begin {
		return s.refuseExtended(outsideBlock(one.plan))
	}
	if r, err := s.reachedBySQL(one, true); err != nil || r != nil {
		if r != nil {
			return s.refuseExtended(r)
		}
		return err
	}
	failed := s.transactionStatus() == pgwire.StatusFailed
	done := false
	e := s.plainEntry(answerExecute, false)
	if err := s.hook(one.plan, one.text, e); err != nil {
		return err
	}
	if err := s.holds(one.plan, one.text, e); err != nil {
		return err
	}
	if err := s.hideOwn(one.plan); err != nil {
		return err
	}
	if failed {
		e.onTag = both(e.onTag, func(string) { done = true })
	}
	if err := s.sendRaw(m, e); err != nil {
		return err
	}
	switch p := one.plan; {
	case p.Construct == constructCopy:
		return s.copyData(ctx, nil)
	case failed && p.Kind == classify.RollbackTo:
		if err := s.drain(); err != nil {
			return err
		}
		if done {
			s.setStatus(pgwire.StatusBlock)
		}
	case p.ContextChanges, p.DiscardsStatements, p.CatalogChanges, p.Kind == classify.Prepare, p.Kind == classify.Deallocate:
		// What comes behind it in the pipeline is planned upon its effect.
		return s.drain()
	}
	return nil
}

// constructCopy is what classify calls COPY in all its forms.
const constructCopy = "COPY"

// both runs one hook after the other.
func both(a, b func(string)) func(string) {
	return func(tag string) {
		if a != nil {
			a(tag)
		}
		b(tag)
	}
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
	if one.plan.CopyDraw != nil {
		return s.refuseExtended(drawnExtended)
	}
	if r, err := s.boundElsewhere(p); err != nil || r != nil {
		if r != nil {
			return s.refuseExtended(r)
		}
		return err
	}
	tx, r, err := s.begin(ctx, one, true)
	if err != nil {
		return err
	}
	if r != nil {
		return s.refuseExtended(r)
	}
	if err := s.leadIn(one.plan); err != nil {
		return err
	}
	x := s.newExecution(tx, one.plan, one.params)
	e := s.executeEntry(p, x)
	p.limited = body.Limit != 0
	if (one.plan.ClientColumns < 0 || len(one.plan.Parts) > 0) && p.limited {
		// A limit on rows that the client does not know of would suspend the portal.
		if one.plan.ClientColumns >= 0 && body.Limit > 0 { // the server takes others for none
			x.limit, p.cut = int64(body.Limit), true
		}
		body.Limit, p.limited = 0, false
		err = s.send(pgwire.Execute, body.Append(nil), e)
	} else {
		err = s.sendRaw(m, e)
	}
	if err != nil {
		return err
	}
	if one.plan.Construct == constructCopy {
		if err := s.copyData(ctx, e.exec); err != nil {
			return err
		}
	}
	if looksBehind(one.plan) {
		return s.behindExtended(ctx, x)
	}
	if one.plan.ByTriggers {
		return s.takeExtended(ctx, tx, one.plan)
	}
	if s.probing(tx) {
		if err := s.runOwn(ownProbe, s.probeEntry(ctx, tx)); err != nil {
			return err
		}
	}
	if p := one.plan; p.ContextChanges || p.CatalogChanges {
		return s.drain()
	}
	return nil
}

// leadIn sends what has to go before a captured statement.
func (s *Session) leadIn(p *classify.Plan) error {
	if err := s.openBlock(); err != nil {
		return err
	}
	if name := ownLock(p); name != "" {
		if err := s.runOwn(name, &entry{}); err != nil {
			return err
		}
	}
	if p.ByTriggers {
		return s.runOwn(ownSwitchOn, &entry{})
	}
	return s.lockTables(p)
}

// openBlock begins a transaction of the agent's, which the Sync to come will end, where
// no block is open.
func (s *Session) openBlock() error {
	if s.inBlock() {
		return nil
	}
	if err := s.runOwn(ownBegin, &entry{}); err != nil {
		return err
	}
	s.wrapped = true
	return nil
}

// drawnExtended refuses in the extended protocol what is made of several Queries.
var drawnExtended = &refusal{code: stateNotSupported,
	message: "COPY that leaves out columns with drawn defaults, in the extended protocol",
	hint:    "Send it as a simple Query, or give the columns in the stream."}

// executeEntry is the entry of the Execute that begins a captured execution.
func (s *Session) executeEntry(p *portal, x *execution) *entry {
	e := &entry{kind: answerExecute, exec: x, portal: p, plan: x.plan}
	if x.plan.Kind == classify.MustFail {
		e.exec, e.onTag = nil, func(string) { x.tx.fail(errMoved) }
	} else {
		p.exec = x
		e.onFail = func() {
			if e.skipped {
				p.exec = nil // it can be executed again, in a block that is rolled back to a savepoint
			}
		}
	}
	if x.plan.CatalogChanges || x.plan.ByTriggers {
		s.changes(x.plan, e)
	}
	s.explainEnds(x.plan, e)
	return e
}

// onSync ends a pipeline. What the agent began in it is committed here.
func (s *Session) onSync(ctx context.Context, m pgwire.Message) error {
	if s.syncSent {
		s.syncSent, s.synced = false, true
		return nil
	}
	if s.hidden != "" {
		return s.syncListening(m)
	}
	if !s.wrapped {
		if !s.inBlock() {
			s.mu.Lock()
			clear(s.portals)
			s.mu.Unlock()
		}
		s.synced = true
		return s.sendRaw(m, s.plainEntry(answerSync, false))
	}
	if s.unfetched() { // else the Sync goes in one packet with the statement
		if err := s.drainPortals(true); err != nil {
			return err
		}
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
