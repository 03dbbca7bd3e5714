package session

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// standing is a command that cannot run in a block (CREATE INDEX CONCURRENTLY), while
// it runs. It has no hold point: its place is where its end is recorded, and until then
// it holds its turn, behind which others wait (DESIGN §4.1 rule 6).
type standing struct {
	ticket *order.Ticket
	turn   *catalog.Turn
	done   bool
	// skipped says that the server found nothing to do (IF EXISTS, IF NOT EXISTS).
	skipped bool
	// drops names the index that is dropped, invalid those of that name that were invalid
	// before.
	drops   string
	invalid []catalog.InvalidIndex
	// hidden is the session's client_min_messages, where under it the client is not
	// told of that.
	hidden string
}

// standalone runs a standalone command in the simple protocol. With gate recorded its
// intent comes before it runs and its outcome behind its answer: a crash between the
// two leaves an open intent, never a silent difference (I6).
func (s *Session) standalone(ctx context.Context, p part) error {
	if s.transactionStatus() != pgwire.StatusIdle {
		return s.sendQuery(p.sql, &entry{kind: answerQuery, shift: -p.before})
	}
	st, r, err := s.stand(ctx, p.plan)
	if err != nil {
		return err
	}
	if r != nil {
		return s.refuseQuery(r)
	}
	defer s.leave(st)
	if err := s.listens(st, p.plan, false); err != nil {
		st.ticket.Aborted()
		return s.planFailed(err, false)
	}
	e := s.standingEntry(st, p.plan, answerQuery)
	e.shift = -p.before
	if err := s.sendQuery(p.sql, e); err != nil {
		return s.lost(st.ticket, err)
	}
	if err := s.stood(ctx, st, false); err != nil {
		return err
	}
	return s.ready(s.transactionStatus())
}

// standaloneExtended is standalone for the extended protocol.
func (s *Session) standaloneExtended(ctx context.Context, m pgwire.Message, plan *classify.Plan) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	if s.inBlock() || s.executed {
		return s.passStanding(m, plan)
	}
	if failed, err := s.head(); failed || err != nil {
		return err
	}
	st, r, err := s.stand(ctx, plan)
	if err != nil {
		return err
	}
	if r != nil {
		return s.refuseExtended(r)
	}
	defer s.leave(st)
	if err := s.listens(st, plan, true); err != nil {
		st.ticket.Aborted()
		return s.planFailed(err, true)
	}
	err = s.askExtended(plan.SQL, nil, s.standingEntry(st, plan, answerExecute))
	if err == nil && st.done {
		// The server says that it is done, and commits the last of it at Sync.
		err = s.send(pgwire.Sync, nil, &entry{kind: answerSync, silent: true, onFail: func() { st.done = false }})
	}
	if err != nil {
		return s.lost(st.ticket, err)
	}
	return s.stood(ctx, st, true)
}

// passStanding sends a standalone command to where the server refuses it. Behind the
// end of a block, or another one, it would not.
func (s *Session) passStanding(m pgwire.Message, plan *classify.Plan) error {
	if s.inBlock() {
		return s.sendRaw(m, &entry{kind: answerExecute})
	}
	return s.refuseExtended(&refusal{code: stateNotSupported,
		message: "a command that runs outside of transactions is captured at the head of a pipeline only: " + plan.Construct, hint: "Send Sync before it."})
}

// head ends the implicit transaction of what the client sent so far, which has executed
// nothing, but may hold locks (Parse takes them): the command ahead whose turn is waited
// for may wait for those. The server takes its portals away; what is to run is told anew.
// True: the pipeline has failed, and the server would skip the command.
func (s *Session) head() (bool, error) {
	if err := s.drain(); err != nil {
		return false, err
	}
	if s.skips() {
		return true, nil
	}
	s.locked(func() { clear(s.portals) })
	return false, s.drainSynced()
}

// stand takes the turn of a standalone command, and its ticket.
func (s *Session) stand(ctx context.Context, p *classify.Plan) (*standing, *refusal, error) {
	if err := s.ledger.Admit(); err != nil {
		return nil, refusedByGate(err), nil
	}
	turn, err := s.deps.Catalog.Turn(ctx, s.who.pid, p.Name)
	if err != nil {
		return nil, refusedByGate(err), nil
	}
	st := &standing{turn: turn}
	if p.Construct == constructDropIndex {
		st.drops = p.Name
		if st.invalid, err = s.deps.Catalog.InvalidIndexes(ctx, p.Name, ""); err != nil {
			s.leave(st)
			return nil, refusedByGate(err), nil
		}
	}
	var r *refusal
	if st.ticket, r, err = s.standaloneTicket(ctx, p); err != nil || r != nil {
		s.leave(st)
		return nil, r, err
	}
	return st, nil, nil
}

// leave gives the turn up, once the command's end is written or never will be.
func (s *Session) leave(st *standing) {
	if st.ticket == nil {
		_ = st.turn.End() // nothing has run
		return
	}
	st.ticket.Unknown() // should a panic have come between: the first end counts
	ledger := s.ledger
	go func() {
		select {
		case <-st.ticket.Written():
		case <-ledger.Done():
			_ = st.turn.End() // the command has no place, or an operator will give it one
			return
		}
		if err := st.turn.End(); err != nil {
			s.deps.Log.Error("the place of a command outside of transactions (CREATE INDEX CONCURRENTLY) is not sure beside others that make or drop what it did: "+
				"compare the definitions of primary and backups", zap.Error(err))
		}
	}()
}

// standingEntry is the entry of the command. The end of its answer is kept back, since
// what the client, or whom it tells, does next comes behind the command.
func (s *Session) standingEntry(st *standing, p *classify.Plan, kind answerKind) *entry {
	e := &entry{kind: kind, hold: true, onTag: func(tag string) { st.done = tag != "" }}
	e.onNotice = func(fields []pgwire.Field) bool {
		st.skipped = st.skipped || saysSkipped(fields)
		return hides(st.hidden, pgwire.FieldValue(fields, pgwire.FieldSeverityPlain))
	}
	s.changesAnyhow(p, e) // a failed CREATE INDEX CONCURRENTLY leaves an invalid index
	return e
}

// stood waits for the command's end, and until that has its place.
func (s *Session) stood(ctx context.Context, st *standing, extended bool) error {
	if err := s.drain(); err != nil {
		return s.lost(st.ticket, err)
	}
	s.conclude(ctx, st)
	s.awaitPlace(ctx, st)
	if !st.done {
		s.dropHeld() // the Sync behind it has failed
	}
	if err := s.listensNoMore(st, extended); err != nil {
		return err
	}
	s.endTx(ctx, true)
	if err := s.releaseHeld(); err != nil || !extended {
		return err
	}
	return s.flushClient() // who sends Flush in place of Sync waits for it
}

// conclude tells how the command ended. A DROP INDEX that is cut off behind its first
// transaction leaves an invalid index, as a CREATE INDEX does: there is none on backups.
func (s *Session) conclude(ctx context.Context, st *standing) {
	took := st.done && !st.skipped
	if !st.done && st.drops != "" {
		var err error
		if took, err = s.deps.Catalog.Invalidated(ctx, st.invalid, st.drops); err != nil {
			s.log.Error("whether a DROP INDEX CONCURRENTLY that failed has made its index invalid is not known; opmux indoubt lists it", zap.Error(err))
			st.ticket.Unknown()
			return
		}
	}
	if took {
		st.ticket.Committed()
	} else {
		st.ticket.Aborted()
	}
}

// constructDropIndex is what classify calls DROP INDEX.
const constructDropIndex = "DROP INDEX"

// awaitPlace waits until the place of a command that has ended is in the topic, or for as
// long as others would.
func (s *Session) awaitPlace(ctx context.Context, st *standing) {
	timer := time.NewTimer(s.cfg.patience())
	defer timer.Stop()
	select {
	case <-st.ticket.Written():
	case <-s.ledger.Done():
	case <-ctx.Done():
	case <-timer.C:
		st.turn.Over() // the client goes on, and others must not take that for the command
	}
}

// awaitPlaces has a transaction that may have waited for the end of a standalone command,
// by any agent, wait for its place, too: all its own responses have arrived, and it holds
// its locks. One that runs on waits for them, or has nothing to do with them.
func (s *Session) awaitPlaces(ctx context.Context) *refusal {
	err := s.await(ctx, errUnplaced, func() (bool, error) {
		unplaced, err := s.deps.Catalog.Unplaced(ctx)
		return !unplaced, err
	})
	switch {
	case errors.Is(err, errUnplaced):
		return &refusal{code: stateSerialization, message: err.Error(), hint: "Try again. opmux status tells whether an agent of the source cannot reach Kafka."}
	case err != nil:
		return refusedByGate(err)
	}
	return nil
}

// errUnplaced says that a standalone command has no place yet.
var errUnplaced = errors.New("a command outside of transactions (CREATE INDEX CONCURRENTLY) has ended, and its end is not recorded yet")

// await asks until the answer is yes; tooLong is returned where it does not come to that.
func (s *Session) await(ctx context.Context, tooLong error, ask func() (bool, error)) error {
	began := time.Now()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		if time.Since(began) > s.cfg.patience() {
			return tooLong
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
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
