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
	refused.Diverged, refused.Alone = nil, p.Kind == classify.Maintenance || p.Kind == classify.Standalone
	refused.CatalogChanges, refused.Defines = p.CatalogChanges, p.CatalogChanges
	return refused, nil
}

// revived refuses a transaction that made an invalid index valid, by TRUNCATE or
// by DDL that writes a table anew. It is asked while the transaction still holds
// the locks behind which no CREATE INDEX CONCURRENTLY of its tables is under way.
func (s *Session) revived(ctx context.Context, extended bool) (*refusal, error) {
	invalid, err := s.deps.Catalog.Revived(ctx, querier{s: s, extended: extended})
	if err != nil || len(invalid) == 0 {
		return nil, err
	}
	return &refusal{code: stateNotSupported, message: "the transaction writes a table anew, but " + invalidReason(invalid[0]), hint: invalidHint}, nil
}
