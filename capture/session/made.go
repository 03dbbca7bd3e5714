package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// made carries a table that a statement has made of what a query returns: as the
// columns that it has, and all of its rows, read back on the client's session. Nobody
// else can have changed it, since its transaction is open (ADR 21).
type made struct{ readBack }

// carryMade carries what a statement made, if anything: with IF NOT EXISTS and a table
// that exists, the command has no count.
func (s *Session) carryMade(ctx context.Context, x *execution, extended bool) error {
	if !strings.HasPrefix(x.tag, "SELECT ") {
		return nil
	}
	m := &made{readBack{onLog: onLog{s: s, tx: x.tx}, plan: x.plan, extended: extended, action: event.ActionInsert}}
	if err := m.define(ctx); err != nil || m.table == nil {
		return err
	}
	for i := range m.table.Columns {
		m.columns = append(m.columns, m.table.Columns[i].Name)
	}
	return m.read(ctx)
}

// define puts the table's definition on the log; a table that is more than that is
// given up.
func (m *made) define(ctx context.Context) error {
	s, q := m.s, querier{s: m.s, extended: m.extended}
	if ok, err := s.ensureContext(m.extended); !ok || err != nil {
		return err
	}
	found, err := s.deps.Catalog.Made(ctx, q, m.plan.Makes.Schema, m.plan.Makes.Name)
	if errors.Is(err, catalog.ErrNotFound) {
		return &classify.Refusal{Construct: m.plan.Construct, Reason: m.plan.Tables[0] + " is not what it made",
			Hint: "Use CREATE TABLE and INSERT … SELECT, and name the schema."}
	}
	if err != nil {
		return err
	}
	table, err := s.deps.Catalog.Table(ctx, q, nil, m.plan.Makes.Schema, m.plan.Makes.Name)
	if err != nil {
		return fmt.Errorf("looking at the new table %s: %w", m.plan.Tables[0], err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := m.sameStyle(); err != nil {
		return err
	}
	var r *classify.Refusal
	if found.Odd != "" {
		r = &classify.Refusal{Construct: m.plan.Construct, Reason: found.Odd, Hint: "Use CREATE TABLE and INSERT … SELECT."}
	} else if err := m.plan.Exact(table); err != nil && !errors.As(err, &r) {
		return err
	}
	if r != nil {
		return m.giveUp(table.Qualified(), r)
	}
	m.table = table
	m.put(event.Operation{Kind: event.OpStatement, Class: event.ClassText, Reason: "DDL", Text: m.plan.Makes.SQL(found.Definitions),
		Tables: []string{table.Qualified()}, Digest: event.Digest{SQLState: "00000", Affected: -1}})
	return nil
}
