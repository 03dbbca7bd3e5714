package apply

import (
	"errors"
	"strings"
	"testing"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/event"
)

// shaped commits operations that say what columns the primary's table has.
func (a *agent) shaped(table string, columns []string, ops ...event.Operation) int64 {
	tx := a.tx(ops...)
	tx.Shapes = []event.TableShape{{Schema: "public", Table: table, Columns: columns}}
	_, offset := a.add(tx)
	return offset
}

// TestI6ColumnThatTheTargetLacksStops: its default would be on the primary alone.
func TestI6ColumnThatTheTargetLacksStops(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, `CREATE TABLE t (id int PRIMARY KEY, "B c" text, gone int, extra int)`, `ALTER TABLE t DROP COLUMN gone`)
	a := r.agent("a1")
	a.shaped("t", []string{"id", "B c"}, text("INSERT INTO t VALUES (1)"))
	culprit := a.shaped("t", []string{"id", "B c", "gone", "it's new"}, text("INSERT INTO t VALUES (2)"))
	a.commit(text("INSERT INTO t VALUES (3)"))
	w := r.start()
	err := w.stopped()
	var op *execute.OperationError
	if !errors.As(err, &op) || op.Offset != culprit {
		t.Fatalf("stopped on %v, expected the transaction at offset %d", err, culprit)
	}
	if !strings.Contains(err.Error(), "table public.t has no column gone, it's new, which it has on the primary") {
		t.Errorf("%q does not name the columns", err)
	}
	r.want("SELECT id FROM t ORDER BY id", "1")
	w.end()
	r.pg.Exec(t, r.db, `ALTER TABLE t ADD gone int, ADD "it's new" int DEFAULT 5`)
	r.start()
	r.caughtUp()
	r.want(`SELECT id, "it's new" FROM t ORDER BY id`, "1|5 2|5 3|5")
}

// TestShapeOfATableThatHasDivergedDoesNotMatter: nothing is applied to it.
func TestShapeOfATableThatHasDivergedDoesNotMatter(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
	a := r.agent("a1")
	a.commit(event.Operation{Kind: event.OpFlagged, Class: event.ClassRefused, Text: "CALL p()", Diverged: []string{"public.t"}})
	a.shaped("t", []string{"id", "b"}, event.Operation{Kind: event.OpStatement, Class: event.ClassText, Text: "INSERT INTO t VALUES (1)", Tables: []string{"public.t"}},
		text("INSERT INTO u VALUES (1)"))
	r.start()
	r.caughtUp()
	r.want("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)", "0|1")
}
