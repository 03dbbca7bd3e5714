package session_test

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// schema is what the scripts of this file work on.
var schema = []string{
	`CREATE TABLE t (id int PRIMARY KEY, v int, w text DEFAULT 'w')`,
	`CREATE TABLE s (id serial PRIMARY KEY, v text)`,
	`CREATE TABLE drawn (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text UNIQUE, at timestamptz DEFAULT now(), n serial, u int CHECK (u > 0))`,
	`CREATE TABLE parent (id int PRIMARY KEY)`,
	`CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`,
	`INSERT INTO t SELECT g, g * 10, 'row' || g FROM generate_series(1, 20) g`,
	`INSERT INTO parent VALUES (1)`,
}

// scripts are conversations; each step sends messages and reads up to ReadyForQuery.
var scripts = map[string][]func(*rawClient){
	"simple autocommit": {
		q(`UPDATE t SET v = 1 WHERE id = 1`), q(`UPDATE t SET v = 1 WHERE id = 99`), q(`INSERT INTO t VALUES (100, 1)`),
		q(`INSERT INTO t VALUES (100, 1)`), q(`INSERT INTO t VALUES (101, 1) RETURNING *`), q(`DELETE FROM t WHERE id = 100`),
		q(`INSERT INTO s (v) VALUES ('a') RETURNING id`), q(`INSERT INTO s (v) SELECT w FROM t WHERE id < 4`),
		q(`UPDATE t SET v = v + 1 WHERE id < 4`), q(`DELETE FROM t WHERE v > 100 RETURNING id, w`), q(`SELECT * FROM t ORDER BY id`), q(``), q(`-- nothing`),
	},
	"errors have the client's positions": {
		q(`SELECT nothere FROM t`), q(`INSERT INTO t VALUES (1, nothere)`), q(`UPDATE t SET v = nothere WHERE v > 3`),
		q(`UPDATE nothere SET v = 1`), q(`SELEC 1`), q(`INSERT INTO t (id) VALUES (200) RETURNING nothere`),
		q(`SELECT 1; SELECT nothere; SELECT 2`), q(`INSERT INTO t VALUES (201, 1); SELECT nothere; SELECT 2`),
	},
	"block": {
		q(`BEGIN`), q(`INSERT INTO t VALUES (300, 1)`), q(`SELECT v FROM t WHERE id = 300`), q(`COMMIT`),
		q(`BEGIN`), q(`UPDATE t SET v = 2 WHERE id = 300`), q(`ROLLBACK`),
		q(`BEGIN`), q(`INSERT INTO t VALUES (300, 1)`), q(`SELECT 1`), q(`COMMIT`), q(`SELECT v FROM t WHERE id = 300`),
		q(`COMMIT`), q(`ROLLBACK`), q(`BEGIN`), q(`BEGIN`), q(`UPDATE t SET v = 5 WHERE id = 2`), q(`COMMIT AND CHAIN`), q(`UPDATE t SET v = 6 WHERE id = 2`), q(`COMMIT`),
	},
	"savepoints": {
		q(`BEGIN`), q(`SAVEPOINT a`), q(`UPDATE t SET v = 7 WHERE id = 3`), q(`ROLLBACK TO a`), q(`UPDATE t SET v = 8 WHERE id = 4`),
		q(`SAVEPOINT b`), q(`INSERT INTO t VALUES (4, 4)`), q(`SELECT 1`), q(`ROLLBACK TO b`), q(`RELEASE b`), q(`COMMIT`), q(`SELECT id, v FROM t WHERE id IN (3, 4) ORDER BY id`),
	},
	"a table that is made again behind a savepoint": {
		q(`BEGIN`), q(`SAVEPOINT a`), q(`CREATE TABLE again (a int UNIQUE)`), q(`INSERT INTO again VALUES (1)`), q(`INSERT INTO again VALUES (1)`), q(`ROLLBACK TO a`),
		q(`CREATE TABLE again (a int UNIQUE)`), q(`INSERT INTO again VALUES (1)`), q(`INSERT INTO again VALUES (1)`), q(`ROLLBACK`),
	},
	"reads in an encoding of single bytes": {
		q("SET client_encoding = LATIN1"), q("SELECT 'caf\xe9', length('\xc3\xa9') -- \xfc"), q("SELECT v FROM t WHERE w = 'caf\xe9'; SELECT '\xe9' AS x; SELECT 1"), ext("SELECT $1::text || '\xe9', $1 = '\xe9'", nil, 0, "\xe9"),
		q("SELECT '\xe9', nothere"), q("SELEC '\xe9'"), q("CREATE TEMP TABLE own (v text)"), q("INSERT INTO own VALUES ('\xe9')"), q("COPY own TO STDOUT /* \xe9 */"), q("SELECT v FROM own"),
		q("BEGIN"), q("SELECT '\xe9'"), q("COMMIT"), q("SELECT 1/0 AS \"x\"; SELECT '\xe9'"),
		q("SET client_encoding = WIN1252"), q("SELECT '\x80', length('\x80')"), q("SET client_encoding = UTF8"), q("SELECT '\xe9'"), q("SELECT 'é'"),
	},
	"what was drawn last": {
		q(`SELECT nextval('s_id_seq')`), q(`CREATE TEMP TABLE passing (n int)`), q(`SELECT lastval() = currval('s_id_seq')`),
	},
	"several statements in one Query": {
		q(`INSERT INTO t VALUES (400, 1); UPDATE t SET v = 2 WHERE id = 400; SELECT v FROM t WHERE id = 400`),
		q(`INSERT INTO t VALUES (401, 1); INSERT INTO t VALUES (401, 1)`), q(`SELECT * FROM t WHERE id = 401`),
		q(`BEGIN; INSERT INTO t VALUES (402, 1); COMMIT`), q(`BEGIN; INSERT INTO t VALUES (403, 1)`), q(`ROLLBACK; INSERT INTO t VALUES (404, 1)`),
		q(`SELECT id FROM t WHERE id > 399 ORDER BY id`), q(`SELECT 1; SELECT 2`), q(`BEGIN; SELECT 1; ROLLBACK`),
	},
	"deferred constraint": {
		q(`INSERT INTO child VALUES (1, 77)`), q(`BEGIN`), q(`INSERT INTO child VALUES (2, 77)`), q(`COMMIT`), q(`SELECT 1`),
		q(`BEGIN`), q(`INSERT INTO child VALUES (3, 78)`), q(`INSERT INTO parent VALUES (78)`), q(`COMMIT`), q(`SELECT * FROM child`),
	},
	"copy": {
		copyIn(`COPY t FROM STDIN`, "500\t1\tx\n501\t2\ty\n"), copyIn(`COPY t FROM STDIN`, "502\tx\n"), q(`SELECT count(*) FROM t`),
		q(`BEGIN`), copyIn(`COPY t (id, v) FROM STDIN WITH (FORMAT csv)`, "503,1\n"), q(`COMMIT`), copyOut(`COPY (SELECT id FROM t WHERE id > 499 ORDER BY id) TO STDOUT`),
	},
	"copy with drawn defaults": {
		copyIn(`COPY drawn (v) FROM STDIN`, "a\nb\\tc\n\\N\nlast"), q(`SELECT id, v, n, at = now() FROM drawn ORDER BY id`), q(`SELECT currval('drawn_id_seq'), lastval()`),
		copyIn(`COPY drawn (v) FROM STDIN`, ""), copyFails(`COPY drawn (v, u) FROM STDIN`, "d\t1\ne\n"), copyFails(`COPY drawn (v, u) FROM STDIN`, "d\t1\nd\t2\n"),
		copyFails(`COPY drawn (u, at) FROM STDIN`, "1\t2026-01-01\n2\t2026-01-01\n0\t2026-01-01\n4\t2026-01-01\n"), copyFails(`COPY drawn (u) FROM STDIN`, "1\nx\n"), copyFails(`COPY drawn (v, u) FROM STDIN`, "d\t1\t2\n"),
		copyIn(`COPY drawn (u, v) FROM STDIN WITH (FORMAT csv, HEADER)`, "u,v\n3,\"a,\n\"\"b\"\n4,\n5,\"\"\n"), copyFails(`COPY drawn (u, v) FROM STDIN CSV`, "3,\"a\nb\"\nx,1\n"),
		copyIn(`COPY drawn (v) FROM STDIN`, "m\r\nn\r\n"), copyFails(`COPY drawn (v) FROM STDIN`, "p\nq\rr\n"), copyIn(`COPY drawn (v) FROM STDIN`, "s\n\\.\nignored\n"), copyIn(`COPY drawn (v) FROM STDIN CSV`, "t\n\\.\nignored\n"),
		copyIn(`COPY drawn (v) FROM STDIN WITH (DELIMITER 'X', NULL '')`, "\nx\n"), copyIn(`COPY drawn (v) FROM STDIN WITH (NULL '1', DELIMITER '|')`, "1\n"),
		q(`COPY drawn (nothere) FROM STDIN`), copyIn(`COPY drawn (v) FROM STDIN BINARY`, "1\n"), copyIn(`COPY drawn (v) FROM STDIN BINARY`, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x03bin\x00\x01\xff\xff\xff\xff\xff\xff"),
		q(`SELECT id, v, n, u, at IS NULL FROM drawn ORDER BY id`), q(`BEGIN`), copyIn(`COPY drawn (v) FROM STDIN`, "z1\n"), q(`SAVEPOINT a`), copyIn(`COPY drawn (v) FROM STDIN`, "z1\n"), q(`ROLLBACK TO a`),
		copyIn(`COPY drawn (v) FROM STDIN`, "z2\nz3\n"), q(`SELECT id, v, n, at = now() FROM drawn WHERE v LIKE 'z%' ORDER BY id`), q(`COMMIT`),
		func(c *rawClient) {
			c.query(`COPY drawn (v) FROM STDIN`).until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("half")).send(pgwire.CopyFail, append([]byte("no"), 0)).ready()
		},
		func(c *rawClient) {
			c.query(`INSERT INTO t (id) VALUES (900); COPY drawn (v) FROM STDIN; COPY drawn (u) FROM STDIN`).until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("y")).send(pgwire.CopyData, []byte("1\n")).send(pgwire.CopyDone, nil).until(pgwire.CopyInResponse)
			c.send(pgwire.CopyData, []byte("5\n")).send(pgwire.CopyDone, nil).ready()
		},
		copyGivesUp(`COPY drawn (v, u) FROM STDIN`, "ga\t1\ngb\t1\nhal"), copyGivesUp(`COPY drawn (v, u) FROM STDIN`, "gc\t1\ngd\tx\n"), copyGivesUp(`COPY drawn (v) FROM STDIN BINARY`, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x03bi2\x00"),
		copyIn(`COPY drawn (v, u) FROM STDIN`, pieces(25000, -1)), copyFails(`COPY drawn (v, u) FROM STDIN`, pieces(50000, 24321)), q(`SELECT count(*), sum(id - n), max(id) FROM drawn`),
	},
	"settings and session commands": {
		q(`SET search_path = pg_temp, public`), q(`UPDATE t SET v = 9 WHERE id = 5`), q(`SHOW search_path`), q(`RESET ALL`),
		q(`SET TIME ZONE 'Europe/Berlin'`), q(`BEGIN`), q(`SET LOCAL DateStyle = 'SQL, DMY'`), q(`UPDATE t SET v = 10 WHERE id = 5`), q(`COMMIT`), q(`SHOW DateStyle`),
		q(`CREATE TEMP TABLE tt (a int)`), q(`INSERT INTO tt VALUES (1)`), q(`INSERT INTO t SELECT 600 + a FROM tt`), q(`LISTEN x`), q(`SELECT pg_advisory_lock(1)`), q(`DISCARD ALL`), q(`UPDATE t SET v = 11 WHERE id = 5`),
	},
	"SQL-level prepared statements": {
		q(`PREPARE u (int, int) AS UPDATE t SET v = $2 WHERE id = $1`), q(`EXECUTE u (6, 60)`), q(`EXECUTE u (6, 61)`), q(`DEALLOCATE u`), q(`EXECUTE u (6, 62)`),
		q(`PREPARE r AS SELECT 1 AS one`), q(`EXECUTE r`), q(`DEALLOCATE ALL`),
	},
	"what lists prepared statements": {
		q(`UPDATE t SET v = 9 WHERE id = 5`), q(`PREPARE u (int) AS UPDATE t SET v = $1 WHERE id = 6`), q(`SELECT name FROM pg_prepared_statements ORDER BY 1`), q(`EXECUTE u (1)`), ext(`UPDATE t SET v = 10 WHERE id = 5`, nil, 0),
		ext(`SELECT name FROM PG_PREPARED_STATEMENTS ORDER BY 1`, nil, 0), q(`BEGIN`), ext(`UPDATE t SET v = 11 WHERE id = 5`, nil, 0), q(`SELECT count(*) FROM pg_prepared_statement()`), q(`UPDATE t SET v = 12 WHERE id = 5`), q(`COMMIT`),
		func(c *rawClient) {
			for _, sql := range []string{`UPDATE t SET v = 1 WHERE id = 1`, `SELECT name FROM pg_prepared_statements ORDER BY 1`, `UPDATE t SET v = 2 WHERE id = 1`} {
				c.parse("", sql).bind("", "", nil).execute("", 0)
			}
			c.sync().ready()
		},
		q(`UPDATE t SET v = 9 WHERE id = 5; SELECT name FROM pg_prepared_statements; UPDATE t SET v = 8 WHERE id = 5`),
	},
	"ddl": {
		q(`CREATE TABLE n (a int PRIMARY KEY, b text)`), q(`INSERT INTO n VALUES (1, 'x')`), q(`ALTER TABLE n ADD COLUMN c int DEFAULT 5`),
		q(`INSERT INTO n VALUES (2, 'y') RETURNING *`), q(`BEGIN`), q(`CREATE TABLE n2 (a int PRIMARY KEY)`), q(`INSERT INTO n2 VALUES (1)`), q(`COMMIT`),
		q(`TRUNCATE n`), q(`CREATE INDEX CONCURRENTLY ni ON n (b)`), q(`DROP TABLE n, n2`), q(`INSERT INTO n VALUES (1)`), q(`VACUUM t`), q(`BEGIN`), q(`VACUUM t`), q(`ROLLBACK`),
	},
	"what no server partitions by": {
		q(`CREATE TABLE m (a int) PARTITION BY MAGIC (a);`), q(` /* c */ CREATE TABLE m (a int) PARTITION BY magic (a)`), ext(`CREATE TABLE m (a int) PARTITION BY MAGIC (a)`, nil, 0), q(`BEGIN`), q(`CREATE TABLE m (a int) PARTITION BY MAGIC (a)`), q(`ROLLBACK`), q(`SELECT 1`),
	},
	"conditional ddl": {
		q(`CREATE TABLE IF NOT EXISTS c1 (a int)`), q(`CREATE TABLE IF NOT EXISTS c1 (a int)`), q(`DROP TABLE IF EXISTS c2`), q(`DROP TABLE IF EXISTS c2; DROP TABLE IF EXISTS c1`),
		q(`BEGIN`), q(`CREATE TABLE IF NOT EXISTS c1 (a int)`), q(`DROP TABLE IF EXISTS nowhere.c1`), q(`DROP TABLE IF EXISTS c1`), q(`COMMIT`),
		q(`CREATE OR REPLACE FUNCTION cf() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'`), q(`BEGIN`), q(`CREATE TABLE IF NOT EXISTS t (id nothere)`), q(`ROLLBACK`),
		q(`CREATE TABLE IF NOT EXISTS c3 (a nothere)`), ext(`CREATE TABLE IF NOT EXISTS c3 (a int)`, nil, 0), ext(`DROP TABLE IF EXISTS c3`, nil, 0), ext(`DROP TABLE IF EXISTS c3`, nil, 0),
		ext(`BEGIN`, nil, 0), ext(`DROP TABLE IF EXISTS c3`, nil, 0), ext(`CREATE TABLE IF NOT EXISTS c3 (a int)`, nil, 0), ext(`COMMIT`, nil, 0), q(`DROP TABLE c3`),
	},
	"tables made of queries": {
		q(`CREATE TABLE m1 AS SELECT id, w FROM t`), q(`SELECT id, v INTO m2 FROM t WHERE id < 5 UNION SELECT 1, 2`), q(`CREATE TABLE m1 AS SELECT 1`), q(`CREATE TABLE IF NOT EXISTS m1 AS SELECT 1`),
		q(`CREATE TABLE m3 (x, y, z) AS SELECT 1, 2`), q(`CREATE TABLE m3 AS SELECT id / 0 FROM t`), q(`CREATE TABLE m3 AS SELECT nothere`), q(`CREATE TABLE m3 AS SELECT 1 AS a, 2 AS a`),
		q(`CREATE TABLE m3 AS SELECT nextval('s_id_seq') AS n FROM t; INSERT INTO m3 VALUES (1); SELECT count(*) INTO m4 FROM m3; TABLE m4`), q(`SELECT currval('s_id_seq')`),
		q(`BEGIN`), q(`SAVEPOINT a`), q(`CREATE TABLE m5 AS TABLE t`), q(`ROLLBACK TO a`), q(`CREATE TABLE m5 AS TABLE s`), q(`CREATE TABLE m5 AS TABLE t`), q(`SELECT 1`), q(`ROLLBACK`),
		q(`CREATE TABLE m6 AS SELECT FROM t`), q(`CREATE TABLE m7 AS SELECT 1 WITH NO DATA`), q(`CREATE TEMP TABLE m8 AS SELECT 1 AS a`), q(`SELECT 1 INTO TEMP m9 UNION SELECT 2`), q(`CREATE TABLE m10 AS SELECT * FROM m8, m9`),
		q(`PREPARE r (int) AS SELECT id FROM t WHERE id < $1`), q(`CREATE TABLE m11 AS EXECUTE r (3)`), q(`CREATE TABLE m12 AS EXECUTE nothere`), q(`CREATE TEMP TABLE m13 AS EXECUTE r (4)`), q(`TABLE m13`), q(`CREATE TABLE m14 AS EXECUTE r`),
		ext(`CREATE TABLE m15 AS SELECT id + $1 AS more FROM t`, nil, 0, "1"), ext(`CREATE TABLE m16 AS SELECT * FROM t`, nil, 1), ext(`SELECT $1::int AS x INTO m17`, []int16{1}, 0, "5"), ext(`CREATE TABLE IF NOT EXISTS m15 AS SELECT 1`, nil, 0), ext(`CREATE TABLE m15 AS SELECT 1`, nil, 0),
		func(c *rawClient) {
			for _, sql := range []string{`UPDATE t SET v = 1 WHERE id = 1`, `CREATE TABLE m18 AS SELECT * FROM t`, `INSERT INTO m18 VALUES (1000)`, `SELECT count(*) FROM m18`} {
				c.parse("", sql).bind("", "", nil).execute("", 0)
			}
			c.sync().ready()
		},
		func(c *rawClient) {
			for _, sql := range []string{`BEGIN`, `CREATE TABLE m19 AS SELECT * FROM t`, `SELECT count(*) FROM m19`, `CREATE TABLE m19 AS SELECT 1`, `COMMIT`} {
				c.parse("", sql).bind("", "", nil).execute("", 0)
			}
			c.sync().ready()
		},
		q(`ROLLBACK`), q(`SELECT * FROM m19`), q(`SELECT count(*) FROM m18`),
	},
	"ddl in a block that wrote before": {
		q(`BEGIN`), q(`INSERT INTO t VALUES (700, 1)`), q(`ALTER TABLE t ADD COLUMN x int DEFAULT 3`), q(`INSERT INTO t VALUES (701, 1) RETURNING *`),
		q(`CREATE TABLE n3 (a serial PRIMARY KEY, b int)`), q(`INSERT INTO n3 (b) VALUES (1)`), q(`ALTER TABLE n3 ADD COLUMN c text`), q(`UPDATE n3 SET c = 'x' WHERE a = 1`), q(`COMMIT`),
		q(`SELECT * FROM n3`), q(`BEGIN`), q(`UPDATE n3 SET c = 'y'`), q(`DROP TABLE n3`), q(`COMMIT`), q(`SELECT * FROM n3`),
		q(`BEGIN`), q(`UPDATE t SET v = 1 WHERE id = 700`), q(`TRUNCATE t`), q(`INSERT INTO t VALUES (1, 1)`), q(`COMMIT`), q(`SELECT * FROM t`),
	},
	"sequences made in the transaction": {
		q(`BEGIN`), q(`CREATE SEQUENCE own`), q(`SELECT nextval('own')`), q(`SELECT setval('own', 50)`), q(`ALTER SEQUENCE s_id_seq INCREMENT 2`),
		q(`INSERT INTO s (v) VALUES ('x') RETURNING id`), q(`SELECT nextval('s_id_seq')`), q(`COMMIT`), q(`SELECT nextval('own')`),
		q(`BEGIN`), q(`CREATE TEMP TABLE own2 (a serial)`), q(`INSERT INTO own2 DEFAULT VALUES`), q(`INSERT INTO t SELECT 800 + a FROM own2`), q(`COMMIT`), q(`INSERT INTO own2 DEFAULT VALUES`), q(`TABLE own2`),
	},
	"sequences": {q(`SELECT nextval('s_id_seq')`), q(`BEGIN`), q(`SELECT nextval('s_id_seq')`), q(`ROLLBACK`), q(`SELECT currval('s_id_seq')`), q(`SELECT setval('s_id_seq', 100)`), q(`INSERT INTO s (v) VALUES ('x')`), q(`SELECT * FROM s`)},
	"extended autocommit": {
		ext(`UPDATE t SET v = $1 WHERE id = $2`, nil, 0, "1", "7"), ext(`UPDATE t SET v = v + $1 WHERE id < $2`, nil, 0, "1", "5"),
		ext(`INSERT INTO s (v) VALUES ($1) RETURNING id, v`, nil, 0, "a"), ext(`INSERT INTO s (v) VALUES ($1) RETURNING *`, []int16{1}, 0, "b"),
		ext(`INSERT INTO s (v) VALUES ($1) RETURNING id, v`, []int16{1, 0}, 0, "c"), ext(`INSERT INTO s (v) VALUES ($1)`, []int16{1}, 1, "d"),
		ext(`INSERT INTO t VALUES (1)`, nil, 0), ext(`SELECT nothere`, nil, 0), ext(`DELETE FROM t WHERE id = $1 RETURNING w`, nil, 0, "8"), ext(`SELECT v FROM t WHERE id = 7`, nil, 0), ext(``, nil, 0),
		ext(`SELECT 1; SELECT 2`, nil, 0), ext(`INSERT INTO t (id) VALUES ($1)`, nil, 0, "notanumber"),
	},
	"extended block": {
		ext(`BEGIN`, nil, 0), ext(`UPDATE t SET v = 70 WHERE id = 9`, nil, 0), ext(`COMMIT`, nil, 0), ext(`BEGIN`, nil, 0), ext(`INSERT INTO t VALUES (9)`, nil, 0), ext(`SELECT 1`, nil, 0), ext(`COMMIT`, nil, 0),
		ext(`BEGIN`, nil, 0), ext(`SAVEPOINT x`, nil, 0), ext(`UPDATE t SET v = 71 WHERE id = 9`, nil, 0), ext(`ROLLBACK TO x`, nil, 0), ext(`COMMIT`, nil, 0), ext(`SELECT v FROM t WHERE id = 9`, nil, 0),
		ext(`BEGIN`, nil, 0), ext(`INSERT INTO child VALUES (9, 99)`, nil, 0), ext(`COMMIT`, nil, 0), ext(`INSERT INTO child VALUES (9, 99)`, nil, 0),
		ext(`BEGIN`, nil, 0), ext(`UPDATE t SET v = 72 WHERE id = 9`, nil, 0), ext(`COMMIT`, nil, 0, "too many"), ext(`SELECT 1`, nil, 0), ext(`COMMIT`, nil, 0),
		ext(`BEGIN`, nil, 0), ext(`UPDATE t SET v = 73 WHERE id = 9`, nil, 0), ext(`COMMIT AND CHAIN`, nil, 0), ext(`UPDATE t SET v = 74 WHERE id = 9`, nil, 0), ext(`COMMIT`, nil, 0), ext(`SELECT v FROM t WHERE id = 9`, nil, 0),
	},
	"pipelines": {
		func(c *rawClient) {
			for _, sql := range []string{`BEGIN`, `UPDATE t SET v = 80 WHERE id = 10`, `SELECT v FROM t WHERE id = 10`, `COMMIT`} {
				c.parse("", sql).bind("", "", nil).execute("", 0)
			}
			c.sync().ready()
		},
		func(c *rawClient) {
			for _, sql := range []string{`UPDATE t SET v = 81 WHERE id = 10`, `SELECT v FROM t WHERE id = 10`, `UPDATE t SET v = 82 WHERE id < 3`} {
				c.parse("", sql).bind("", "", nil).describe(true, "").execute("", 0)
			}
			c.sync().ready()
		},
		func(c *rawClient) {
			for _, sql := range []string{`UPDATE t SET v = 83 WHERE id = 10`, `INSERT INTO t VALUES (10)`, `UPDATE t SET v = 84 WHERE id = 10`} {
				c.parse("", sql).bind("", "", nil).execute("", 0)
			}
			c.sync().ready()
		},
		ext(`SELECT v FROM t WHERE id = 10`, nil, 0),
		func(c *rawClient) {
			for range 3 {
				c.parse("", `UPDATE t SET v = v + 1 WHERE id = 11`).bind("", "", nil).execute("", 0).sync()
			}
			c.ready()
			c.ready()
			c.ready()
		},
	},
	"named statements and row limits": {
		func(c *rawClient) { c.parse("ins", `INSERT INTO s (v) VALUES ($1) RETURNING id`).sync().ready() },
		func(c *rawClient) { c.describe(false, "ins").sync().ready() },
		func(c *rawClient) { c.bind("", "ins", nil, "x").execute("", 0).sync().ready() },
		func(c *rawClient) {
			c.parse("many", `UPDATE t SET v = 0 WHERE id < 5 RETURNING id`).bind("p", "many", nil).execute("p", 2).execute("p", 1).sync().ready()
		},
		func(c *rawClient) { c.bind("p", "many", nil).execute("p", 2).sync().ready() },
		q(`SELECT id, v FROM t WHERE id < 6 ORDER BY id`),
		func(c *rawClient) { c.parse("ins", `SELECT 1`).sync().ready() },
		func(c *rawClient) { c.send(pgwire.Close, pgwire.Target{Name: "ins"}.Append(nil)).sync().ready() },
		func(c *rawClient) { c.bind("", "ins", nil, "x").execute("", 0).sync().ready() },
	},
}

func q(sql string) func(*rawClient) { return func(c *rawClient) { c.query(sql).ready() } }

func ext(sql string, formats []int16, limit int32, params ...string) func(*rawClient) {
	return func(c *rawClient) {
		c.parse("", sql).bind("", "", formats, params...).describe(true, "").execute("", limit).sync().ready()
	}
}

func copyIn(sql, data string) func(*rawClient) {
	return func(c *rawClient) {
		c.query(sql).until(pgwire.CopyInResponse)
		c.send(pgwire.CopyData, []byte(data)).send(pgwire.CopyDone, nil).ready()
	}
}

func copyOut(sql string) func(*rawClient) { return q(sql) }

// TestI5AnswersAreTheServersOwn: what a client sees through the agent is, message
// by message, what it sees directly.
func TestI5AnswersAreTheServersOwn(t *testing.T) {
	sameAnswers(t, scripts)
}

// sameAnswers runs scripts through an agent and past it, at each digest level (and
// gate, to have seen both), and
// compares what the two clients are sent.
func sameAnswers(t *testing.T, scripts map[string][]func(*rawClient), predicates ...classify.Predicates) {
	t.Helper()
	for _, level := range []event.Level{event.LevelCount, event.LevelFull} {
		t.Run(string(level), func(t *testing.T) {
			r := rigWith(t, setting{predicates: predicates, session: func(c *session.Config) { c.Level, c.None = level, level == event.LevelFull }})
			past := r.pg.CreateDB(t)
			var all []written
			for name, script := range scripts {
				t.Run(name, func(t *testing.T) {
					for _, db := range []string{r.db, past} {
						r.pg.Exec(t, db, append([]string{`DROP SCHEMA public CASCADE`, `CREATE SCHEMA public`}, schema...)...)
					}
					first := r.pg.Query(t, r.db, `SELECT pg_current_xact_id()`)[0][0]
					// A commit looks at the DDL counter, so that the agent knows of the new tables.
					warm := dialRaw(t, r.address, r.db)
					q(`CREATE TABLE warm ()`)(warm)
					q(`DROP TABLE warm`)(warm)
					warm.close()
					a, b := dialRaw(t, r.address, r.db), dialRaw(t, upstreamAddress(r.pg), past)
					defer a.close()
					defer b.close()
					for i, step := range script {
						step(a)
						step(b)
						if got, want := settingsLast(a.take()), settingsLast(b.take()); got != want {
							t.Fatalf("step %d: through the agent:\n%s\ndirectly:\n%s", i, got, want)
						}
					}
					all = append(all, r.writers(t, name, first)...)
				})
			}
			r.nothingUnseen(t, all)
		})
	}
}

// settingsLast puts the settings that were reported behind the other messages of a step: the server does so
// before it is ready, which between the statements of one Query it is for the agent alone.
func settingsLast(messages string) string {
	lines := strings.Split(messages, "\n")
	slices.SortStableFunc(lines, func(a, b string) int {
		return cmp.Compare(strings.Count(a[:min(1, len(a))], "S"), strings.Count(b[:min(1, len(b))], "S"))
	})
	return strings.Join(lines, "\n")
}

// written is a transaction that left rows.
type written struct {
	by  string // the script
	xid uint64
}

// writers lists the transactions, later than first, whose rows are there.
func (r *rig) writers(t *testing.T, script, first string) []written {
	t.Helper()
	var out []written
	for _, table := range []string{"t", "s", "child", "parent", "drawn"} {
		if r.pg.Query(t, r.db, `SELECT to_regclass('public.`+table+`') IS NULL`)[0][0] == "t" {
			continue
		}
		for _, row := range r.pg.Query(t, r.db, `SELECT DISTINCT xmin::text::bigint FROM public.`+table+` WHERE xmin::text::bigint > `+first) {
			xid, err := strconv.ParseUint(row[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, written{script, xid})
		}
	}
	return out
}

// savepoints are the scripts that use them.
var savepoints = map[string]bool{"savepoints": true, "extended block": true, "a block that has failed": true, "settings in a pipeline": true,
	"row limits": true, "copy with drawn defaults": true, "portals outlive a savepoint": true, "failed blocks and several statements": true, "encodings": true, "wide writes": true,
	"a name that a failed Parse did not take": true}

// nothingUnseen fails where rows were written by a transaction that is not in the
// topic (I1). Rows of subtransactions bear other numbers: those that follow a
// transaction's own.
func (r *rig) nothingUnseen(t *testing.T, all []written) {
	t.Helper()
	r.committed()
	seen := map[uint64]bool{}
	for _, rec := range r.records() {
		if tx, ok := rec.Body.(*event.Transaction); ok {
			seen[tx.Postgres.XID] = true
		}
	}
	for _, w := range all {
		top := w.xid
		for savepoints[w.by] && top > w.xid-8 && !seen[top] {
			top--
		}
		if !seen[top] {
			t.Errorf("%s: rows of transaction %d, which is not in the topic", w.by, w.xid)
		}
	}
}
