package execute

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opmux/opmux/event"
)

// On the primary one statement wrote the rows of an operation: foreign keys were checked,
// and acted, at its end. Where that makes a difference, rows that come in pieces, or
// cannot be written together for their order, wait in a temporary table of the target
// until the last of them is there, and are written by one statement as well (I6).

// ties are a table's foreign keys that tell one statement from several.
type ties struct {
	self    bool            // rows refer to rows of the table
	acts    bool            // a DELETE acts on rows that refer to the table
	columns map[string]bool // that foreign keys refer to
}

// tiesSQL lists the columns of a table, or of the whole that it is a part of, that foreign
// keys refer to.
const tiesSQL = `WITH t AS (
	SELECT coalesce(pg_catalog.pg_partition_root(c.oid)::oid, c.oid) AS oid
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)
SELECT coalesce(pg_catalog.pg_partition_root(k.conrelid)::oid, k.conrelid) = t.oid, k.confdeltype IN ('c', 'n', 'd'), a.attname
FROM t JOIN pg_catalog.pg_constraint k ON k.contype = 'f' AND coalesce(pg_catalog.pg_partition_root(k.confrelid)::oid, k.confrelid) = t.oid
	CROSS JOIN pg_catalog.unnest(k.confkey) u (n) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n`

func (a *attempt) tiesOf(images *event.RowImages) (*ties, error) {
	name := images.Schema + "\x00" + images.Table
	if t := a.ties[name]; t != nil {
		return t, nil
	}
	t := &ties{columns: map[string]bool{}}
	err := a.pipe.query(tiesSQL, [][]byte{[]byte(images.Schema), []byte(images.Table)}, []uint32{oidText, oidText}, nil,
		request{row: func(v []event.Value) {
			t.self = t.self || string(v[0].Text) == "t"
			t.acts = t.acts || string(v[1].Text) == "t"
			t.columns[string(v[2].Text)] = true
		}})
	if err == nil {
		err = a.pipe.drain()
	}
	if err != nil || a.once {
		return t, err
	}
	if len(a.ties) >= maxTables {
		clear(a.ties)
	}
	a.ties[name] = t
	return t, nil
}

// bind says that rows have to be written by one statement. A child that comes before its parent
// is refused by itself; a parent's new value may be another row's old one, which children
// keep; what a foreign key's action does to a row, a later piece would miss, or undo.
func (t *ties) bind(images *event.RowImages) bool {
	switch images.Action {
	case event.ActionInsert:
		return t.self
	case event.ActionDelete:
		return t.self || t.acts
	}
	return t.self || t.changes(images)
}

// changes says that columns to which foreign keys refer are among those of the rows.
func (t *ties) changes(images *event.RowImages) bool {
	return slices.ContainsFunc(images.Columns, func(c string) bool { return t.columns[c] })
}

// whole takes a part of an operation whose rows must be written by one statement, and
// would not be otherwise. False: they may go as they come.
func (r *replay) whole(op *event.Operation, b *batch) (bool, error) {
	cur := r.current
	first := !cur.begun
	cur.begun = true
	several := b == nil && (op.More || len(op.Rows.Rows) > 1) || b != nil && (op.More || r.isApart() || b.exceeds())
	if first && several && r.settings.current[replicationRole] == "" {
		t, err := r.tiesOf(op.Rows)
		switch {
		case err != nil:
		case b == nil && t.self && op.Rows.Action == event.ActionUpdate && t.changes(op.Rows):
			err = fmt.Errorf("transaction at offset %d, operation %d: rows of %s.%s refer to one another by columns that it changes, and it cannot be written by one statement, "+
				"as on the primary: the type of a column has a cast from text of its own, or the role may not name it", r.tx.Offset, cur.index, op.Rows.Schema, op.Rows.Table)
		case b != nil && t.bind(op.Rows):
			cur.held = true
			err = r.makeRoom()
		}
		if err != nil {
			return false, err
		}
	}
	if !cur.held {
		return false, nil
	}
	if b == nil {
		return false, fmt.Errorf("transaction at offset %d, operation %d: its parts have other columns", r.tx.Offset, cur.index)
	}
	if err := r.hold(b); err != nil || op.More {
		return true, err
	}
	return true, r.under(inOrder, func() error { return r.writeHeld(b) })
}

// makeRoom makes the table in which rows wait. It is the worker's, for whatever role the
// application took.
func (r *replay) makeRoom() error {
	return r.asWorker(func() error {
		for _, sql := range []string{
			"CREATE TEMP TABLE IF NOT EXISTS opmux_rows (n bigint, v text[]) USING heap ON COMMIT DELETE ROWS",
			"GRANT SELECT, INSERT, TRUNCATE ON pg_temp.opmux_rows TO PUBLIC",
		} {
			if err := r.command(sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// hold has rows wait.
func (r *replay) hold(b *batch) error {
	names, rows := strings.Join(b.names(), ", "), b.images.Rows
	number := placeholder(len(b.values) + 1)
	sql := "INSERT INTO pg_temp.opmux_rows SELECT " + number + " + v.n, ARRAY[" + names + "] FROM " + b.arrays() + " WITH ORDINALITY AS v (" + names + ", n)"
	types := append(slices.Clone(b.types), oidInt8)
	for i := 0; i < len(rows); {
		n := b.take(i)
		params := append(b.params(i, n), binary.BigEndian.AppendUint64(nil, uint64(r.current.waiting)))
		if err := r.pipe.query(sql, params, types, []int16{1}, request{fail: r.failed()}); err != nil {
			return err
		}
		r.current.waiting += int64(n)
		i += n
	}
	return nil
}

// inOrder has the rows looked up one after the other, as they were written on the primary:
// a unique value may be free only behind the row that had it.
var inOrder = []event.Setting{
	{Name: "enable_nestloop", Value: "on"}, {Name: "enable_indexscan", Value: "on"},
	{Name: "enable_hashjoin", Value: "off"}, {Name: "enable_mergejoin", Value: "off"}, {Name: "enable_seqscan", Value: "off"},
}

// writeHeld writes the rows that wait.
func (r *replay) writeHeld(b *batch) error {
	fields := make([]string, len(b.values))
	for i, name := range b.names() {
		fields[i] = "s.v[" + strconv.Itoa(i+1) + "] AS " + name
	}
	req := r.counted()
	req.rows = int(r.current.waiting)
	sql := b.plan.together(b.casts, "(SELECT "+strings.Join(fields, ", ")+" FROM pg_temp.opmux_rows s ORDER BY s.n) AS v")
	if err := r.pipe.query(sql, nil, nil, nil, req); err != nil {
		return err
	}
	return r.command("TRUNCATE pg_temp.opmux_rows")
}
