package session_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// locked has every write by a condition lock its table.
var locked = classify.Predicates{Tables: "*.*", Carry: classify.CarryLock}

// predicates are conversations about such writes.
var predicates = map[string][]func(*rawClient){
	"locks in the simple protocol": {
		q(`UPDATE t SET v = v + 1 WHERE id < 4`), q(`UPDATE t SET v = v + 1 WHERE v > 100 RETURNING id, v`), q(`DELETE FROM t WHERE v > 99999`), q(`UPDATE t SET v = v / (id - 3)`), q(`UPDATE t SET v = nothere WHERE v > 3`),
		q(`UPDATE t SET v = 1 WHERE v > 150; DELETE FROM t WHERE v = 1 RETURNING w; SELECT count(*) FROM t`), q(`SELECT 1; DELETE FROM t WHERE v / 0 = 1; SELECT 2`),
		q(`BEGIN; UPDATE t SET v = 2 WHERE v > 100; COMMIT`), q(`BEGIN`), q(`SAVEPOINT a`), q(`DELETE FROM t WHERE id < 9`), q(`ROLLBACK TO a`), q(`UPDATE t SET v = 3 WHERE v > 100`), q(`COMMIT`),
		q(`BEGIN READ ONLY`), q(`DELETE FROM t WHERE v > 1`), q(`ROLLBACK`), q(`BEGIN ISOLATION LEVEL REPEATABLE READ`), q(`UPDATE t SET v = 4 WHERE v > 3`), q(`SET TRANSACTION ISOLATION LEVEL READ COMMITTED`), q(`COMMIT`),
		q(`BEGIN`), q(`SET TRANSACTION ISOLATION LEVEL SERIALIZABLE`), q(`UPDATE t SET v = 5 WHERE v > 3`), q(`COMMIT`), q(`SET default_transaction_isolation = 'repeatable read'`), q(`UPDATE t SET v = 6 WHERE v > 3`), q(`RESET ALL`),
		q(`PREPARE u (int) AS UPDATE t SET v = v + $1 WHERE id < 5`), q(`EXECUTE u (3)`), q(`BEGIN`), q(`EXECUTE u (4)`), q(`COMMIT`), q(`TABLE t ORDER BY id`),
	},
	"locks in the extended protocol": {
		ext(`UPDATE t SET v = v + $1 WHERE id < 4`, nil, 0, "1"), ext(`UPDATE t SET v = v + 1 WHERE v > $1 RETURNING id, v`, []int16{1}, 0, "100"), ext(`UPDATE t SET v = v / (id - 3)`, nil, 0), ext(`DELETE FROM t WHERE v > $1`, nil, 1, "99999"),
		ext(`UPDATE t SET v = nothere WHERE v > 3`, nil, 0), ext(`DELETE FROM t WHERE v > $1`, nil, 0, "notanumber"), ext(`DELETE FROM t WHERE v > $1`, nil, 0), ext(`BEGIN ISOLATION LEVEL REPEATABLE READ`, nil, 0), ext(`UPDATE t SET v = 4 WHERE v > 3`, nil, 0), ext(`COMMIT`, nil, 0),
		ext(`BEGIN`, nil, 0), ext(`SET TRANSACTION ISOLATION LEVEL SERIALIZABLE`, nil, 0), ext(`UPDATE t SET v = 4 WHERE v > 3`, nil, 0), ext(`SAVEPOINT a`, nil, 0), ext(`DELETE FROM t WHERE v = 4`, nil, 0), ext(`ROLLBACK TO a`, nil, 0), ext(`COMMIT`, nil, 0),
		ext(`BEGIN`, nil, 0), ext(`UPDATE t SET v = 7 WHERE id > 3`, nil, 0), ext(`UPDATE t SET v = id / 0 WHERE id > 3`, nil, 0), ext(`UPDATE t SET v = 8 WHERE id > 3`, nil, 0), ext(`COMMIT`, nil, 0), ext(`SELECT * FROM t ORDER BY id`, nil, 0),
		func(c *rawClient) {
			c.parse("up", `UPDATE t SET v = v + $1 WHERE id > 15`).describe(false, "up").sync().ready()
		},
		func(c *rawClient) { c.bind("", "up", nil, "1").execute("", 0).sync().ready() }, q(`BEGIN ISOLATION LEVEL REPEATABLE READ`), func(c *rawClient) { c.bind("", "up", nil, "1").execute("", 0).sync().ready() }, q(`COMMIT`),
		func(c *rawClient) { c.bind("", "up", nil, "1").describe(true, "").sync().ready() }, func(c *rawClient) { c.bind("", "up", nil, "x").execute("", 0).sync().ready() }, func(c *rawClient) { c.bind("", "up", nil, "5").execute("", 0).sync().ready() },
		q(`BEGIN`), func(c *rawClient) {
			c.parse("many", `UPDATE t SET v = 0 WHERE id < 5 RETURNING id`).bind("p", "many", nil).execute("p", 2).execute("p", 1).sync().ready()
		}, q(`COMMIT`),
	},
	"locks in pipelines": {
		pipeline(`UPDATE t SET v = 81 WHERE id > 10`, `SELECT v FROM t WHERE id = 11`, `UPDATE t SET v = 82 WHERE id < 3`), pipeline(`SELECT v FROM t WHERE id = 10`, `DELETE FROM t WHERE v = 82`, `SELECT count(*) FROM t`),
		pipeline(`UPDATE t SET v = 83 WHERE id > 10`, `INSERT INTO t VALUES (10)`, `UPDATE t SET v = 84 WHERE id > 10`), pipeline(`BEGIN`, `UPDATE t SET v = 85 WHERE id > 10`, `COMMIT`), pipeline(`BEGIN ISOLATION LEVEL REPEATABLE READ`, `UPDATE t SET v = 86 WHERE id > 10`, `COMMIT`),
		pipeline(`UPDATE t SET v = 87 WHERE id > 10`, `BEGIN`, `UPDATE t SET v = 88 WHERE id > 10`), q(`COMMIT`), pipeline(`SELECT nothere`, `UPDATE t SET v = 89 WHERE id > 10`), pipeline(`UPDATE t SET v = 90 / (id - 12) WHERE id > 10`, `UPDATE t SET v = 91 WHERE id > 10`), q(`TABLE t ORDER BY id`),
		func(c *rawClient) {
			for range 3 {
				c.parse("", `UPDATE t SET v = v + 1 WHERE id > 11`).bind("", "", nil).execute("", 0).sync()
			}
			c.ready()
			c.ready()
			c.ready()
		},
		func(c *rawClient) {
			c.parse("a", `UPDATE t SET v = v + 1 WHERE id > 11`).parse("b", `DELETE FROM t WHERE v > 11`).parse("c", `SELECT 1`).sync().ready()
		},
		func(c *rawClient) { c.bind("", "a", nil).bind("", "b", nil).execute("", 0).sync().ready() }, q(`TABLE t ORDER BY id`),
	},
}

// pipeline sends statements with one Sync behind them.
func pipeline(list ...string) func(*rawClient) {
	return func(c *rawClient) {
		for _, sql := range list {
			c.parse("", sql).bind("", "", nil).describe(true, "").execute("", 0)
		}
		c.sync().ready()
	}
}

// TestI5LockedAnswersAreTheServersOwn: the agent's lock shows in no answer.
func TestI5LockedAnswersAreTheServersOwn(t *testing.T) {
	all := maps.Clone(predicates)
	for _, name := range []string{"simple autocommit", "errors have the client's positions", "block", "extended autocommit", "pipelines", "named statements and row limits", "SQL-level prepared statements"} {
		all[name] = scripts[name]
	}
	sameAnswers(t, all, locked)
}

// TestI3OldSnapshotsTravelAsRows: where a lock comes behind the snapshot, what a
// statement hit is not what its place says.
func TestI3OldSnapshotsTravelAsRows(t *testing.T) {
	r := rigWith(t, setting{predicates: []classify.Predicates{locked}}, schema...)
	c := r.client()
	bound := func(c *rawClient) { c.bind("", "up", nil).execute("", 0).sync().ready() }
	var want []event.Class
	q(`SET default_transaction_isolation = 'read uncommitted'`)(c)
	c.parse("up", `UPDATE t SET v = v + 1 WHERE id > 11`).sync().ready()
	for _, write := range []func(*rawClient){q(`UPDATE t SET v = v + 1 WHERE id < 5`), ext(`UPDATE t SET v = v + 1 WHERE id < 5`, nil, 0), pipeline(`UPDATE t SET v = v + 1 WHERE id < 5`), bound} {
		for begin, class := range map[string]event.Class{`BEGIN`: event.ClassText, `BEGIN ISOLATION LEVEL READ COMMITTED`: event.ClassText, `BEGIN ISOLATION LEVEL REPEATABLE READ`: event.ClassRows,
			`BEGIN ISOLATION LEVEL SERIALIZABLE`: event.ClassRows, `BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`: event.ClassRows, `BEGIN; SAVEPOINT a`: event.ClassText, `SELECT 1`: event.ClassText} {
			q(begin)(c)
			write(c)
			q(`COMMIT`)(c)
			want = append(want, class)
		}
	}
	q(`SET default_transaction_isolation = 'serializable'`)(c)
	for _, write := range []func(*rawClient){q(`UPDATE t SET v = v + 1 WHERE id < 5`), bound} {
		write(c)
		want = append(want, event.ClassRows)
	}
	var got []event.Class
	for _, op := range r.committed() {
		got = append(got, op.Class)
	}
	if !slices.Equal(got, want) {
		t.Errorf("carried as %v, want %v", got, want)
	}
}

// TestLocksThatAreNotGranted: the lock's error is the statement's, and nothing stays behind.
func TestLocksThatAreNotGranted(t *testing.T) {
	r := rigWith(t, setting{predicates: []classify.Predicates{locked}}, schema...)
	holder, c := dialRaw(t, upstreamAddress(r.pg), r.db), r.client()
	q(`SET lock_timeout = '50ms'`)(c)
	for _, write := range []func(*rawClient){q(`UPDATE t SET v = 1 WHERE id < 5`), q(`SELECT 1; UPDATE t SET v = 1 WHERE id < 5`), ext(`UPDATE t SET v = 1 WHERE id < 5`, nil, 0), pipeline(`SELECT 1`, `UPDATE t SET v = 1 WHERE id < 5`)} {
		q(`BEGIN`)(holder)
		q(`UPDATE t SET v = v WHERE id = 20`)(holder)
		c.take()
		write(c)
		c.said("55P03", "canceling statement due to lock timeout")
		q(`ROLLBACK`)(holder)
		write(c)
		c.said("UPDATE 4")
	}
	for _, write := range []func(*rawClient){q(`UPDATE t SET v = 1 WHERE id < 5`), ext(`UPDATE t SET v = 1 WHERE id < 5`, nil, 0)} {
		q(`SET ROLE pg_monitor`)(c)
		c.take()
		write(c)
		c.said("42501", "permission denied for table t")
		q(`RESET ROLE`)(c)
	}
	if rows := r.pg.Query(t, r.db, `SELECT mode FROM pg_locks WHERE relation = 't'::regclass`); len(rows) > 0 {
		t.Errorf("locks stay behind: %v", rows)
	}
	if ops := r.committed(); len(ops) != 4 {
		t.Errorf("%d operations, want 4", len(ops))
	}
}
