package apply

import (
	"errors"
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

// define commits DDL that is about tables.
func (a *agent) define(sql string, tables ...string) int64 {
	a.t.Helper()
	tx := a.tx(definition(sql, tables...))
	tx.Barrier = true
	_, offset := a.add(tx)
	return offset
}

func definition(sql string, tables ...string) event.Operation {
	op := text(sql)
	op.Tables, op.Digest.Affected = tables, -1
	return op
}

func (a *agent) giveUp(table string) {
	a.t.Helper()
	a.commit(event.Operation{Kind: event.OpFlagged, Class: event.ClassRefused, Reason: "refused", Text: "…", Diverged: []string{table}})
}

// What is refused for another reason than a table that has diverged stops the worker,
// beside how many such tables ever.
func TestI6UnexplainedRefusalsStop(t *testing.T) {
	for name, c := range map[string]struct {
		diverged, sql string
		tables        []string
		code          string
	}{
		"names what has not diverged":       {"public.t", "CREATE VIEW v AS SELECT * FROM missing", []string{"public.v"}, "42P01"},
		"is there already":                  {"public.t", "CREATE VIEW u AS SELECT * FROM t", []string{"public.u"}, "42P07"},
		"is there already, as a table":      {"public.t", "CREATE TABLE u (id int REFERENCES t)", []string{"public.u"}, "42P07"},
		"another table's key":               {"public.t", "INSERT INTO u VALUES (7)", []string{"public.u"}, "23503"},
		"another table depends on it":       {"public.t", "DROP TABLE p", []string{"public.p"}, "2BP01"},
		"has no table to be given up":       {"public.t", "CREATE FUNCTION f(t.missing%TYPE) RETURNS int LANGUAGE sql AS 'SELECT 1'", nil, "42703"},
		"another of the same last name":     {"public.t", "CREATE VIEW v AS SELECT * FROM missing.t", []string{"public.v"}, "42P01"},
		"a setting that the target has not": {"*", "SET unknown", nil, "42704"},
		"may not, whatever diverged":        {"*", "CREATE SCHEMA x", nil, "42501"},
		"a role that the target has not":    {"*", "SET", nil, "22023"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE u (id int REFERENCES p)")
			a := r.agent("a1")
			a.giveUp(c.diverged)
			switch c.sql {
			case "SET":
				tx := a.tx(definition("CREATE DOMAIN d AS int"))
				tx.Barrier, tx.Context.Settings = true, append(tx.Context.Settings, event.Setting{Name: "role", Value: "nobody"})
				a.add(tx)
			case "SET unknown":
				tx := a.tx(definition("CREATE DOMAIN d AS int"))
				tx.Barrier, tx.Context.Settings = true, append(tx.Context.Settings, event.Setting{Name: "unknown", Value: "1"})
				a.add(tx)
			case "CREATE SCHEMA x":
				tx := a.tx(definition(c.sql))
				tx.Barrier, tx.Context.Settings = true, append(tx.Context.Settings, event.Setting{Name: "role", Value: "pg_monitor"})
				a.add(tx)
			default:
				a.define(c.sql, c.tables...)
			}
			if err := r.replay(); err == nil || !strings.Contains(err.Error(), c.code) {
				t.Fatalf("the worker went on, or ended otherwise: %v", err)
			}
			r.want("SELECT tbl FROM opmux.diverged", c.diverged)
		})
	}
}

// Where the tables cannot be told, definitions that name none are left out when they do
// not fit; this holds from within the transaction on that says so.
func TestUnknownDivergenceLeavesDefinitionsOut(t *testing.T) {
	r := newRig(t)
	a := r.agent("a1")
	insert := text("INSERT INTO made VALUES (1)")
	insert.Tables = []string{"public.made"}
	a.commit(event.Operation{Kind: event.OpFlagged, Reason: "DO", Text: "DO …", Diverged: []string{"*"}}, insert)
	left := a.define("DROP FUNCTION f()")
	a.define("CREATE DOMAIN d AS int")
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT tbl FROM opmux.diverged ORDER BY tbl", "* public.made")
	r.want("SELECT typname FROM pg_type WHERE typname = 'd'", "d")
	if d := r.digests()[left]; len(d.Operations) != 1 || !strings.Contains(d.Operations[0].Skipped, "unknown tables diverged") {
		t.Fatalf("what the verifier is told: %+v", d)
	}
}

// A DROP is of the primary's tables, whatever the search path would find here, and what
// comes in a transaction that gives its table up stays given up.
func TestDropsOfWhatHasDiverged(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE SCHEMA first", `CREATE TABLE "T.x" (id int)`, "CREATE TABLE other (id int)", "CREATE TABLE kept (id int)", "CREATE TABLE keeps (id int)")
	a := r.agent("a1")
	for _, table := range []string{"first.other", "public.T.x", "public.kept"} {
		a.giveUp(table)
	}
	tx := a.tx(definition(`DROP TABLE other, "T.x"`, "first.other", "public.T.x"))
	tx.Barrier = true
	tx.Context.Settings = append(tx.Context.Settings, event.Setting{Name: "search_path", Value: "first, public"})
	a.add(tx)
	insert := text("INSERT INTO kept VALUES (1)")
	insert.Tables = []string{"public.kept"}
	tx = a.tx(definition("DROP TABLE kept", "public.kept"), definition("CREATE TABLE kept (id int)", "public.kept"),
		event.Operation{Kind: event.OpFlagged, Reason: "DO", Text: "DO …", Diverged: []string{"public.kept"}}, insert)
	tx.Barrier = true
	a.add(tx)
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT relname FROM pg_class WHERE relname IN ('other', 'T.x', 'kept', 'keeps') ORDER BY 1", "keeps other")
	r.want("SELECT tbl FROM opmux.diverged", "public.kept")
}

// What a commit declared whose answer was lost is known behind it (I6).
func TestDeclaredByALostCommit(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int)", "CREATE TABLE u (id int) PARTITION BY LIST (id)", "CREATE TABLE u1 PARTITION OF u DEFAULT", "CREATE TABLE w (id int)")
	on := func(sql string, tables ...string) event.Operation {
		op := text(sql)
		op.Tables = tables
		return op
	}
	p, through := r.throughProxy(t)
	r.start(through)
	a := r.agent("a1")
	a.giveUp("public.t")
	first := a.commit(on("INSERT INTO w VALUES (1)", "public.w"))
	testkit.Eventually(t, patience, func() error { // the worker has its answer
		if r.digests()[first] == nil {
			return errors.New("no digest")
		}
		return nil
	})
	p.mu.Lock()
	p.last = "public.u1"
	p.mu.Unlock()
	a.commit(on("DELETE FROM t", "public.t", "public.u"))
	testkit.Eventually(t, patience, func() error { // it is committed, and the worker does not know
		if got := r.query("SELECT tbl FROM opmux.diverged ORDER BY 1"); got != "public.t public.u public.u1" {
			return errors.New("diverged are " + got)
		}
		return nil
	})
	p.cut()
	a.commit(on("INSERT INTO u1 VALUES (1)", "public.u1"), on("INSERT INTO w VALUES (2)", "public.w"))
	r.caughtUp()
	r.want("SELECT id FROM w ORDER BY id", "1 2")
	r.want("SELECT id FROM u", "")
}

// What is declared behind a savepoint is undone with it on the target: it is declared again
// by what comes behind the ROLLBACK TO, and what was dropped there has still diverged (I6).
func TestI6DeclaredBehindASavepoint(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int)", "CREATE TABLE u (id int)", "CREATE TABLE w (id int)")
	on := func(sql string, tables ...string) event.Operation {
		op := text(sql)
		op.Tables = tables
		return op
	}
	point := func(kind event.OpKind, name string) event.Operation { return event.Operation{Kind: kind, Text: name} }
	a := r.agent("a1")
	a.giveUp("public.t")
	tx := a.tx(point(event.OpSavepoint, "a"), point(event.OpSavepoint, "a"), on("DELETE FROM u", "public.t", "public.u"), definition("DROP TABLE t", "public.t"),
		point(event.OpRelease, "a"), on("DELETE FROM w", "public.u", "public.w"), point(event.OpRollbackTo, "a"),
		on("INSERT INTO t VALUES (1)", "public.t"), on("DELETE FROM u", "public.t", "public.u"), on("INSERT INTO w VALUES (1)", "public.w"))
	tx.Barrier = true
	a.add(tx)
	a.commit(on("INSERT INTO u VALUES (1)", "public.u"), on("INSERT INTO t VALUES (2)", "public.t"), on("INSERT INTO w VALUES (2)", "public.w"))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT tbl FROM opmux.diverged ORDER BY tbl", "public.t public.u")
	r.want("SELECT id FROM t", "")
	r.want("SELECT id FROM u", "")
	r.want("SELECT id FROM w ORDER BY id", "1 2")
}
