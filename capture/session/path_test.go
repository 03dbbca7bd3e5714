package session_test

import "testing"

// What changes how names resolve is no surprise: the first temporary table of a
// session, a schema that the path names and that did not exist.
func TestI5PathsThatChange(t *testing.T) {
	sameAnswers(t, map[string][]func(*rawClient){
		"a schema that the path names": {
			q(`CREATE SCHEMA postgres`), q(`CREATE TABLE here (id int PRIMARY KEY)`), q(`INSERT INTO here VALUES (1)`), q(`SELECT * FROM postgres.here`),
			q(`DROP SCHEMA postgres CASCADE`), q(`INSERT INTO here VALUES (2)`), q(`INSERT INTO t VALUES (800, 1)`),
			q(`BEGIN`), q(`INSERT INTO t VALUES (801, 1)`), q(`CREATE SCHEMA postgres`), q(`CREATE TABLE t (id text)`), q(`INSERT INTO t VALUES ('x')`), q(`COMMIT`),
			q(`SELECT id FROM t`), q(`SELECT id FROM public.t WHERE id > 799 ORDER BY id`), q(`DROP SCHEMA postgres CASCADE`),
		},
		"the first temporary table": {
			q(`CREATE TEMP TABLE tt (a int)`), q(`INSERT INTO tt VALUES (1)`), q(`INSERT INTO t SELECT 810 + a FROM tt`), q(`DROP TABLE tt`), q(`INSERT INTO t VALUES (812, 1)`),
		},
		"the first temporary table, in a block": {
			q(`BEGIN`), q(`INSERT INTO t VALUES (820, 1)`), q(`CREATE TEMP TABLE t (a int)`), q(`INSERT INTO t VALUES (1)`), q(`INSERT INTO public.t VALUES (821, 1)`),
			q(`COMMIT`), q(`SELECT * FROM t`), q(`DROP TABLE pg_temp.t`), q(`SELECT id FROM t WHERE id > 819 ORDER BY id`),
		},
		"a question at the head of a pipeline": {
			q(`SET TIME ZONE 'UTC'`), func(c *rawClient) { c.parse("", `INSERT INTO t VALUES (830, 1)`).sync().ready() }, ext(`BEGIN ISOLATION LEVEL SERIALIZABLE`, nil, 0), q(`COMMIT`),
		},
	})
}
