package session_test

import (
	"strings"
	"testing"
)

// withScripts are statements that write in WITH.
var withScripts = map[string][]func(*rawClient){
	"simple": {
		q(`WITH n AS (INSERT INTO s (v) VALUES ('a'), ('b') RETURNING id, v) SELECT v, n.id + 1 AS "next", 'x', NULL FROM n ORDER BY id DESC`),
		q(`WITH n AS (INSERT INTO s (v) VALUES ('c') RETURNING *) INSERT INTO t SELECT id + 500, id FROM n`),
		q(`WITH n(a, b) AS (UPDATE t SET v = v + 1 WHERE id < 4 RETURNING *) UPDATE s SET v = n.b::text FROM n WHERE s.id = n.a RETURNING s.*, n.*`),
		q(`WITH n AS (UPDATE t SET v = 0 WHERE id = 99 RETURNING id) SELECT * FROM n`),
		q(`WITH n AS (UPDATE t SET v = 0 WHERE id = 99) DELETE FROM t WHERE id = 98`),
		q(`WITH n AS (DELETE FROM t WHERE id IN (5, 6) RETURNING t::text, t.id, upper(w), v::bigint, v + 1, coalesce(v, 1), CASE WHEN v > 1 THEN w END, '7'::int) TABLE n`),
		q(`WITH a AS (SELECT id FROM t WHERE id = 7), d AS (DELETE FROM t USING a WHERE t.id = a.id), i AS (INSERT INTO s (v) VALUES ('with') RETURNING v) SELECT * FROM a, i /* ) */ -- )`),
		q(`WITH RECURSIVE r(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 3), i AS (INSERT INTO t SELECT n + 700, n FROM r RETURNING id) SELECT count(*), sum(id) FROM i`),
		q(`WITH i AS (INSERT INTO t VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET v = 77 RETURNING id, v) VALUES (1, (SELECT v FROM i)), (2, 3) LIMIT 1`),
		q(`WITH i AS (INSERT INTO t VALUES (800, 1) RETURNING id) SELECT FROM i`),
		q(`SELECT * FROM t ORDER BY id; WITH x AS (DELETE FROM s RETURNING v) SELECT v FROM x ORDER BY v; SELECT 1`),
		q(`SELECT * FROM s`),
	},
	"blocks": {
		q(`BEGIN`), q(`WITH d AS (DELETE FROM t WHERE id = 1 RETURNING *) INSERT INTO s (v) SELECT w FROM d`), q(`SELECT * FROM s`),
		q(`SAVEPOINT a`), q(`WITH d AS (DELETE FROM t WHERE id = 2 RETURNING *) INSERT INTO s (v) SELECT w FROM d RETURNING *`), q(`ROLLBACK TO a`), q(`COMMIT`), q(`SELECT id FROM t ORDER BY id LIMIT 2`),
		q(`PREPARE p AS WITH d AS (DELETE FROM t WHERE id = $1 RETURNING *) INSERT INTO s (v) SELECT w FROM d`), q(`EXECUTE p(3)`), q(`EXECUTE p(3)`),
		q(`PREPARE r(int) AS WITH d AS (DELETE FROM t WHERE id = $1 RETURNING id, w) SELECT w, id FROM d`), q(`EXECUTE r(4)`), q(`EXECUTE r(4)`),
		q(`PREPARE bad AS WITH d AS (DELETE FROM t RETURNING id) SELECT nothere FROM d`),
	},
	"errors and their positions": {
		q(`WITH d AS (DELETE FROM t WHERE id = 1 RETURNING *) SELECT nothere FROM d`), q(`WITH d AS (DELETE FROM t WHERE nothere = 1 RETURNING *) SELECT * FROM d`),
		q(`WITH d AS (DELETE FROM t WHERE id = 1 RETURNING id) SELECT w FROM d`), q(`WITH ü AS (DELETE FROM t WHERE id = 'ü' RETURNING id) SELECT id FROM ü`),
		q(`WITH d AS (DELETE FROM t WHERE id = 1 RETURNING id) INSERT INTO s (v) SELECT d.id / 0 FROM d`), q(`WITH d AS (DELETE FROM t WHERE id = 1 RETURNING id), e AS (DELETE FROM s WHERE v = 1) SELECT d.id FROM d`),
		q(`SELECT 1; WITH d AS (DELETE FROM t RETURNING id) SELECT id FROM d WHERE id = 'é'`), q(`WITH d AS (DELETE FROM t RETURNING id) SELECT id FROM d GROUP BY`),
		q(`WITH d AS (DELETE FROM t WHERE id = 1) INSERT INTO t VALUES (1, 1)`), q(`WITH d AS (DELETE FROM t WHERE id = 1), i AS (INSERT INTO t VALUES (1, 1)) SELECT 1`),
		q(`WITH d AS (DELETE FROM t WHERE id = 1 RETURNING id) SELECT "D".id FROM d`), q(`WITH d AS (DELETE FROM t RETURNING id), d AS (SELECT 1) SELECT 1`),
		ext(`WITH d AS (DELETE FROM t WHERE id = $1 RETURNING id) SELECT nothere FROM d`, nil, 0, "1"), ext(`WITH d AS (DELETE FROM t WHERE id = $1 RETURNING id) SELECT id FROM d`, nil, 0, "x"),
	},
	"extended": {
		ext(`WITH n AS (INSERT INTO s (v) VALUES ($1) RETURNING id, v) SELECT v, id, $2::int FROM n`, nil, 0, "e", "4"),
		ext(`WITH n AS (INSERT INTO s (v) VALUES ($1) RETURNING id, v) SELECT v, id FROM n`, []int16{1}, 0, "e"),
		ext(`WITH n AS (INSERT INTO s (v) VALUES ($1) RETURNING id, v) SELECT v, id FROM n`, []int16{0, 1}, 0, "e"),
		ext(`WITH n AS (DELETE FROM s WHERE v = $1 RETURNING id) INSERT INTO t SELECT id + 900 FROM n`, []int16{1}, 0, "e"),
		ext(`WITH n AS (DELETE FROM s WHERE v = $1 RETURNING id) INSERT INTO t SELECT id + 900 FROM n`, nil, 1, "e"),
		ext(`WITH n AS (UPDATE t SET v = $1 WHERE id > 900 RETURNING *) UPDATE t SET v = 1 FROM n WHERE t.id = n.id - 900 RETURNING t.id, n.v`, []int16{1}, 0, "5"),
		ext(`WITH n AS (INSERT INTO s (v) VALUES ($1), ('f') RETURNING id, v) SELECT v, id FROM n`, nil, 1, "e"),
		ext(`WITH n AS (INSERT INTO s (v) VALUES ($1), ('f') RETURNING id, v) SELECT v, id FROM n`, []int16{1}, 2, "e"),
		ext(`WITH n AS (INSERT INTO s (v) VALUES ($1), ('f') RETURNING id, v) SELECT v, id FROM n`, nil, 3, "e"),
		ext(`WITH n AS (INSERT INTO s (v) VALUES ($1), ('f') RETURNING id, v) SELECT v, id FROM n`, nil, -1, "e"),
		ext(`WITH n AS (INSERT INTO s (v) VALUES ($1), ('f') RETURNING id, v) SELECT v, id FROM n WHERE false`, nil, 1, "e"),
		ext(`WITH n AS (INSERT INTO s (v) VALUES ($1), ('f') RETURNING id, v) UPDATE t SET v = 5 WHERE id IN (15, 16, 17) RETURNING id`, nil, 2, "e"), q(`SELECT v, count(*) FROM s GROUP BY v ORDER BY v`),
		q(`BEGIN`), ext(`WITH n AS (DELETE FROM t WHERE id = $1 RETURNING *) SELECT * FROM n`, nil, 1, "14"), q(`SELECT count(*) FROM t`), q(`COMMIT`),
		q(`BEGIN`), ext(`WITH n AS (DELETE FROM t WHERE id = $1 RETURNING *) SELECT count(*) FROM n`, nil, 0, "1"), q(`COMMIT`), q(`SELECT * FROM t ORDER BY id`),
	},
	"temporary tables": {
		q(`CREATE TEMP TABLE mine (id int, w text)`), q(`WITH d AS (DELETE FROM t WHERE id < 3 RETURNING id, w) INSERT INTO mine SELECT * FROM d`),
		q(`WITH d AS (DELETE FROM mine RETURNING *) INSERT INTO s (v) SELECT w FROM d RETURNING v`), q(`WITH d AS (INSERT INTO mine VALUES (1, 'x') RETURNING *) UPDATE mine SET id = 2 FROM d`),
		q(`WITH d AS (DELETE FROM t WHERE id < 6 RETURNING id, w), m AS (DELETE FROM mine) INSERT INTO mine SELECT * FROM d RETURNING *`), q(`SELECT * FROM s`), q(`SELECT * FROM mine`),
	},
	"in another encoding": {
		q("SET client_encoding = LATIN1"), q("WITH n AS (INSERT INTO s (v) VALUES ('caf\xe9') RETURNING v AS \"\xe9\") SELECT \"\xe9\" FROM n"),
		q("WITH n AS (DELETE FROM s RETURNING v) INSERT INTO t SELECT 600, length(v), v FROM n"), q("WITH n AS (DELETE FROM s WHERE v = '\xe9' RETURNING v) SELECT nothere FROM n"), q(`SELECT * FROM t WHERE id = 600`),
	},
}

// TestI5WritesInWithAnswerAsTheServer: the rows of every part come in one result, of
// which the client sees its own.
func TestI5WritesInWithAnswerAsTheServer(t *testing.T) { sameAnswers(t, withScripts) }

// The server counts the agent's rows, too, so the agent keeps a limit, and nothing of what is behind it.
func TestI5LimitsOfWritesInWithAreRefusedBehindTheFirst(t *testing.T) {
	r := rigWith(t, setting{})
	r.pg.Exec(t, r.db, schema...)
	c := dialRaw(t, r.address, r.db)
	defer c.close()
	c.parse("", `WITH d AS (DELETE FROM t WHERE id < 5 RETURNING id) SELECT id FROM d`).bind("", "", nil).execute("", 2).execute("", 2).sync().ready()
	if got := c.take(); !strings.Contains(got, "with a row limit") {
		t.Errorf("a second Execute with a limit: %s", got)
	}
	if n := r.pg.Query(t, r.db, `SELECT count(*) FROM t`)[0][0]; n != "20" {
		t.Errorf("%s rows are left of 20", n)
	}
}
