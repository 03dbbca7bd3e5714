package session

import (
	"context"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// Transaction control in the extended protocol. In a pipeline no ReadyForQuery
// tells the block's state, so it follows from the command tags.

// setStatus notes the state of the block where no ReadyForQuery has told it yet.
func (s *Session) setStatus(status byte) {
	s.mu.Lock()
	s.status = status
	s.mu.Unlock()
}

// outsideBlock is the server's own error to a command that needs a block of the
// client's, where there is one of the agent's alone (I5).
func outsideBlock(p *classify.Plan) *refusal {
	name := map[classify.Kind]string{classify.Commit: "COMMIT AND CHAIN", classify.Rollback: "ROLLBACK AND CHAIN",
		classify.Savepoint: "SAVEPOINT", classify.RollbackTo: "ROLLBACK TO SAVEPOINT", classify.Release: "RELEASE SAVEPOINT"}[p.Kind]
	return &refusal{code: stateNoTransaction, plain: true, message: name + " can only be used in transaction blocks"}
}

// noTransaction is the server's warning to a COMMIT or ROLLBACK outside of a block.
var noTransaction = &refusal{severity: "WARNING", code: stateNoTransaction, plain: true, message: "there is no transaction in progress"}

// beginExtended turns the transaction that the agent began into the client's block.
func (s *Session) beginExtended(m pgwire.Message, one part) error {
	if err := s.drain(); err != nil {
		return err
	}
	begun := false
	e := &entry{kind: answerExecute, muteWarning: true}
	if one.plan.ContextChanges {
		s.changes(one.plan, e)
	}
	e.onTag = both(e.onTag, func(string) { begun = true })
	if err := s.sendRaw(m, e); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	if begun {
		s.begun, s.wrapped = true, false
	}
	return nil
}

// commitExtended deals with the client's COMMIT in the extended protocol: it is
// held until the answers of what ran before it are in. Its own Bind need not be: if
// that fails, the server skips the COMMIT.
func (s *Session) commitExtended(ctx context.Context, m pgwire.Message, plan *classify.Plan) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	if s.running() || s.mayFail() {
		if err := s.drain(); err != nil {
			return err
		}
	}
	if s.skips() {
		return s.sendRaw(m, &entry{kind: answerExecute})
	}
	if s.wrapped && plan.Chain {
		return s.refuseExtended(outsideBlock(plan))
	}
	if s.transactionStatus() == pgwire.StatusFailed {
		return s.rollbackExtended(ctx, m, plan)
	}
	if r := s.preparesAlone(plan); r != nil {
		return s.refuseExtended(r)
	}
	h, refused, err := s.holdCommit(ctx, plan, true)
	if err != nil {
		return err
	}
	defer h.ticket.Unknown() // should a panic come between: the first end counts
	c := &commitment{ticket: h.ticket, version: h.version, extended: true, answer: &entry{kind: answerExecute}}
	if s.wrapped {
		c.answer.warning = noTransaction
	}
	c.forward = func(g *sentry) error {
		if err := s.sendRaw(m, c.answer); err != nil {
			return err
		}
		return s.syncAlong(c, g)
	}
	if !refused {
		if refused, err = s.commit(ctx, c); err == nil {
			s.preparedEnds(ctx, h.kept, &c.end)
		}
	}
	if err != nil {
		return err
	}
	if refused {
		return s.failCommit()
	}
	if c.end.fails() {
		// What the server then left open, if anything, is rolled back at the Sync.
		s.syncSent, s.wrapped, s.begun = false, true, false
		return nil
	}
	s.blockEnded(c.end.tag != "", plan.Chain)
	return nil
}

// syncAlong sends the client's Sync in one packet with its COMMIT, where it has
// arrived: the answers to both then come in one as well. A Sync that ends what the
// agent began is not the client's alone, and one behind a COMMIT that its guard has
// kept back, or that has failed, is still to come.
func (s *Session) syncAlong(c *commitment, g *sentry) error {
	if s.wrapped || s.cr.Arrived() != pgwire.Sync {
		return nil
	}
	s.syncSent = true
	return s.send(pgwire.Sync, nil, &entry{kind: answerSync, unless: func(byte) bool { return g.asked || c.end.fails() }})
}

// blockEnded notes that a block has ended, and whether another has begun with it.
func (s *Session) blockEnded(done, chain bool) {
	if !done {
		return
	}
	s.begun = chain
	if chain {
		s.setStatus(pgwire.StatusBlock)
		return
	}
	s.setStatus(pgwire.StatusIdle)
}

// rollbackExtended deals with the client's ROLLBACK in the extended protocol, and
// with its COMMIT of a block that has failed.
func (s *Session) rollbackExtended(ctx context.Context, m pgwire.Message, plan *classify.Plan) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	if s.wrapped && plan.Chain {
		return s.refuseExtended(outsideBlock(plan))
	}
	done := false
	e := &entry{kind: answerExecute, onTag: func(string) { done = true }}
	if s.wrapped {
		e.warning = noTransaction
	}
	if err := s.sendRaw(m, e); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	if done {
		s.endTx(ctx, false)
	}
	s.blockEnded(done, plan.Chain)
	return nil
}

// skips tells whether the server looks at nothing up to the Sync to come.
func (s *Session) skips() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.skipping
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
