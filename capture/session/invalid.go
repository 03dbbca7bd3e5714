package session

import (
	"context"
	"fmt"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
)

// A CREATE INDEX CONCURRENTLY that failed leaves an invalid index on the primary,
// and none on the backups. As long as it is invalid they are the same; what would
// make it valid here alone is refused.
const invalidHint = "DROP INDEX it first, and create it again afterwards."

func invalidReason(x catalog.InvalidIndex) string {
	return fmt.Sprintf("the index %s is invalid, from a CREATE INDEX CONCURRENTLY that failed or is under way, and on no backup", x)
}

// qualified are the names of indexes: what is diverged by a statement that makes them valid.
func qualified(list []catalog.InvalidIndex) []string {
	names := make([]string, len(list))
	for i, x := range list {
		names[i] = x.Schema + "." + x.Name
	}
	return names
}

// tablesOf are the tables of indexes: DDL of these may not fit where the indexes are missing.
func tablesOf(list []catalog.InvalidIndex) []string {
	names := make([]string, len(list))
	for i, x := range list {
		names[i] = x.Schema + "." + x.Table
	}
	return names
}

// rebuilds refuses what would build, or take for there, an index that is invalid.
func (s *Session) rebuilds(ctx context.Context, p *classify.Plan) (*classify.Plan, error) {
	if p.Rebuilds == nil {
		return p, nil
	}
	invalid, err := s.deps.Catalog.InvalidIndexes(ctx, p.Rebuilds.Index, p.Rebuilds.Table)
	if err != nil || len(invalid) == 0 {
		return p, err
	}
	refused := refusedPlan(p.SQL, &classify.Refusal{Construct: p.Construct, Reason: invalidReason(invalid[0]), Hint: invalidHint})
	refused.Diverged, refused.Alone = qualified(invalid), p.Kind == classify.Maintenance || p.Kind == classify.Standalone
	if p.Rebuilds.Copies { // the table that it makes is on no backup
		refused.Diverged = append(refused.Diverged, p.Tables...)
	}
	refused.CatalogChanges, refused.Defines = p.CatalogChanges, p.CatalogChanges
	return refused, nil
}

// halfway refuses a transaction, about to commit, in which a barrier (TRUNCATE, DDL)
// met what a command of several transactions has done on the primary alone so far. It
// is asked while the transaction still holds the locks behind which no such command
// gets on: an index that was invalid and is not any more, or is otherwise changed, or a
// partition that is half detached, whose rows a TRUNCATE of its parent spares here and not
// on the backups, as does what travels as text behind a lock of the parent. What is dropped
// with its parent is gone everywhere, unless such a text took its rows elsewhere before.
func (s *Session) halfway(ctx context.Context, tx *txn, extended bool) (*refusal, error) {
	q := querier{s: s, extended: extended}
	if tx.barrier {
		if r, err := s.builtHere(ctx, tx, q); r != nil || err != nil {
			return r, err
		}
	}
	half, err := s.deps.Catalog.HalfDetached(ctx, q, tx.locks)
	if err != nil || half == nil {
		return nil, err
	}
	return &refusal{code: stateNotSupported,
		message: fmt.Sprintf("the transaction truncates, alters or locks %s, of which %s is half detached, by a DETACH … CONCURRENTLY that was cancelled or is under way, and not on the backups", half.Parent, half.Partition),
		hint:    "Wait for its end. If it was cancelled: DETACH PARTITION … FINALIZE on the primary directly, and DETACH PARTITION … CONCURRENTLY on each backup."}, nil
}

// builtHere refuses what builds, changes or copies an invalid index. One that was copied
// in this state is still in it: DDL waits for the transaction. Policy flag gives the
// indexes up.
func (s *Session) builtHere(ctx context.Context, tx *txn, q querier) (*refusal, error) {
	invalid, err := s.deps.Catalog.Touched(ctx, q)
	for i := 0; err == nil && len(invalid) == 0 && i < len(tx.copies); i++ {
		invalid, err = s.deps.Catalog.InvalidIndexes(ctx, "", tx.copies[i].Table)
	}
	if err != nil || len(invalid) == 0 {
		return nil, err
	}
	if s.cfg.Flag {
		s.mu.Lock()
		defer s.mu.Unlock()
		l := onLog{s: s, tx: tx}
		return nil, l.giveUpAll(tablesOf(invalid), qualified(invalid), &classify.Refusal{Construct: "DDL beside an invalid index", Reason: invalidReason(invalid[0])})
	}
	return &refusal{code: stateNotSupported, message: "the transaction builds or changes what the backups do not have: " + invalidReason(invalid[0]), hint: invalidHint}, nil
}
