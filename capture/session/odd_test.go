package session_test

import (
	"testing"

	"github.com/opmux/opmux/wire/pgwire"
)

func (c *rawClient) closeStatement(name string) *rawClient {
	return c.send(pgwire.Close, pgwire.Target{Name: name}.Append(nil))
}

func (c *rawClient) closePortal(name string) *rawClient {
	return c.send(pgwire.Close, pgwire.Target{Portal: true, Name: name}.Append(nil))
}

// run is Parse, Bind and Execute of a statement without parameters.
func (c *rawClient) run(sql string) *rawClient {
	return c.parse("", sql).bind("", "", nil).execute("", 0)
}

// pipe runs statements in one pipeline, "|" standing for a Sync, and reads to the end of it.
func pipe(sqls ...string) func(*rawClient) {
	return func(c *rawClient) {
		syncs := 1
		for _, sql := range sqls {
			if sql == "|" {
				c.sync()
				syncs++
				continue
			}
			c.run(sql)
		}
		c.sync()
		for range syncs {
			c.ready()
		}
	}
}

// do sends messages, ends them by Sync, and reads one answer for each Sync.
func do(f func(*rawClient), more ...func(*rawClient)) func(*rawClient) {
	return func(c *rawClient) {
		f(c)
		c.sync()
		for _, g := range more {
			g(c)
			c.sync()
		}
		for range 1 + len(more) {
			c.ready()
		}
	}
}

// oddScripts are legal conversations that few drivers hold.
var oddScripts = map[string][]func(*rawClient){
	"an error before a Sync leaves the next pipeline alone": {
		pipe(`SELECT nothere`, `|`, `UPDATE t SET v = 1 WHERE id = 1`, `|`, `SELECT v FROM t WHERE id = 1`, `|`, `SELECT nothere`, `|`, `|`, `UPDATE t SET v = 2 WHERE id = 1`),
		q(`SELECT v FROM t WHERE id = 1`),
	},
	"a skipped Parse leaves the unnamed statement": {
		do(func(c *rawClient) { c.parse("", `UPDATE t SET v = v + 1 WHERE id = 1`) }),
		do(func(c *rawClient) { c.bind("", "nothere", nil).parse("", `SELECT 1`) }),
		do(func(c *rawClient) { c.bind("", "", nil).execute("", 0) }), q(`SELECT v FROM t WHERE id = 1`),
	},
	"a failed Parse drops the unnamed statement": {
		do(func(c *rawClient) { c.parse("", `UPDATE t SET v = v + 1 WHERE id = 1`) }), do(func(c *rawClient) { c.parse("", `SELEC`) }),
		do(func(c *rawClient) { c.bind("", "", nil).execute("", 0) }),
	},
	"a name used again in one pipeline": {
		do(func(c *rawClient) { c.parse("s", `SELECT 1`) }),
		do(func(c *rawClient) { c.closeStatement("s").parse("s", `UPDATE t SET v = v + 1 WHERE id = 2`) }),
		do(func(c *rawClient) { c.bind("", "s", nil).execute("", 0) }), do(func(c *rawClient) { c.bind("", "s", nil).execute("", 0) }),
		do(func(c *rawClient) {
			c.run(`DEALLOCATE s`).parse("s", `UPDATE t SET v = v + 10 WHERE id = 2`).bind("", "s", nil).execute("", 0)
		}),
		do(func(c *rawClient) {
			c.run(`DEALLOCATE ALL`).parse("s", `UPDATE t SET v = v + 10 WHERE id = 2`).bind("", "s", nil).execute("", 0)
		}),
		q(`SELECT v FROM t WHERE id = 2`),
	},
	"a name that a failed Parse did not take": {
		do(func(c *rawClient) { c.parse("s", `INSERT INTO t VALUES (700, 1) RETURNING v`) }), do(func(c *rawClient) { c.parse("s", `SELECT 1, 2`) }, func(c *rawClient) { c.describe(false, "s") }, func(c *rawClient) { c.bind("", "s", nil).execute("", 0) }),
		do(func(c *rawClient) { c.parse("", `INSERT INTO t VALUES (701, 1)`) }), do(func(c *rawClient) { c.bind("", "nothere", nil).parse("", `SELECT 1`) }, func(c *rawClient) { c.bind("", "", nil).execute("", 0) }),
		q(`BEGIN`), do(func(c *rawClient) { c.parse("", `INSERT INTO t VALUES (702, 1)`).bind("p", "", nil) }), q(`SAVEPOINT a`),
		do(func(c *rawClient) { c.parse("", `SELECT 1`).bind("p", "", nil) }, func(c *rawClient) { c.run(`ROLLBACK TO a`) }, func(c *rawClient) { c.execute("p", 0) }), q(`COMMIT`), q(`SELECT id FROM t WHERE id >= 700 ORDER BY id`),
	},
	"a COMMIT that is skipped leaves its block": {
		do(func(c *rawClient) { c.parse("s", `SELECT 1`) }), q(`BEGIN`), q(`UPDATE t SET v = 1 WHERE id = 3`),
		do(func(c *rawClient) { c.parse("s", `COMMIT`).bind("", "s", nil).execute("", 0) }), q(`UPDATE t SET v = 2 WHERE id = 3`), q(`ROLLBACK`),
		q(`BEGIN`), q(`UPDATE t SET v = 1 WHERE id = 3`), do(func(c *rawClient) { c.bind("", "", nil) }, func(c *rawClient) { c.parse("s", `COMMIT`).bind("", "s", nil).execute("", 0) }), q(`ROLLBACK`),
		do(func(c *rawClient) { c.parse("c", `COMMIT`) }), q(`BEGIN`), q(`UPDATE t SET v = 1 WHERE id = 3`), do(func(c *rawClient) { c.bind("p", "s", nil, "too", "many").bind("", "c", nil).execute("", 0) }), q(`ROLLBACK`), q(`SELECT v FROM t WHERE id = 3`),
		q(`BEGIN`), q(`SET LOCAL synchronous_commit = off`), q(`INSERT INTO s (v) VALUES ('x')`), do(func(c *rawClient) { c.parse("s", `COMMIT`).bind("", "s", nil).execute("", 0) }), q(`UPDATE t SET v = 2 WHERE id = 3`), q(`ROLLBACK`),
		q(`CREATE TABLE late (id int PRIMARY KEY, of int REFERENCES t DEFERRABLE INITIALLY DEFERRED)`), q(`BEGIN`), q(`INSERT INTO late VALUES (1, 1)`), do(func(c *rawClient) { c.parse("s", `COMMIT`).bind("", "s", nil).execute("", 0) }), q(`ROLLBACK`),
		q(`BEGIN`), q(`INSERT INTO late VALUES (1, 1)`), do(func(c *rawClient) { c.bind("p", "s", nil, "too", "many").bind("", "c", nil).execute("", 0) }), q(`ROLLBACK`), q(`SELECT v FROM t WHERE id = 3`),
	},
	"a write behind COMMIT in one pipeline": {
		pipe(`BEGIN`), pipe(`UPDATE t SET v = 1 WHERE id = 3`, `COMMIT`, `UPDATE t SET v = 2 WHERE id = 3`), q(`SELECT v FROM t WHERE id = 3`),
		pipe(`BEGIN`, `UPDATE t SET v = 3 WHERE id = 3`, `COMMIT`, `UPDATE t SET v = 4 WHERE id = 3`, `BEGIN`, `UPDATE t SET v = 5 WHERE id = 3`, `ROLLBACK`, `UPDATE t SET v = v + 1 WHERE id = 3`),
		pipe(`BEGIN`), pipe(`UPDATE t SET v = 6 WHERE id = 3`, `ROLLBACK`, `UPDATE t SET v = v + 1 WHERE id = 3`), q(`SELECT v FROM t WHERE id = 3`),
	},
	"AND CHAIN": {
		pipe(`BEGIN`), pipe(`UPDATE t SET v = 1 WHERE id = 4`, `COMMIT AND CHAIN`, `UPDATE t SET v = 2 WHERE id = 4`), pipe(`UPDATE t SET v = 3 WHERE id = 4`, `COMMIT`),
		pipe(`BEGIN`, `UPDATE t SET v = 4 WHERE id = 4`, `ROLLBACK AND CHAIN`, `UPDATE t SET v = v + 10 WHERE id = 4`), pipe(`COMMIT`),
		pipe(`BEGIN`), pipe(`UPDATE t SET v = 5 WHERE id = 4`), pipe(`SELECT nothere`), pipe(`COMMIT AND CHAIN`), pipe(`UPDATE t SET v = v + 10 WHERE id = 4`), pipe(`COMMIT`),
		q(`BEGIN`), q(`UPDATE t SET v = 5 WHERE id = 4`), q(`SELECT nothere`), q(`COMMIT AND CHAIN`), q(`UPDATE t SET v = v + 10 WHERE id = 4`), q(`COMMIT`),
		q(`BEGIN; UPDATE t SET v = 6 WHERE id = 4; ROLLBACK AND CHAIN; UPDATE t SET v = v + 10 WHERE id = 4`), q(`COMMIT`), q(`SELECT v FROM t WHERE id = 4`),
		q(`COMMIT AND CHAIN`), q(`UPDATE t SET v = 5 WHERE id = 4; COMMIT AND CHAIN`), q(`SELECT v FROM t WHERE id = 4`),
	},
	"a block that has failed": {
		pipe(`BEGIN`, `UPDATE t SET v = 1 WHERE id = 5`), pipe(`SELECT nothere`), pipe(`COMMIT`, `UPDATE t SET v = v + 1 WHERE id = 5`), q(`SELECT v FROM t WHERE id = 5`),
		pipe(`BEGIN`, `SAVEPOINT a`, `UPDATE t SET v = 1 WHERE id = 5`), pipe(`SELECT nothere`), pipe(`ROLLBACK TO a`, `UPDATE t SET v = v + 1 WHERE id = 5`), pipe(`COMMIT`), q(`SELECT v FROM t WHERE id = 5`),
		do(func(c *rawClient) { c.parse("u", `UPDATE t SET v = v + 1 WHERE id = 5`).parse("rb", `ROLLBACK TO a`) }),
		pipe(`BEGIN`, `SAVEPOINT a`, `SET LOCAL DateStyle = 'SQL'`), pipe(`SELECT nothere`),
		do(func(c *rawClient) { c.bind("", "rb", nil).execute("", 0).bind("", "u", nil).execute("", 0) }), pipe(`COMMIT`), q(`SELECT v FROM t WHERE id = 5`),
		pipe(`BEGIN`), pipe(`SET LOCAL DateStyle = 'SQL'`, `SELECT nothere`), pipe(`ROLLBACK`), q(`SELECT v FROM t WHERE id = 5`),
		pipe(`BEGIN`), q(`SET LOCAL DateStyle = 'SQL'`), q(`SELECT nothere`), pipe(`ROLLBACK`), pipe(`UPDATE t SET v = v + 1 WHERE id = 5`),
	},
	"settings in a pipeline": {
		q(`CREATE SCHEMA other`), q(`CREATE TABLE other.t (id int PRIMARY KEY, v int)`), q(`INSERT INTO other.t VALUES (1, 1)`),
		pipe(`SET search_path = other`, `UPDATE t SET v = 2 WHERE id = 1`, `SELECT v FROM t WHERE id = 1`),
		pipe(`SET search_path = public`, `|`, `UPDATE t SET v = 3 WHERE id = 1`), q(`SELECT v FROM t WHERE id = 1`), q(`SELECT v FROM other.t WHERE id = 1`),
		pipe(`BEGIN`, `UPDATE t SET v = 4 WHERE id = 1`, `SET LOCAL search_path = other`, `UPDATE t SET v = 5 WHERE id = 1`, `COMMIT`), q(`SELECT v FROM t WHERE id = 1`), q(`SELECT v FROM other.t WHERE id = 1`),
		pipe(`BEGIN`, `SAVEPOINT a`, `SET LOCAL search_path = other`, `ROLLBACK TO a`, `UPDATE t SET v = 6 WHERE id = 1`, `COMMIT`), q(`SELECT v FROM t WHERE id = 1`),
		q(`DROP SCHEMA other CASCADE`),
	},
	"isolation after settings": {
		q(`SET TimeZone = 'UTC'`), pipe(`BEGIN ISOLATION LEVEL SERIALIZABLE`), pipe(`UPDATE t SET v = 1 WHERE id = 6`), pipe(`COMMIT`),
		q(`BEGIN`), q(`SET LOCAL lock_timeout = 5000`), q(`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`), q(`UPDATE t SET v = 2 WHERE id = 6`), q(`COMMIT`),
		q(`BEGIN READ WRITE`), q(`SET TRANSACTION READ WRITE`), q(`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`), q(`SHOW transaction_isolation`), q(`ROLLBACK`),
		pipe(`BEGIN`, `SET LOCAL lock_timeout = 5000`, `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`, `UPDATE t SET v = 3 WHERE id = 6`, `COMMIT`),
		q(`SET TimeZone = 'UTC'`), do(func(c *rawClient) { c.run(`VACUUM t`) }), q(`SET TimeZone = 'UTC'`), pipe(`CREATE INDEX CONCURRENTLY ci ON t (v)`), pipe(`DROP INDEX CONCURRENTLY ci`),
	},
	"transaction control in an implicit transaction": {
		q(`UPDATE t SET v = 1 WHERE id = 7; COMMIT`), q(`UPDATE t SET v = 2 WHERE id = 7; ROLLBACK`), q(`UPDATE t SET v = 3 WHERE id = 7; SAVEPOINT a`), q(`SELECT v FROM t WHERE id = 7`),
		q(`UPDATE t SET v = 4 WHERE id = 7; BEGIN; UPDATE t SET v = 5 WHERE id = 8`), q(`ROLLBACK`), q(`SELECT v FROM t WHERE id = 7`),
		q(`UPDATE t SET v = 4 WHERE id = 7; COMMIT; UPDATE t SET v = 5 WHERE id = 7; SELECT nothere`), q(`SELECT v FROM t WHERE id = 7`),
		q(`BEGIN; UPDATE t SET v = 6 WHERE id = 7; COMMIT; BEGIN; UPDATE t SET v = 7 WHERE id = 7; ROLLBACK; UPDATE t SET v = v + 10 WHERE id = 7`), q(`SELECT v FROM t WHERE id = 7`),
		q(`UPDATE t SET v = 4 WHERE id = 7; BEGIN ISOLATION LEVEL SERIALIZABLE`), q(`SELECT v FROM t WHERE id = 7`),
		q(`RELEASE a`), q(`ROLLBACK TO a`), q(`SAVEPOINT a`), q(`UPDATE t SET v = 8 WHERE id = 7; VACUUM t`), q(`SELECT v FROM t WHERE id = 7`),
		q(`UPDATE t SET v = 8 WHERE id = 7; RELEASE a`), q(`UPDATE t SET v = 8 WHERE id = 7; ROLLBACK TO a`),
		q(`SHOW transaction_isolation; BEGIN`), q(`UPDATE t SET v = 12 WHERE id = 7`), q(`COMMIT`), q(`UPDATE t SET v = v + 1 WHERE id = 7; BEGIN`), q(`ROLLBACK`), q(`UPDATE t SET v = v + 1 WHERE id = 7`), q(`SELECT v FROM t WHERE id = 7`),
		q(`SELECT 1; COMMIT; SAVEPOINT a`), q(`UPDATE t SET v = 9 WHERE id = 7; COMMIT; SAVEPOINT a; SELECT 1`), q(`ROLLBACK TO a; SELECT 2`), q(`RELEASE a; UPDATE t SET v = 10 WHERE id = 7`), q(`SELECT v FROM t WHERE id = 7`),
	},
	"transaction control in a pipeline": {
		pipe(`BEGIN`, `SAVEPOINT a`, `UPDATE t SET v = 5 WHERE id = 7`, `ROLLBACK TO a`, `CREATE INDEX ON t (v)`, `ROLLBACK`),
		pipe(`UPDATE t SET v = 1 WHERE id = 7`, `COMMIT`), pipe(`UPDATE t SET v = 2 WHERE id = 7`, `ROLLBACK`), q(`SELECT v FROM t WHERE id = 7`),
		pipe(`UPDATE t SET v = 4 WHERE id = 7`, `BEGIN`, `UPDATE t SET v = 5 WHERE id = 7`), pipe(`ROLLBACK`), q(`SELECT v FROM t WHERE id = 7`),
		pipe(`UPDATE t SET v = 4 WHERE id = 7`, `SELECT nothere`, `BEGIN`), q(`SELECT v FROM t WHERE id = 7`),
		pipe(`UPDATE t SET v = 4 WHERE id = 7`, `BEGIN ISOLATION LEVEL SERIALIZABLE`), q(`SELECT v FROM t WHERE id = 7`),
		pipe(`INSERT INTO child VALUES (20, 999)`, `UPDATE t SET v = 9 WHERE id = 7`), q(`SELECT v FROM t WHERE id = 7`),
	},
	"row limits": {
		do(func(c *rawClient) {
			c.parse("", `INSERT INTO t VALUES (800, 1) RETURNING id`).bind("", "", nil).execute("", 1)
		}),
		do(func(c *rawClient) {
			c.parse("", `INSERT INTO t VALUES (801, 1), (802, 1) RETURNING id`).bind("", "", nil).execute("", 1)
		}),
		pipe(`BEGIN`), do(func(c *rawClient) {
			c.parse("", `INSERT INTO t VALUES (803, 1), (804, 1) RETURNING id`).bind("p", "", nil).execute("p", 1)
		}),
		q(`UPDATE t SET v = 2 WHERE id = 803`), do(func(c *rawClient) { c.execute("p", 1) }), do(func(c *rawClient) { c.execute("p", 1) }), do(func(c *rawClient) { c.execute("p", 0) }),
		pipe(`COMMIT`), q(`SELECT id, v FROM t WHERE id >= 800 ORDER BY id`),
		pipe(`BEGIN`), do(func(c *rawClient) {
			c.parse("", `UPDATE t SET v = v + 1 WHERE id > 800 RETURNING id`).bind("", "", nil).execute("", 1)
		}), do(func(c *rawClient) { c.execute("", 1) }), q(`SELECT 1`), do(func(c *rawClient) { c.execute("", 1) }), pipe(`ROLLBACK`),
		pipe(`BEGIN`), do(func(c *rawClient) {
			c.parse("", `UPDATE t SET v = v + 1 WHERE id > 800 RETURNING id`).bind("", "", nil).execute("", 1).parse("", `SELECT v FROM t WHERE id = 801`).bind("", "", nil).execute("", 0)
		}), pipe(`COMMIT`), q(`SELECT id, v FROM t WHERE id >= 800 ORDER BY id`),
		pipe(`BEGIN`, `SAVEPOINT a`), do(func(c *rawClient) {
			c.parse("", `UPDATE t SET v = v + 1 WHERE id > 800 RETURNING id`).bind("p", "", nil).execute("p", 1)
		}), pipe(`ROLLBACK TO a`), pipe(`COMMIT`), q(`SELECT id, v FROM t WHERE id >= 800 ORDER BY id`),
		do(func(c *rawClient) {
			c.parse("", `UPDATE t SET v = 1 WHERE id > 800`).bind("", "", nil).execute("", 0).execute("", 0)
		}),
		do(func(c *rawClient) {
			c.parse("", `UPDATE t SET v = 1 WHERE id = 800`).bind("", "", nil).execute("", 0).execute("", 0)
		}),
		do(func(c *rawClient) {
			c.parse("", `UPDATE t SET v = 1 WHERE id > 800 RETURNING id`).bind("", "", nil).execute("", 0).execute("", 0)
		}),
		func(c *rawClient) { // in one packet with what ends before it
			c.query(`RESET statement_timeout`).parse("", `UPDATE t SET v = v + 1 WHERE id > 800 RETURNING id`).bind("", "", nil).execute("", 1).execute("", 1).sync().ready()
			c.ready()
		}, func(c *rawClient) {
			c.query(`RESET statement_timeout`).parse("", `UPDATE t SET v = v + 1 WHERE id > 800 RETURNING id`).bind("", "", nil).execute("", 1).sync().ready()
			c.ready()
		}, q(`SELECT id, v FROM t WHERE id >= 800 ORDER BY id`),
	},
	"portals outlive a savepoint": {
		do(func(c *rawClient) {
			c.parse("w", `UPDATE t SET v = v + 1 WHERE id < 4 RETURNING id`).parse("r", `SELECT 1`)
		}),
		pipe(`BEGIN`), do(func(c *rawClient) { c.bind("p", "w", nil) }), pipe(`SAVEPOINT a`), do(func(c *rawClient) { c.bind("x", "nothere", nil).closePortal("p").bind("p", "r", nil) }),
		pipe(`ROLLBACK TO a`), do(func(c *rawClient) { c.execute("p", 0) }), pipe(`COMMIT`), q(`SELECT id, v FROM t WHERE id < 4 ORDER BY id`),
		pipe(`BEGIN`), do(func(c *rawClient) { c.bind("p", "w", nil) }), pipe(`SAVEPOINT a`), do(func(c *rawClient) { c.execute("p", 1) }),
		pipe(`ROLLBACK TO a`), pipe(`COMMIT`), q(`SELECT id, v FROM t WHERE id < 4 ORDER BY id`),
		do(func(c *rawClient) {
			c.bind("p", "w", nil).describe(true, "p").describe(false, "w").execute("p", 0).closePortal("p").execute("p", 0)
		}),
	},
	"statements behind a COMMIT that fails": {
		q(`CREATE TEMP TABLE one (id int PRIMARY KEY)`), q(`CREATE TEMP TABLE many (one int REFERENCES one DEFERRABLE INITIALLY DEFERRED)`),
		q(`BEGIN; INSERT INTO many VALUES (1); COMMIT; UPDATE t SET v = 77 WHERE id = 1; SELECT 1`), q(`SELECT v FROM t WHERE id = 1`),
	},
	"EXECUTE by the extended protocol": {
		q(`PREPARE u (int) AS UPDATE t SET v = v + 1 WHERE id < $1`), q(`PREPARE ur (int) AS UPDATE t SET v = v + 1 WHERE id < $1 RETURNING id, w`),
		ext(`EXECUTE u (4)`, []int16{1}, 0), ext(`EXECUTE u (4)`, nil, 1), ext(`EXECUTE ur (4)`, []int16{1}, 0), ext(`EXECUTE ur (4)`, nil, 2), ext(`EXECUTE ur (4)`, []int16{1, 0}, 0),
		do(func(c *rawClient) { c.parse("e", `EXECUTE ur (3)`).describe(false, "e") }), do(func(c *rawClient) { c.bind("", "e", []int16{1}).execute("", 0) }),
		q(`EXPLAIN (COSTS OFF) EXECUTE ur (3)`), q(`SELECT id, v FROM t WHERE id < 5 ORDER BY id`),
		q(`DEALLOCATE ur`), q(`PREPARE ur (int) AS UPDATE t SET v = v + 1 WHERE id < $1 RETURNING id, v, w, v + 1`),
		do(func(c *rawClient) { c.bind("", "e", []int16{1}).execute("", 0) }), do(func(c *rawClient) { c.bind("", "e", []int16{1}).describe(true, "").execute("", 0) }),
		do(func(c *rawClient) { c.describe(false, "ur").bind("", "ur", []int16{1}, "3").execute("", 0) }),
		q(`SELECT id, v FROM t WHERE id < 5 ORDER BY id`),
	},
	"a Query behind an unfinished pipeline": {
		func(c *rawClient) { c.parse("k", `SELECT 1`).query(`SELECT 2`).ready() }, func(c *rawClient) { c.run(`UPDATE t SET v = 1 WHERE id = 9`).query(`SELECT 2`).ready() },
		func(c *rawClient) { c.run(`SELECT 3`).query(`UPDATE t SET v = v + 1 WHERE id = 9`).ready() }, q(`SELECT v FROM t WHERE id = 9`),
		func(c *rawClient) {
			c.run(`SELECT nothere`).query(`UPDATE t SET v = v + 1 WHERE id = 9`).sync().ready()
		}, q(`SELECT v FROM t WHERE id = 9`),
		func(c *rawClient) {
			c.run(`INSERT INTO t VALUES (9, 1)`).query(`UPDATE t SET v = v + 1 WHERE id = 9`).sync().ready()
		}, q(`SELECT v FROM t WHERE id = 9`),
		func(c *rawClient) { c.run(`UPDATE t SET v = 1 WHERE id = 9`).query(``).ready() }, func(c *rawClient) { c.run(`INSERT INTO child VALUES (9, 99)`).query(`-- nothing`).ready() },
	},
	"Flush instead of Sync": {
		func(c *rawClient) {
			c.run(`UPDATE t SET v = 1 WHERE id = 10`).send(pgwire.Flush, nil).until(pgwire.CommandComplete)
			c.run(`UPDATE t SET v = 2 WHERE id = 10`).send(pgwire.Flush, nil).until(pgwire.CommandComplete)
			c.sync().ready()
		},
		func(c *rawClient) {
			c.run(`BEGIN`).send(pgwire.Flush, nil).until(pgwire.CommandComplete)
			c.run(`UPDATE t SET v = 3 WHERE id = 10`).send(pgwire.Flush, nil).until(pgwire.CommandComplete)
			c.run(`COMMIT`).send(pgwire.Flush, nil).until(pgwire.CommandComplete)
			c.sync().ready()
		}, q(`SELECT v FROM t WHERE id = 10`),
		func(c *rawClient) { c.sync().sync().sync().ready(); c.ready(); c.ready() },
	},
	"COPY": {
		func(c *rawClient) {
			c.query(`CREATE TEMP TABLE ct (a int); COPY ct FROM STDIN; SELECT a FROM ct`).until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("1\n")).send(pgwire.CopyDone, nil).ready()
		},
		func(c *rawClient) { // libpq sends Sync at once, which the server ignores while it copies
			c.run(`COPY ct FROM STDIN`).sync().until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("2\n")).send(pgwire.CopyDone, nil).sync().ready()
		},
		func(c *rawClient) {
			c.run(`COPY t (id) FROM STDIN`).sync().until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("900\n")).send(pgwire.CopyDone, nil).sync().ready()
		},
		func(c *rawClient) {
			c.run(`COPY t (id) FROM STDIN`).sync().until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("901\n")).send(pgwire.CopyFail, append([]byte("no"), 0)).sync().ready()
		},
		func(c *rawClient) {
			c.query(`COPY t (id) FROM STDIN`).until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("901\n")).send(pgwire.CopyFail, append([]byte("no"), 0)).ready()
		},
		func(c *rawClient) {
			c.query(`UPDATE t SET v = 1 WHERE id = 1; COPY t (id) FROM STDIN; COPY ct FROM STDIN; COPY t (id) FROM STDIN`).until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("902\n")).send(pgwire.CopyDone, nil).until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("902\n")).send(pgwire.CopyDone, nil).until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("x\n")).send(pgwire.CopyDone, nil).ready()
		},
		func(c *rawClient) { c.run(`COPY nothere FROM STDIN`).sync().ready() }, q(`COPY nothere FROM STDIN`),
		func(c *rawClient) {
			c.query(`COPY t (id) FROM STDIN`).until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("bad\n")).until(pgwire.ErrorResponse)
			c.ready()
			c.send(pgwire.CopyData, []byte("903\n")).send(pgwire.CopyDone, nil).query(`SELECT count(*) FROM t WHERE id >= 900`).ready()
		},
		pipe(`BEGIN`), func(c *rawClient) {
			c.run(`COPY t (id) FROM STDIN`).sync().until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("904\n")).send(pgwire.CopyDone, nil).sync().ready()
		}, pipe(`COMMIT`), copyOut(`COPY t (id) TO STDOUT`), q(`COPY ct TO STDOUT; SELECT 1`), pipe(`COPY t (id) TO STDOUT`, `SELECT 1`),
	},
	"temporary tables hide and uncover": {
		q(`CREATE TEMP TABLE t (id int PRIMARY KEY, v int)`), do(func(c *rawClient) { c.parse("i", `INSERT INTO t VALUES (1000, 1)`) }), do(func(c *rawClient) { c.bind("", "i", nil).execute("", 0) }),
		q(`PREPARE i2 AS INSERT INTO t VALUES (1001, 1)`), q(`EXECUTE i2`), q(`DROP TABLE pg_temp.t`), do(func(c *rawClient) { c.bind("", "i", nil).execute("", 0) }), q(`SELECT id FROM t WHERE id >= 1000`),
		q(`BEGIN`), q(`CREATE TEMP TABLE t (id int PRIMARY KEY, v int) ON COMMIT DROP`), q(`INSERT INTO t VALUES (1, 1)`), q(`COMMIT`), q(`UPDATE t SET v = 5 WHERE id = 1`), q(`SELECT v FROM t WHERE id = 1`),
	},
	"DISCARD": {
		do(func(c *rawClient) { c.parse("u", `UPDATE t SET v = v + 1 WHERE id = 11`) }), do(func(c *rawClient) { c.bind("", "u", nil).execute("", 0) }), pipe(`DISCARD ALL`), do(func(c *rawClient) { c.bind("", "u", nil).execute("", 0) }),
		pipe(`UPDATE t SET v = v + 1 WHERE id = 11`), q(`SET statement_timeout = 10000`), pipe(`DISCARD ALL`, `|`, `UPDATE t SET v = v + 1 WHERE id = 11`), pipe(`DEALLOCATE ALL`, `UPDATE t SET v = v + 1 WHERE id = 11`), q(`SELECT v FROM t WHERE id = 11`), q(`DISCARD PLANS`), q(`DISCARD SEQUENCES`),
	},
	"SQL reaches portals of the protocol": {
		pipe(`BEGIN`), do(func(c *rawClient) { c.parse("", `SELECT id FROM t ORDER BY id`).bind("p", "", nil) }), q(`FETCH 2 FROM p`), q(`MOVE 1 FROM p`), do(func(c *rawClient) { c.execute("p", 1) }), q(`CLOSE p`), pipe(`COMMIT`),
		pipe(`BEGIN`, `DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id`), do(func(c *rawClient) { c.execute("c", 2) }), q(`FETCH 1 FROM c`), pipe(`COMMIT`),
		pipe(`BEGIN`), do(func(c *rawClient) {
			c.parse("", `UPDATE t SET v = v + 1 WHERE id < 4 RETURNING id`).bind("p", "", nil).execute("p", 1)
		}), q(`CLOSE p`), pipe(`COMMIT`), q(`SELECT v FROM t WHERE id < 4 ORDER BY id`),
	},
	"failed blocks and several statements": {
		q(`BEGIN`), q(`SELECT nothere`), q(`SELECT 1; ROLLBACK`), q(`SELECT 1; SELECT 2`), q(`ROLLBACK; UPDATE t SET v = 1 WHERE id = 13; SELECT v FROM t WHERE id = 13`),
		q(`BEGIN; SAVEPOINT a; SELECT nothere`), q(`ROLLBACK TO a; UPDATE t SET v = 2 WHERE id = 13`), q(`COMMIT; SELECT v FROM t WHERE id = 13`),
		q(`BEGIN`), q(`INSERT INTO child VALUES (31, 999); COMMIT; UPDATE t SET v = 3 WHERE id = 13`), q(`SELECT v FROM t WHERE id = 13`),
	},
	"positions behind comments": {
		q(`/* a */ UPDATE t SET v = nothere WHERE v > 1`), ext(`  -- x
		UPDATE t SET v = nothere WHERE v > 1`, nil, 0), q(`SELECT 1; /* ä */ UPDATE t SET v = nothere WHERE v > 1`), ext(` UPDATE t SET v = v + 1 WHERE v > 1000000 -- end`, nil, 0), q(`UPDATE t SET v = v + 1 WHERE v > 1000000 -- end`),
	},
	"PREPARE in a pipeline": {
		pipe(`PREPARE pp (int) AS UPDATE t SET v = v + 1 WHERE id = $1`, `EXECUTE pp (14)`, `DEALLOCATE pp`, `EXECUTE pp (14)`), q(`SELECT v FROM t WHERE id = 14`),
		q(`PREPARE pp (int) AS UPDATE t SET v = v + 1 WHERE id = $1; EXECUTE pp (14); EXECUTE pp (14)`), q(`EXECUTE nothere`), pipe(`EXECUTE nothere`), q(`SELECT v FROM t WHERE id = 14`),
	},
	"roles": {
		q(`SET ROLE pg_read_all_data`), q(`UPDATE t SET v = 1 WHERE id = 15`), pipe(`UPDATE t SET v = 1 WHERE id = 15`), q(`RESET ROLE`), q(`SET SESSION AUTHORIZATION pg_read_all_data`), q(`SELECT current_user`), q(`RESET SESSION AUTHORIZATION`), q(`UPDATE t SET v = 2 WHERE id = 15`),
	},
	"LISTEN and NOTIFY": {q(`LISTEN ch`), q(`NOTIFY ch, 'a'`), q(`BEGIN`), q(`NOTIFY ch, 'b'`), q(`UPDATE t SET v = 1 WHERE id = 12`), q(`COMMIT`), pipe(`NOTIFY ch, 'c'`, `SELECT 1`), q(`UNLISTEN *`)},
}

// TestI5OddConversations: legal uses of the protocol that drivers seldom make are
// answered as the server answers them.
func TestI5OddConversations(t *testing.T) { sameAnswers(t, oddScripts) }
