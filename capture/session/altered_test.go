package session_test

import "testing"

// again binds and runs what was prepared.
func again(name string, params ...string) func(*rawClient) {
	return func(c *rawClient) { c.bind("", name, nil, params...).execute("", 0).sync().ready() }
}

func prepares(name, sql string) func(*rawClient) {
	return func(c *rawClient) { c.parse(name, sql).describe(false, name).sync().ready() }
}

// I5: what was prepared answers behind DDL as the server's own: what the agent reads of a
// row is not the client's result, whose change is the server's error.
func TestI5PreparedBehindDDL(t *testing.T) {
	sameAnswers(t, map[string][]func(*rawClient){
		"columns that the client does not see": {
			prepares("u", `UPDATE t SET v = v + 1 WHERE id > $1`), prepares("one", `UPDATE t SET v = v + 1 WHERE id = $1`), prepares("d", `DELETE FROM t WHERE id = $1 + 1`),
			again("u", "15"), again("one", "1"), again("d", "16"),
			q(`ALTER TABLE t ALTER COLUMN v TYPE bigint`), again("u", "15"), again("one", "1"), again("d", "15"), again("u", "15"),
			q(`ALTER TABLE t ALTER COLUMN id TYPE bigint`), again("u", "15"), again("one", "1"), again("d", "14"),
			q(`ALTER TABLE t DROP COLUMN w`), again("u", "15"), again("one", "1"), again("d", "13"),
			q(`ALTER TABLE t ADD COLUMN w text DEFAULT 'w'`), again("u", "15"), again("one", "1"), again("d", "12"),
			q(`BEGIN`), q(`ALTER TABLE t ALTER COLUMN v TYPE numeric`), again("u", "15"), again("one", "1"), q(`ROLLBACK`), again("u", "15"), again("one", "1"),
		},
		"a type that takes another's name": {
			q(`CREATE TYPE mood AS ENUM ('good', 'bad', 'odd')`), q(`CREATE TABLE moods (id int PRIMARY KEY, n int, m mood)`), q(`INSERT INTO moods VALUES (1, 1, 'good')`),
			prepares("m", `UPDATE moods SET n = n + 1 WHERE n < $1`), prepares("i", `INSERT INTO moods SELECT id + 1, 1, m FROM moods WHERE id = $1`), again("m", "9"), again("i", "1"),
			q(`BEGIN`), q(`CREATE TYPE mood2 AS ENUM ('good', 'bad')`), q(`ALTER TABLE moods ALTER COLUMN m TYPE text`), q(`ALTER TABLE moods DROP COLUMN m`), q(`ALTER TABLE moods ADD COLUMN m mood2`),
			q(`DROP TYPE mood`), q(`ALTER TYPE mood2 RENAME TO mood`), q(`COMMIT`), again("m", "9"), again("i", "2"), q(`SELECT id, n FROM moods ORDER BY id`),
		},
		"parameters keep their types": {
			prepares("p", `UPDATE t SET v = $1 WHERE id = $2`), again("p", "1", "1"), again("p", "1.5", "1"),
			q(`ALTER TABLE t ALTER COLUMN v TYPE numeric`), again("p", "1", "1"), again("p", "1.5", "1"), q(`SELECT v FROM t WHERE id = 1`),
		},
		"what does not fit for a while": {
			prepares("d", `DELETE FROM t WHERE v > $1`), prepares("u", `UPDATE t SET w = 'x' WHERE v < $1`), again("d", "1000"),
			q(`ALTER TABLE t ALTER COLUMN v TYPE text`), again("d", "1000"), again("d", "1000"), again("u", "-1"),
			q(`ALTER TABLE t ALTER COLUMN v TYPE int USING v::int`), again("d", "1000"), again("u", "-1"),
			q(`BEGIN`), q(`ALTER TABLE t ALTER COLUMN v TYPE text`), again("d", "1000"), q(`ROLLBACK`), again("d", "1000"),
			q(`CREATE SCHEMA other`), q(`CREATE TABLE other.t (id int PRIMARY KEY, v text, w text)`), q(`SET search_path = other`), again("d", "1000"), again("u", "-1"),
			q(`SET search_path = public`), again("d", "1000"), again("u", "-1"), prepares("d", `DELETE FROM t`),
		},
		"columns that the client sees": {
			prepares("all", `UPDATE t SET v = v + 1 WHERE id = $1 RETURNING *`), prepares("v", `UPDATE t SET v = v + 1 WHERE id > 18 RETURNING v`), prepares("i", `INSERT INTO s (v) VALUES ($1) RETURNING *`),
			again("all", "1"), again("v"), again("i", "x"),
			q(`ALTER TABLE t ADD COLUMN x int`), again("all", "1"), again("v"), again("all", "1"), prepares("all2", `UPDATE t SET v = v + 1 WHERE id = $1 RETURNING *`), again("all2", "1"),
			q(`ALTER TABLE t DROP COLUMN x`), again("all", "1"), again("all2", "1"), again("v"),
			q(`ALTER TABLE t ALTER COLUMN v TYPE bigint`), again("all", "1"), again("v"),
			q(`ALTER TABLE s ADD COLUMN at timestamptz`), again("i", "y"), again("i", "z"), q(`SELECT count(*) FROM s`),
			q(`BEGIN`), again("i", "z"), q(`SELECT 1`), q(`ROLLBACK`),
		},
	})
}
