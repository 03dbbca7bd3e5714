package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// carryFilled carries what new columns hold in the rows that were there (ADR 28).
func (s *Session) carryFilled(ctx context.Context, x *execution, extended bool) error {
	f, q := x.plan.Fills, querier{s: s, extended: extended}
	if ok, err := s.ensureContext(extended); !ok || err != nil {
		return err
	}
	table, err := s.deps.Catalog.Table(ctx, q, nil, f.Schema, f.Name)
	if err != nil {
		return fmt.Errorf("looking at the altered table %s.%s: %w", f.Schema, f.Name, err)
	}
	r := &readBack{onLog: onLog{s: s, tx: x.tx}, plan: x.plan, extended: extended, table: table, action: event.ActionUpdate, columns: f.Columns,
		sleep: table.Fires(catalog.TriggerUpdate, nil) != ""}
	if refused, err := r.filled(f); refused || err != nil {
		return err
	}
	return r.read(ctx)
}

// filled finds the key of the rows; true: they are given up.
func (r *readBack) filled(f *classify.Fills) (bool, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if err := r.sameStyle(); err != nil {
		return false, err
	}
	for _, c := range r.columns {
		if r.table.Column(c) == nil {
			return false, fmt.Errorf("the altered table %s has no column %s", r.table.Qualified(), c)
		}
	}
	key, refusal := f.Key(r.table)
	if refusal == nil {
		r.key = key.Columns
		if err := r.plan.ExactIn(r.table, slices.Concat(r.key, r.columns)); err != nil && !errors.As(err, &refusal) {
			return false, err
		}
	}
	if refusal != nil {
		return true, r.giveUp(r.table.Qualified(), refusal)
	}
	return false, nil
}
