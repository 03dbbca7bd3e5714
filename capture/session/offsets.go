package session

import (
	"context"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
)

// checkOffsets looks whether constants of DDL that has run were taken for times with time
// zone, which took the offset of this day.
func (s *Session) checkOffsets(ctx context.Context, x *execution, extended bool) error {
	r, err := s.readOffsets(ctx, querier{s: s, extended: extended}, x.plan)
	if r == nil || err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	table := "*"
	if len(x.plan.Tables) > 0 {
		table = x.plan.Tables[0]
	}
	l := onLog{s: s, tx: x.tx}
	return l.giveUp(table, r)
}

// readOffsets is what the catalogue says of them.
func (s *Session) readOffsets(ctx context.Context, q catalog.Querier, p *classify.Plan) (*classify.Refusal, error) {
	if !p.Offsets {
		return nil, nil
	}
	if found, err := s.deps.Catalog.OffsetConstants(ctx, q); err != nil || !found {
		return nil, err
	}
	return p.OffsetRefusal(), nil
}
