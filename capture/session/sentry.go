package session

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/internal/crashpoint"
	"github.com/opmux/opmux/wire/pgwire"
)

// sentry is the statement that goes before a COMMIT in one packet with it, and fails
// where the catalogue has moved since the transaction's statements were classified:
// the server then skips the COMMIT. A savepoint before it keeps the transaction, so
// that the agent can look what has moved (ADR 19).
type sentry struct {
	failed bool
	// asked says that it failed by itself: nothing before it did.
	asked bool
	// taken says that the client has not heard of the failure.
	taken bool
}

// statePrefixIntervention begins the codes of what happens to a statement from
// outside: a cancel, a timeout, the server's end. They are meant for the client's COMMIT.
const statePrefixIntervention = "57"

// take keeps the guard's errors from the client, but for those that are its own.
func (g *sentry) take(fields []pgwire.Field) bool {
	g.asked = true
	g.taken = isFatal(fields) || !strings.HasPrefix(pgwire.FieldValue(fields, pgwire.FieldCode), statePrefixIntervention)
	return g.taken
}

func (g *sentry) fail() { g.failed = true }

// guardable returns the catalogue's version that all statements of a transaction
// were classified at, if the session can be asked whether it still stands; else 0.
func (s *Session) guardable(tx *txn) int64 {
	if s.unguarded || tx.manyPlans || tx.ownDDL || s.looksOld(tx) || s.deps.Catalog.UnmovedSQL() == "" {
		return 0
	}
	version := s.deps.Catalog.Known()
	for p := range tx.plans {
		if p.CatalogVersion != version {
			return 0
		}
	}
	return version
}

// sendGuard puts the guard of a version on its way.
func (s *Session) sendGuard(version int64) (*sentry, error) {
	g := &sentry{}
	if err := s.runOwn(ownSavepoint, &entry{onError: g.take, onFail: g.fail}); err != nil {
		return g, err
	}
	at := pgwire.Param{Value: strconv.AppendInt(nil, version, 10)}
	return g, s.runOwn(ownUnmoved, &entry{onError: g.take, onFail: g.fail}, at)
}

// commitment is a COMMIT that may be forwarded.
type commitment struct {
	ticket *order.Ticket
	// version is what the guard holds the catalogue to; 0: it was looked at before.
	version  int64
	extended bool
	chain    bool
	// answer is the entry of the COMMIT that forward puts on its way, and end what
	// became of it.
	answer  *entry
	forward func(g *sentry) error
	end     ending
}

// commit forwards a COMMIT, waits for its answer and tells the ledger how it ended.
// True: it must not commit, and the client has been told why.
func (s *Session) commit(ctx context.Context, c *commitment) (bool, error) {
	crashpoint.At(crashpoint.CommitBefore)
	g := &sentry{}
	var err error
	if c.version != 0 {
		g, err = s.sendGuard(c.version)
	}
	c.end, c.answer.skipped = ending{}, false
	c.end.watch(c.answer)
	if c.ticket == nil {
		c.answer.onError = nil // nothing is in doubt: the server's last words are the client's
	}
	if err == nil {
		err = c.forward(g)
	}
	if err == nil {
		err = s.drainAt(crashpoint.CommitSent)
	}
	if err != nil {
		return false, s.lost(c.ticket, err)
	}
	if !g.failed || (!g.asked && c.extended && !s.wrapped) {
		return false, s.committed(ctx, c.ticket, &c.end, c.chain)
	}
	refused, err := s.lookAnew(ctx, c, g)
	if err == nil && s.transactionStatus() == pgwire.StatusIdle {
		err = violation("a transaction has ended, and its COMMIT was not answered")
	}
	if err != nil {
		return false, s.lost(c.ticket, err)
	}
	if refused {
		c.ticket.Aborted()
		return true, nil
	}
	c.version = 0
	return s.commit(ctx, c)
}

// lookAnew deals with a COMMIT that its guard has kept back. True: it must not
// commit, and the client has been told why.
func (s *Session) lookAnew(ctx context.Context, c *commitment, g *sentry) (bool, error) {
	s.syncSent = false
	if !g.taken {
		return true, s.endSkipping()
	}
	if back, err := s.backToGuard(); !back || err != nil {
		return true, err
	}
	s.mu.Lock()
	tx := s.tx
	s.mu.Unlock()
	version, err := s.deps.Catalog.Version(ctx)
	if err == nil {
		version, err = s.behindOthers(ctx, tx, version)
	}
	if err != nil {
		return true, s.refuse(refusedByGate(fmt.Errorf("the catalogue's version could not be read: %w", err)))
	}
	// Where it has not moved, the session's role may not look.
	s.unguarded = s.unguarded || version == c.version
	if what := s.catalogMoved(ctx, tx, version, c.extended); what != "" {
		return true, s.refuse(moved(what))
	}
	return false, nil
}

// backToGuard takes the transaction back to where it stood before the guard. False:
// it has failed, and the client has been told why.
func (s *Session) backToGuard() (bool, error) {
	if err := s.endSkipping(); err != nil {
		return false, err
	}
	if err := s.runOwn(ownUnguard, &entry{}); err != nil {
		return false, err
	}
	if err := s.send(pgwire.Sync, nil, &entry{kind: answerSync, silent: true}); err != nil {
		return false, err
	}
	if err := s.drain(); err != nil {
		return false, err
	}
	return s.transactionStatus() == pgwire.StatusBlock, nil
}

// endSkipping has the server look at what comes next, behind an error of the agent's own.
func (s *Session) endSkipping() error {
	if !s.skips() {
		return nil
	}
	if err := s.send(pgwire.Sync, nil, &entry{kind: answerSync, silent: true}); err != nil {
		return err
	}
	return s.drain()
}
