package apply

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

// images are row images of a table whose rows are given as words: those of the
// key, then those of the columns. "~" is NULL.
func images(action event.Action, table, key, columns string, rows ...string) *event.RowImages {
	i := &event.RowImages{Action: action, Schema: "public", Table: table, Key: strings.Fields(key), Columns: strings.Fields(columns)}
	for _, row := range rows {
		words := strings.Fields(row)
		for k := range words {
			if words[k] == "~" {
				words[k] = testkit.Null
			}
		}
		v := values(words...)
		i.Rows = append(i.Rows, event.RowImage{Key: v[:len(i.Key)], Values: v[len(i.Key):]})
	}
	return i
}

func rowsOp(i *event.RowImages) event.Operation {
	op := event.Operation{Kind: event.OpRows, Class: event.ClassRows, Text: string(i.Action) + " of rows", Rows: i,
		Digest: event.Digest{SQLState: "00000", Affected: int64(len(i.Rows))}}
	if len(i.Returning) > 0 {
		op.Digest.Hash = []byte("the primary's")
	}
	return op
}

// observed makes the rig's log one that is kept, and returns how many operations
// were taken apart.
func (r *rig) observed() (apart func() int) {
	core, logs := observer.New(zap.InfoLevel)
	r.log = zap.New(core)
	return func() int {
		return logs.FilterMessage("the target refuses the rows of an operation together; trying them one by one").Len()
	}
}

// digest returns what the worker's digest says of the first operation of the
// transaction at an offset.
func (r *rig) digest(offset int64) event.Digest {
	r.t.Helper()
	d := r.digests()[offset]
	if d == nil || len(d.Operations) == 0 || d.Operations[0].Skipped != "" {
		r.t.Fatalf("digest of offset %d: %+v", offset, d)
	}
	return d.Operations[0].Digest
}

func hashOf(rows ...[]event.Value) []byte {
	var h digest.Rows
	for _, row := range rows {
		h.Add(row)
	}
	return h.Sum()
}

// A parent's deletion takes its children along, which the primary counts as rows
// that the statement deleted, and returns as they were.
func TestRowsThatCascadeAreCountedAsOnThePrimary(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE)",
		"CREATE TABLE loose (id int PRIMARY KEY, up int REFERENCES loose ON DELETE SET NULL)",
		"INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, NULL)", "INSERT INTO loose SELECT * FROM tree")
	apart := r.observed()
	a := r.agent("a1")
	var offsets []int64
	for _, table := range []string{"tree", "loose"} {
		i := images(event.ActionDelete, table, "id", "", "1", "2", "3")
		i.Returning = []string{"id", "up"}
		offsets = append(offsets, a.commit(rowsOp(i)))
	}
	// Children before their parents.
	born := a.commit(rowsOp(images(event.ActionInsert, "tree", "", "id up", "10 11", "11 12", "12 ~")))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	want := hashOf(values("1", testkit.Null), values("2", "1"), values("3", "2"))
	for _, offset := range offsets {
		if d := r.digest(offset); d.Affected != 3 || !bytes.Equal(d.Hash, want) {
			t.Errorf("offset %d: %+v, expected 3 rows and hash %x", offset, d, want)
		}
	}
	if d := r.digest(born); d.Affected != 3 {
		t.Errorf("%d rows inserted, expected 3", d.Affected)
	}
	r.want("SELECT id, up FROM tree ORDER BY id", "4|<NULL> 10|11 11|12 12|<NULL>")
	r.want("SELECT id, up FROM loose", "4|<NULL>")
	if apart() != 0 {
		t.Errorf("%d operations were taken apart", apart())
	}
}

// Unique values move up among the rows of one statement: it depends on the order
// whether that is possible, and on the primary it was.
func TestUniqueValuesMoveAmongTheRows(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE u (id int PRIMARY KEY, n int UNIQUE)", "CREATE TABLE d (id int PRIMARY KEY, n int UNIQUE DEFERRABLE)",
		"INSERT INTO u SELECT i, i FROM generate_series(-5000, 50) i", "INSERT INTO d SELECT * FROM u WHERE id > 0",
		// The rows are then found in the table's order.
		"ALTER DATABASE "+r.db+" SET enable_nestloop = off", "ALTER DATABASE "+r.db+" SET enable_mergejoin = off", "ANALYZE u")
	apart := r.observed()
	a := r.agent("a1")
	var up, rotate []string
	for i := 50; i > 0; i-- {
		up = append(up, fmt.Sprint(i, " ", i+1))
		rotate = append(rotate, fmt.Sprint(i, " ", i%50+1))
	}
	moved := a.commit(rowsOp(images(event.ActionUpdate, "u", "id", "n", up...)),
		rowsOp(images(event.ActionUpdate, "d", "id", "n", rotate...)))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM u WHERE id > 0 AND n = id + 1", "50")
	r.want("SELECT count(*) FROM d WHERE n = id % 50 + 1", "50")
	if d := r.digest(moved); d.Affected != 50 || apart() != 1 {
		t.Fatalf("%d rows affected, %d operations taken apart", d.Affected, apart())
	}
}

// text::regclass does not read what regclass prints for 0: rows go one by one.
func TestManyOperationsAreTakenApart(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY, c regclass)", "INSERT INTO t VALUES (50)")
	apart := r.observed()
	a := r.agent("a1")
	var ops []event.Operation
	for i := range 20 {
		ops = append(ops, rowsOp(images(event.ActionInsert, "t", "", "id c", fmt.Sprint(2*i, " -"), fmt.Sprint(2*i+1, " t"))))
	}
	a.commit(ops[:10]...)
	a.commit(ops[10:]...)
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT count(*), count(*) FILTER (WHERE c = 't'::regclass) FROM t", "41|20")
	if n := apart(); n == 0 || n > 10 {
		t.Fatalf("%d operations were taken apart one at a time", n)
	}
	a.commit(rowsOp(images(event.ActionInsert, "t", "", "id c", "48 t", "49 t")))
	culprit := a.commit(rowsOp(images(event.ActionInsert, "t", "", "id c", "51 t")),
		rowsOp(images(event.ActionInsert, "t", "", "id c", "52 t", "50 t")))
	err := r.replay()
	var op *execute.OperationError
	if !errors.As(err, &op) || op.Offset != culprit || op.Index != 1 || !strings.Contains(err.Error(), "(id)=(50)") ||
		!strings.Contains(err.Error(), "insert of rows") {
		t.Fatalf("stopped on %v, expected operation 1 of the transaction at offset %d", err, culprit)
	}
	r.want("SELECT id FROM t WHERE id > 45 ORDER BY id", "48 49 50")
}

func TestKeysThatComeAgainInOneOperation(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int, k text, v text, UNIQUE (id, k))", "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL), (12, '')")
	a := r.agent("a1")
	// The form of keys 1, "2…" and 12, "…" is not the same.
	update := a.commit(rowsOp(images(event.ActionUpdate, "t", "id k", "v", "1 a x", "2 b y", "1 a z", "3 ~ n", "2 b ~")))
	upsert := a.commit(rowsOp(images(event.ActionUpsert, "t", "id k", "v", "1 a p", "7 a q", "7 a r", "7 b s", "7 b t")))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id, k, v FROM t ORDER BY id, k", "1|a|p 2|b|<NULL> 3|<NULL>|n 7|a|r 7|b|t 12||<NULL>")
	for _, offset := range []int64{update, upsert} {
		if d := r.digest(offset); d.Affected != 5 {
			t.Errorf("%d rows affected, expected 5", d.Affected)
		}
	}
}

// An operation in parts, in chunks and over the bounds of a statement, is one all the same.
func TestRowsInParts(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE other (id int)")
	a := r.agent("a1")
	const each = 25_000
	part := func(action event.Action, i, n int, columns []string) event.Operation {
		rows := images(action, "t", "", "")
		rows.Columns, rows.Returning = columns, []string{"id"}
		op := rowsOp(rows)
		op.More = i < 2
		if action == event.ActionDelete {
			op.Rows.Key, op.Rows.Columns = []string{"id"}, nil
		}
		for k := range n {
			row := event.RowImage{Values: values(fmt.Sprint(i*each + k))}
			if action == event.ActionDelete {
				row.Key, row.Values = row.Values, nil
			}
			op.Rows.Rows = append(op.Rows.Rows, row)
		}
		return op
	}
	tx := a.chunked(2, func(i int) []event.Operation {
		return []event.Operation{part(event.ActionInsert, i, each, []string{"id"})}
	}, part(event.ActionInsert, 2, 1, []string{"id"}))
	_, inserted := a.add(tx)
	removed := a.commit(part(event.ActionDelete, 0, each-5, nil), part(event.ActionDelete, 1, each, nil), part(event.ActionDelete, 2, 1, nil))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT count(*), min(id), max(id) FROM t", fmt.Sprintf("5|%d|%d", each-5, each-1))
	var all [][]event.Value
	for id := range 2*each + 1 {
		all = append(all, values(fmt.Sprint(id)))
	}
	if d := r.digest(inserted); d.Affected != 2*each+1 || !bytes.Equal(d.Hash, hashOf(all...)) {
		t.Errorf("inserted: %+v", d)
	}
	all = append(all[:each-5], all[each:]...)
	if d := r.digest(removed); d.Affected != 2*each-4 || !bytes.Equal(d.Hash, hashOf(all...)) {
		t.Errorf("deleted: %+v", d)
	}
}

func TestRowsOfSpecialTables(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db,
		"CREATE TABLE ident (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED)",
		"CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
		"CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (10)", "CREATE TABLE high PARTITION OF parts FOR VALUES FROM (10) TO (20)",
		`CREATE TABLE "o" (gone int, v text, "o" text, "C 1" int, c1 int PRIMARY KEY)`, `ALTER TABLE "o" DROP COLUMN gone`,
		"CREATE TYPE pair AS (a int, b text)", "CREATE DOMAIN pairs AS pair",
		"CREATE TABLE composite (k pair, d pairs, t text, v int, PRIMARY KEY (k, d, t))")
	a := r.agent("a1")
	var offsets []int64
	for _, i := range []*event.RowImages{
		images(event.ActionInsert, "ident", "", "id v", "5 50", "6 60", "7 70"),
		images(event.ActionUpsert, "ident", "id", "id v", "5 5 51", "6 6 60", "8 8 80"),
		images(event.ActionUpdate, "ident", "id", "v", "5 52", "8 ~", "7 71"),
		images(event.ActionInsert, "parts", "", "id v", "1 a", "11 b", "2 c"),
		images(event.ActionUpdate, "parts", "id", "v", "1 x", "11 y", "2 ~"),
		images(event.ActionUpdate, "parts", "id", "", "1", "11", "2"), // nothing is set
		images(event.ActionInsert, "o", "", "c1 v o", "1 a b", "2 c d", "3 e ~"),
		images(event.ActionUpdate, "o", "c1", "o v", "1 p q", "2 ~ r", "3 s t"),
	} {
		i.Returning = i.Columns
		if i.Table == "parts" {
			i.Returning = []string{"id", "v"}
		}
		offsets = append(offsets, a.commit(rowsOp(i)))
	}
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	for _, offset := range offsets {
		if d := r.digest(offset); d.Affected != 3 || len(d.Hash) == 0 {
			t.Errorf("offset %d: %+v", offset, d)
		}
	}
	if want := hashOf(values("p", "q"), values(testkit.Null, "r"), values("s", "t")); !bytes.Equal(r.digest(offsets[7]).Hash, want) {
		t.Error("the hash is not of the rows that were written")
	}
	// One by one.
	for _, i := range []*event.RowImages{
		images(event.ActionInsert, "composite", "", "k d t v", "(1,a) (,) (t 1", "(2,) (1,b) t 2"),
		images(event.ActionUpdate, "composite", "k d t", "v", "(1,a) (,) (t 10"),
		images(event.ActionDelete, "composite", "k d t", "", "(2,) (1,b) t"),
	} {
		a.commit(rowsOp(i))
	}
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT k, d, t, v FROM composite", "(1,a)|(,)|(t|10")
	r.want("SELECT id, v, twice FROM ident ORDER BY id", "5|52|104 6|60|120 7|71|142 8|<NULL>|<NULL>")
	r.want("SELECT id, v FROM parts ORDER BY id", "1|x 2|<NULL> 11|y")
	r.want(`SELECT c1, "o", v FROM "o" AS z ORDER BY c1`, "1|p|q 2|<NULL>|r 3|s|t")
}
