package session

import (
	"context"
	"fmt"

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
	return s.giveUpBehind(x, r)
}

// checkRecomputed looks whether generated columns of rows that are there were computed as
// a backup would not compute them.
func (s *Session) checkRecomputed(ctx context.Context, x *execution, extended bool) error {
	altered := x.plan.TableRefs[0]
	table, err := s.deps.Catalog.Table(ctx, querier{s: s, extended: extended}, nil, altered.Schema, altered.Name)
	if err != nil {
		return fmt.Errorf("looking at the altered table %s: %w", altered.Qualified(), err)
	}
	r := classify.ReadsElsewhere(table, s.wasLenient)
	if r == nil {
		return nil
	}
	r.Construct = x.plan.Construct + " of " + table.Qualified()
	return s.giveUpBehind(x, r)
}

// giveUpBehind gives up what a statement has done.
func (s *Session) giveUpBehind(x *execution, r *classify.Refusal) error {
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
