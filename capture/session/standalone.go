package session

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// standalone runs a command that cannot run in a block (CREATE INDEX
// CONCURRENTLY). It has no hold point, so with gate recorded its intent comes
// before it runs and its outcome behind its answer: a crash between the two
// leaves an open intent, never a silent difference (I6).
func (s *Session) standalone(ctx context.Context, p part) error {
	if s.transactionStatus() != pgwire.StatusIdle {
		return s.sendQuery(p.sql, &entry{kind: answerQuery, shift: -p.before})
	}
	ticket, r, err := s.standaloneTicket(ctx, p.plan)
	if err != nil {
		return err
	}
	if r != nil {
		return s.refuseQuery(r)
	}
	done := false
	e := &entry{kind: answerQuery, shift: -p.before, onTag: func(tag string) { done = tag != "" }}
	s.changesAnyhow(p.plan, e) // a failed CREATE INDEX CONCURRENTLY leaves an invalid index
	if err := s.sendQuery(p.sql, e); err != nil {
		return s.lost(ticket, err)
	}
	return s.standaloneDone(ctx, ticket, &done)
}

func (s *Session) standaloneDone(ctx context.Context, ticket *order.Ticket, done *bool) error {
	if err := s.drain(); err != nil {
		return s.lost(ticket, err)
	}
	if *done {
		ticket.Committed()
	} else {
		ticket.Aborted()
	}
	s.endTx(ctx, true)
	return nil
}

// standaloneTicket records a standalone command, or what is given up for one.
func (s *Session) standaloneTicket(ctx context.Context, p *classify.Plan) (*order.Ticket, *refusal, error) {
	if err := s.ledger.Admit(); err != nil {
		return nil, refusedByGate(err), nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, nil, err
	}
	ops, err := p.Operations(classify.Execution{First: true, Affected: -1})
	if err != nil {
		return nil, brokenTx(err), nil
	}
	s.mu.Lock()
	c := s.context
	if c == nil {
		c = s.lastContext
	}
	s.mu.Unlock()
	now := time.Now().UnixMicro()
	ticket, err := s.ledger.Ticket(&event.Transaction{
		ID: event.TxID(id), Intent: !s.cfg.None, DependsOn: s.ledger.High(), Standalone: p.Kind == classify.Standalone, Barrier: true,
		Begin: now, Commit: now, FirstChunk: -1, Operations: ops, CatalogVersion: p.CatalogVersion,
		Context:  event.Context{User: s.who.user, Application: s.who.application, Settings: c.settings},
		Postgres: event.PostgresTx{BackendPID: s.who.pid, BackendStart: s.who.backendStart},
	})
	if err != nil {
		return nil, refusedByGate(err), nil
	}
	if err := ticket.Recorded(ctx); err != nil {
		ticket.Aborted()
		return nil, refusedByGate(err), nil
	}
	return ticket, nil, nil
}
