package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// made carries a table that a statement has made of what a query returns: as the
// columns that it has, and all of its rows, read back on the client's session. Nobody
// else can have changed it, since its transaction is open (ADR 21).
type made struct {
	onLog
	plan     *classify.Plan
	extended bool
	table    *catalog.Table
	inHex    bool // the rows come as catalog.Hex gives them
	rows     []event.RowImage
	bytes    int
}

// errRestyled says that values would be printed otherwise than the transaction's
// record says.
var errRestyled = errors.New("a statement changed session settings while it made a table")

// carryMade carries what a statement made, if anything: with IF NOT EXISTS and a table
// that exists, the command has no count.
func (s *Session) carryMade(ctx context.Context, x *execution, extended bool) error {
	if !strings.HasPrefix(x.tag, "SELECT ") {
		return nil
	}
	m := &made{onLog: onLog{s: s, tx: x.tx}, plan: x.plan, extended: extended}
	if err := m.define(ctx); err != nil || m.table == nil {
		return err
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
		return &classify.Refusal{Construct: m.plan.Construct, Reason: m.plan.Tables[0] + " is not what it made: pg_temp comes first in the search_path?",
			Hint: "CREATE TEMP TABLE; or name the schema."}
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
	if !slices.Equal(s.context.settings, m.tx.effective().settings) {
		return errRestyled
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

// read reads the rows back, and has them written out as they come (I7).
func (m *made) read(ctx context.Context) error {
	s := m.s
	e := &entry{kind: answerQuery, silent: true}
	e.onRow = func(values []pgwire.DataRowValue) { m.add(ctx, values) }
	m.inHex = s.charsetNow().name != utf8Name
	sql := m.table.ReadSQL(m.inHex)
	var err error
	if m.extended {
		err = s.askExtended(sql, nil, e)
	} else if err = s.sendQuery(sql, e); err == nil {
		err = s.drain()
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.flush(ctx)
	return nil
}

// add takes one row. Callers hold s.mu.
func (m *made) add(ctx context.Context, values []pgwire.DataRowValue) {
	if m.tx.broken != nil {
		return
	}
	read := m.s.textRow
	if m.inHex {
		read = hexRow
	}
	list, err := read(values)
	if err != nil {
		m.tx.fail(err)
		return
	}
	row := event.RowImage{Values: list}
	m.rows = append(m.rows, row)
	m.bytes += itemBytes
	for _, v := range row.Values {
		m.bytes += 16 + len(v.Text)
	}
	if m.bytes >= m.s.piece() {
		m.flush(ctx)
	}
}

// flush makes an operation of the rows that have come. Callers hold s.mu.
func (m *made) flush(ctx context.Context) {
	if len(m.rows) == 0 || m.tx.broken != nil {
		return
	}
	im := &event.RowImages{Action: event.ActionInsert, Schema: m.table.Schema, Table: m.table.Name, Rows: m.rows}
	for i := range m.table.Columns {
		im.Columns = append(im.Columns, m.table.Columns[i].Name)
		im.ColumnTypes = append(im.ColumnTypes, m.table.Columns[i].Type)
	}
	m.put(event.Operation{Kind: event.OpRows, Class: event.ClassRows, Reason: m.plan.Reason, Text: m.plan.Info(), Rows: im,
		Tables: []string{m.table.Qualified()}, Digest: event.Digest{SQLState: "00000", Affected: int64(len(m.rows))}})
	m.s.deps.Metrics.count(m.item.ops[len(m.item.ops)-1:])
	m.rows, m.bytes = nil, 0
	m.spill(ctx)
}
