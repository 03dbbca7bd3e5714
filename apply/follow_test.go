package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

func TestI6FlaggedTablesAreSkippedFromThere(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int)", "CREATE TABLE u (id int)", "CREATE TABLE v (id int)")
	on := func(table string, op event.Operation) event.Operation {
		op.Tables = []string{"public." + table}
		return op
	}
	a := r.agent("a1")
	a.commit(on("t", text("INSERT INTO t VALUES (1)")))
	a.commit(event.Operation{
		Kind: event.OpFlagged, Class: event.ClassRefused, Reason: "volatile function",
		Text: "UPDATE t SET id = f()", Tables: []string{"public.t"}, Diverged: []string{"public.t"},
	}, on("u", text("INSERT INTO u VALUES (1)")))
	skipped := a.commit(on("t", text("INSERT INTO t VALUES (2)")), on("u", text("INSERT INTO u VALUES (2)")))
	both := text("TRUNCATE t, v")
	both.Tables = []string{"public.t", "public.v"}
	a.commit(both)
	a.commit(on("v", text("INSERT INTO v VALUES (2)")))
	cic := a.tx(on("t", text("CREATE INDEX CONCURRENTLY i ON t (id)")))
	cic.Standalone = true
	a.add(cic)
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id FROM t", "1")
	r.want("SELECT id FROM u ORDER BY id", "1 2")
	r.want("SELECT id FROM v", "")
	r.want("SELECT count(*) FROM pg_class WHERE relname = 'i'", "0")
	list, err := Diverged(t.Context(), r.pg.DSN(r.db))
	if err != nil || len(list) != 2 || list[0].Table != "public.t" || list[0].Reason != "volatile function" || list[1].Table != "public.v" {
		t.Fatalf("diverged: %+v, %v", list, err)
	}
	d := r.digests()[skipped]
	if d.Operations[0].Skipped != "diverged: public.t" || d.Operations[1].Skipped != "" {
		t.Fatalf("digests: %+v", d)
	}
}

// What a transaction did to a table before its flagged statement does not run
// without it: here the commit would fail.
func TestFlaggedTablesAreSkippedFromTheBeginningOfTheirTransaction(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int, EXCLUDE (id WITH =) INITIALLY DEFERRED)", "INSERT INTO t VALUES (1)", "CREATE TABLE u (id int)")
	insert, other := text("INSERT INTO t VALUES (1)"), text("INSERT INTO u VALUES (1)")
	insert.Tables, other.Tables = []string{"public.t"}, []string{"public.u"}
	r.agent("a1").commit(insert, other, event.Operation{Kind: event.OpFlagged, Class: event.ClassRefused, Reason: "no key",
		Text: "DELETE FROM t WHERE …", Tables: []string{"public.t"}, Diverged: []string{"public.t"}})
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id FROM t", "1")
	r.want("SELECT id FROM u", "1")
	r.want("SELECT tbl FROM opmux.diverged", "public.t")
}

// The body of a function may name what only the client's session had.
func TestFunctionBodiesAreNotCheckedAgain(t *testing.T) {
	r := newRig(t)
	body := text("CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM temporary'")
	set := event.Operation{Kind: event.OpSet, Settings: []event.Setting{{Name: "check_function_bodies", Value: "on"}}}
	r.agent("a1").commit(set, body)
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT proname FROM pg_proc WHERE proname = 'f'", "f")
}

func TestUnknownDivergenceSkipsFromTheFirstMisfit(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int)", "CREATE TABLE v (id int)")
	on := func(table string, op event.Operation, affected int64) event.Operation {
		op.Tables, op.Digest.Affected = []string{"public." + table}, affected
		return op
	}
	a := r.agent("a1")
	a.commit(event.Operation{Kind: event.OpFlagged, Reason: "DO", Text: "DO …", Diverged: []string{"*"}})
	a.commit(on("t", text("INSERT INTO t VALUES (1)"), 1), on("u", text("INSERT INTO u VALUES (1)"), 1))
	a.commit(on("t", text("INSERT INTO t VALUES (1)"), 1), on("u", text("INSERT INTO u VALUES (2)"), 1))
	a.commit(on("t", text("INSERT INTO t VALUES (3)"), 1), on("v", text("DELETE FROM v"), 5))
	a.commit(on("v", text("INSERT INTO v VALUES (1)"), 1), on("u", text("INSERT INTO u VALUES (3)"), 1))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id FROM t", "1")
	r.want("SELECT id FROM u ORDER BY id", "1 2 3")
	r.want("SELECT id FROM v", "")
	r.want("SELECT tbl FROM opmux.diverged ORDER BY tbl", "* public.t public.v")
}

func TestSnapshotShowsWhatIsSkipped(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)")
	a := r.agent("a1")
	with := func(xid uint64, intent bool, id int) event.Ref {
		tx := a.tx(text("INSERT INTO t VALUES ($1)", fmt.Sprint(id)))
		tx.Postgres.XID, tx.Intent = xid, intent
		ref, _ := a.add(tx)
		return ref
	}
	with(90, false, 0) // before the start
	start := r.end()
	shown, running, late := with(100, true, 1), with(102, true, 2), with(110, true, 3)
	mark, _ := r.produce(&event.Record{Agent: "operator", Body: &event.Mark{Phase: event.MarkSnapshot, Target: "standby", Start: start, Snapshot: "102:105:102"}})
	a.decide(true, shown, running, late)
	with(101, false, 4) // gate none: recorded after the Mark, shown all the same
	with(103, true, 5)  // an xid that was drawn again: an intent comes before its commit
	b := r.agent("a2", a)
	tx := b.tx(text("INSERT INTO t VALUES (6)"))
	tx.Postgres.XID = 100
	b.add(tx)
	b.decide(true, event.Ref{Agent: a.name, Epoch: a.epoch, N: a.n})
	ctx := t.Context()
	conn := r.pg.Connect(t, r.db)
	if err := EnsureSchema(ctx, conn); err != nil {
		t.Fatal(err)
	}
	id := r.topicID()
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		return InstallSnapshot(ctx, tx, Snapshot{Source: "orders", Start: start, Mark: mark, Snapshot: "102:105:102", TopicID: id})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id FROM t ORDER BY id", "2 3 5 6")
}

func (r *rig) topicID() string {
	reader, err := topics.NewReader(r.t.Context(), r.kafka, "opmux.orders.ops", topics.Latest)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	return reader.TopicID().String()
}

func TestPositionOfAnotherTopicStops(t *testing.T) {
	r := newRig(t)
	if err := Reset(t.Context(), r.pg.DSN(r.db), "orders", "0123", 0); err != nil {
		t.Fatal(err)
	}
	if err := r.start().stopped(); !strings.Contains(err.Error(), "0123") {
		t.Fatal(err)
	}
}

func TestStandaloneCommand(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int)")
	a := r.agent("a1")
	cic := a.tx(text("CREATE UNIQUE INDEX CONCURRENTLY i ON t (id)"))
	cic.Standalone, cic.Intent = true, true
	ref, _ := a.add(cic)
	a.commit(text("INSERT INTO t VALUES (1), (1)"))
	a.commit(text("DELETE FROM t"), text("INSERT INTO t VALUES (1)"))
	// Its place is its outcome: the index could not have been built before.
	r.agent("a2").decide(true, ref)
	a.commit(text("INSERT INTO t VALUES (2)"))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id FROM t ORDER BY id", "1 2")
	r.want("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass", "t")
	r.want("SELECT count(*) FROM opmux.standalone", "0")
}

// TestI4StandaloneCommandThatWasCutOff: the worker before has begun, and left an
// invalid index behind.
func TestI4StandaloneCommandThatWasCutOff(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int)")
	a := r.agent("a1")
	cic := a.tx(text("CREATE INDEX CONCURRENTLY i ON t (id)"))
	cic.Standalone = true
	_, offset := a.add(cic)
	if err := r.worker().RunUntil(t.Context(), map[string]int64{"orders": offset}); err != nil {
		t.Fatal(err)
	}
	r.pg.Exec(t, r.db, "CREATE INDEX i ON t (id)", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass",
		fmt.Sprintf("INSERT INTO opmux.standalone (stream, tx, invalid) VALUES ('orders', %d, '')", offset))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass", "t")
}

func TestBarrierAndSequenceThatIsSetBack(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE SEQUENCE s")
	a := r.agent("a1")
	mark := func(n int64) event.Operation {
		return event.Operation{Kind: event.OpSequence, Sequences: []event.SequenceMark{{Schema: "public", Name: "s", Value: n, Ascending: true}}}
	}
	for i := range int64(50) {
		a.commit(mark(100 + i))
	}
	back := a.tx(text("ALTER SEQUENCE s RESTART WITH 5"))
	back.Barrier = true
	a.add(back)
	a.commit(mark(6))
	a.commit(mark(5))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT last_value FROM s", "6")
}

func TestSchemaChangesUnderPreparedStatements(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int)")
	r.start()
	a := r.agent("a1")
	for i := range 6 {
		for range 5 {
			op := text("INSERT INTO t (id) VALUES (1) RETURNING *")
			op.Digest.Hash = []byte{1}
			a.commit(op)
		}
		ddl := a.tx(text(fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d int", i)))
		ddl.Barrier = true
		a.add(ddl)
	}
	r.caughtUp()
	r.want("SELECT count(*) FROM t", "30")
}

// TestDeferrableConstraints: what the application has deferred works in its
// order, and DDL finds no checks pending.
func TestDeferrableConstraints(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE p (id int PRIMARY KEY)",
		"CREATE TABLE c (id int REFERENCES p DEFERRABLE INITIALLY IMMEDIATE)")
	ddl := func(sql string) event.Operation {
		op := text(sql)
		op.Digest.Affected = -1
		return op
	}
	a := r.agent("a1")
	a.commit(text("INSERT INTO c VALUES (1)"), text("INSERT INTO p VALUES (1)"))
	a.commit(ddl("TRUNCATE c"))
	tx := a.tx(text("INSERT INTO c VALUES (1)"), ddl("ALTER TABLE c ADD COLUMN v int"), text("INSERT INTO c VALUES (2)"), text("INSERT INTO p VALUES (2)"))
	tx.Barrier = true
	a.add(tx)
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id FROM c ORDER BY id", "1 2")

	// A row that waits for its parent is no matter of DDL on other tables.
	r.pg.Exec(t, r.db, "CREATE TABLE q (id int PRIMARY KEY)", "CREATE TABLE d (id int REFERENCES q DEFERRABLE INITIALLY DEFERRED)")
	tx = a.tx(text("INSERT INTO d VALUES (9)"), text("INSERT INTO c VALUES (1)"), ddl("ALTER TABLE c ADD COLUMN w int"), ddl("ALTER TABLE q ADD COLUMN w int"),
		text("INSERT INTO c VALUES (4)"), text("INSERT INTO p VALUES (4)"), ddl("CREATE TABLE e ()"), text("INSERT INTO q VALUES (9)"))
	tx.Barrier = true
	a.add(tx)
	tx = a.tx(text("INSERT INTO d VALUES (10)"), ddl("DROP TABLE q CASCADE"))
	tx.Barrier = true
	a.add(tx)
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id FROM d ORDER BY id", "9 10")
	a.commit(text("INSERT INTO c VALUES (3)"))
	if err := r.replay(); err == nil || !strings.Contains(err.Error(), "its commit failed") {
		t.Fatalf("a row without its parent: %v", err)
	}
}

func TestMissingTopicsEndTheWorker(t *testing.T) {
	r := newRig(t)
	err := r.worker(func(c *Config) { c.Sources = []string{"nowhere"} }).Run(t.Context())
	var missing *topics.MissingTopicsError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "opmux topics create") {
		t.Fatal(err)
	}
}

// rename is a rewriter.
type rename struct{}

func (rename) Rewrite(_ context.Context, _ string, _ *event.Transaction, op *event.Operation) (*event.Operation, error) {
	changed := *op
	changed.Text = strings.ReplaceAll(op.Text, "t ", "renamed ")
	return &changed, nil
}

func TestRewriterStandsBeforeExecution(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE renamed (id int)")
	a := r.agent("a1")
	a.commit(text("INSERT INTO t VALUES (1)"))
	w := r.worker()
	w.deps.Rewriter = rename{}
	if err := w.RunUntil(t.Context(), map[string]int64{"orders": r.end()}); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id FROM renamed", "1")
}

func TestTypesOfTheTargetsOwn(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE SCHEMA app", "CREATE TYPE app.mood AS ENUM ('good', 'bad')", "CREATE TABLE t (m app.mood)")
	a := r.agent("a1")
	op := text("INSERT INTO t VALUES ($1)", "good")
	op.Params[0].OID, op.Params[0].Type = 99999, "app.mood"
	for range 3 {
		a.commit(op)
	}
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT m FROM t", "good good good")
}

func TestTwoSourcesOneTarget(t *testing.T) {
	r := newRig(t)
	testkit.Eventually(t, patience, func() error {
		_, err := topics.Create(t.Context(), r.kafka, topics.Want{Sources: []string{"orders", "stock"}, Targets: []string{"standby"}})
		return err
	})
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int)")
	r.start(func(c *Config) { c.Sources = []string{"orders", "stock"} })
	a := r.agent("a1")
	a.commit(text("INSERT INTO t VALUES (1)"))
	r.caughtUp()
	r.want("SELECT id FROM t", "1")
	r.want("SELECT stream FROM opmux.stream ORDER BY 1", "orders stock")
}
