package session

import (
	"context"
	"errors"

	"github.com/opmux/opmux/capture/classify"
)

// Statements that travel as text behind a lock of their table (ADR 24).

const isolationSQL = "SHOW transaction_isolation"

// errOldSnapshot says that the rows that a statement hit need not be those that its
// place in the order says.
var errOldSnapshot = errors.New("the transaction's isolation level was changed between classification and execution")

// seesWhatCommits tells whether every statement of a transaction has a snapshot of its own.
func seesWhatCommits(isolation string) bool {
	return isolation == readCommitted || isolation == "read uncommitted"
}

// unlockable tells whether the statements of the open transaction, or of the one that
// would be opened now, may see less than what has committed when a lock is granted. To
// ask takes no snapshot, and leaves SET TRANSACTION possible.
func (s *Session) unlockable(ctx context.Context, extended bool) (bool, error) {
	if s.deps.Observer != nil {
		return false, nil // it would only be looked at, and asks nothing
	}
	if err := s.drain(); err != nil || s.failing() {
		return false, err
	}
	isolation := ""
	s.locked(func() {
		if s.tx != nil && s.tx.probe != nil {
			isolation = s.tx.probe.isolation
		}
	})
	if isolation == "" {
		rows, err := querier{s: s, extended: extended}.Query(ctx, isolationSQL)
		if err != nil {
			return false, err
		}
		if len(rows) == 1 && len(rows[0]) == 1 {
			isolation = string(rows[0][0].Text)
		}
	}
	return !seesWhatCommits(isolation), nil
}

// lockAhead takes, in the extended protocol, the lock of a statement, behind a BEGIN of
// the agent's where no block is open. To Parse and to Bind it gives the transaction a
// weaker lock on the table already; two sessions that have that and want the stronger
// one would wait for each other, so it comes first.
func (s *Session) lockAhead(ctx context.Context, p *classify.Plan) error {
	if p.Lock == "" {
		return nil
	}
	if err := s.settleSynced(ctx); err != nil || s.failing() {
		return err
	}
	if err := s.openBlock(); err != nil {
		return err
	}
	return s.askExtended(p.Lock, nil, lockEntry(p))
}

// parseLocked sends the Parse of such a statement. At the head of a pipeline and
// outside of a block, where it may be to keep the statement only, the weaker lock is
// given back; elsewhere the table is locked before it.
func (s *Session) parseLocked(ctx context.Context, p *classify.Plan, parse func() error) error {
	if err := s.settleSynced(ctx); err != nil {
		return err
	}
	if s.piped || s.inBlock() {
		if err := s.lockAhead(ctx, p); err != nil {
			return err
		}
		return parse()
	}
	if err := parse(); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	return s.endImplicit(true)
}
