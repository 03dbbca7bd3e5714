package session

import (
	"context"
	"errors"
	"slices"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// readBack reads rows that a statement made or filled, on the client's session, while
// its lock keeps all others from them, and puts them on the log as images.
type readBack struct {
	onLog
	plan     *classify.Plan
	extended bool
	table    *catalog.Table
	action   event.Action
	// key are the columns that name the rows, none for new ones; columns are those of
	// which the values are read.
	key, columns []string

	// sleep says that triggers of the table must not act on the images.
	sleep bool
	inHex bool // the rows come as catalog.Hex gives them
	rows  []event.RowImage
	bytes int
}

// errRestyled says that values would be printed otherwise than the transaction's
// record says.
var errRestyled = errors.New("a statement changed session settings while it made or altered a table")

// sameStyle makes sure that values are printed as the transaction's record says. Callers hold s.mu.
func (r *readBack) sameStyle() error {
	if !slices.Equal(r.s.context.settings, r.tx.effective().settings) {
		return errRestyled
	}
	return nil
}

// read reads the rows back, and has them written out as they come (I7).
func (r *readBack) read(ctx context.Context) error {
	s := r.s
	e := &entry{kind: answerQuery, silent: true}
	e.onRow = func(values []pgwire.DataRowValue) { r.add(ctx, values) }
	s.locked(func() { r.inHex = s.inHex() })
	sql := r.table.ReadSQL(slices.Concat(r.key, r.columns), r.inHex)
	var err error
	if r.extended {
		err = s.askExtended(sql, nil, e)
	} else if err = s.sendQuery(sql, e); err == nil {
		err = s.drain()
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.flush(ctx)
	return nil
}

// add takes one row. Callers hold s.mu.
func (r *readBack) add(ctx context.Context, values []pgwire.DataRowValue) {
	if r.tx.broken != nil {
		return
	}
	read := r.s.textRow
	if r.inHex {
		read = hexRow
	}
	list, err := read(values)
	if err != nil {
		r.tx.fail(err)
		return
	}
	r.rows = append(r.rows, event.RowImage{Key: list[:len(r.key):len(r.key)], Values: list[len(r.key):]})
	r.bytes += itemBytes
	for _, v := range list {
		r.bytes += 16 + len(v.Text)
	}
	if r.bytes >= r.s.piece() {
		r.flush(ctx)
	}
}

// flush makes an operation of the rows that have come. Callers hold s.mu.
func (r *readBack) flush(ctx context.Context) {
	if len(r.rows) == 0 || r.tx.broken != nil {
		return
	}
	im := &event.RowImages{Action: r.action, Schema: r.table.Schema, Table: r.table.Name,
		Key: r.key, KeyTypes: r.types(r.key), Columns: r.columns, ColumnTypes: r.types(r.columns), Rows: r.rows}
	op := event.Operation{Kind: event.OpRows, Class: event.ClassRows, Reason: r.plan.Reason, Text: r.plan.Info(), Rows: im,
		Tables: []string{r.table.Qualified()}, Digest: event.Digest{SQLState: "00000", Affected: int64(len(r.rows))}}
	if r.sleep {
		r.asleep(op)
	} else {
		r.put(op)
		r.s.deps.Metrics.count(r.item.ops[len(r.item.ops)-1:])
	}
	r.rows, r.bytes = nil, 0
	r.spill(ctx)
}

func (r *readBack) types(columns []string) []string {
	var list []string
	for _, c := range columns {
		list = append(list, r.table.Column(c).Type)
	}
	return list
}
