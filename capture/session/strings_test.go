package session_test

import "testing"

// lenientScripts speak under standard_conforming_strings = off: constants with backslashes in
// all places, in statements that opmux adds something to and in those that it does not.
var lenientScripts = map[string][]func(*rawClient){
	"constants": {
		q(`SET standard_conforming_strings = off`), q(`SELECT 'a\\b', 'it\'s', E'\\', '\x41\101\u0041', N'n\\', length('\t'), 'x' 'y'`), q("SELECT 'a\\\\'\n  'b\\'' AS \"c\\\", $$\\$$, $a$'\\'$a$ /* '\\' /* \\' */ */ -- '\\'"),
		q(`SELECT 1 WHERE 'a_c' LIKE'a\\_c'`), q(`SELECT U&'\0041'`), q(`SELECT U&"a" FROM (SELECT 1 AS "a") x`), q(`SELECT '\u00zz'`), q(`SELECT '\`), q(`SELECT 'a\'`), q(`SELECT B'1', X'1f', '\\'; SELECT '\\'`),
		q(`INSERT INTO t VALUES (100, 1, 'a\\b')`), q(`INSERT INTO t VALUES (101, 1, 'it\'s') RETURNING w, '\t'`), q(`UPDATE t SET w = 'c\\d' || w WHERE w LIKE '%\\\\%' OR w LIKE 'row1\\_'`), q(`DELETE FROM t WHERE w = 'it\'s' RETURNING w`),
		q(`INSERT INTO s (v) VALUES ('\\'), (E'\\'), ('\'')`), q(`INSERT INTO s (v) SELECT w || '\\' FROM t WHERE id < 4`), q(`UPDATE t SET w = w || '\\' WHERE id < 4`), q(`TABLE s`), q(`SELECT * FROM t ORDER BY id`),
	},
	"warnings": {
		q(`SET standard_conforming_strings = off; SET escape_string_warning = on`), q(`SELECT 'a\\b', 'c\'d', 'e\tf'`), q(`INSERT INTO t VALUES (100, 1, 'é\\b')`), q(`INSERT INTO t VALUES (101, 1, 'é' || E'\\' || 'a\\b') RETURNING w`), q(`UPDATE t SET w = 'c\'d' WHERE id < 4`),
		q(`INSERT INTO s (v) VALUES ('e\tf')`), q(`BEGIN`), q(`INSERT INTO t VALUES (102, 1, 'a\\b')`), q(`UPDATE t SET w = 'a\\b' WHERE v > 3`), q(`ROLLBACK`), q(`SET escape_string_warning = off`), q(`SELECT 'a\\b'`), q(`INSERT INTO t VALUES (102, 1, 'a\\b')`),
		q(`SET standard_conforming_strings = on; SET escape_string_warning = on`), q(`SELECT 'a\\b'`),
	},
	"errors": {
		q(`SET standard_conforming_strings = off; SET escape_string_warning = off`), q(`SELECT 'é\\', nothere`), q(`INSERT INTO t VALUES (1, 'é\\'::int)`), q(`INSERT INTO t (id, w) VALUES (200, 'é\\') RETURNING nothere`), q(`UPDATE t SET w = 'é\\' WHERE v > 3 AND 'é\\' = nothere`),
		q(`UPDATE t SET w = LOWER('\\')||'\'' WHERE v > 3 AND IN'\\' = nothere`), q(`INSERT INTO t (id, w) VALUES (300, '\\'); SELECT '\\', nothere`), q(`SELECT '\\'; INSERT INTO t (id, w) VALUES (300, '\\' || nothere)`), q(`SELEC '\\'`), q(`SELECT id FROM t WHERE id > 99`),
		q(`SET backslash_quote = off`), q(`SELECT 'it\'s'`), q(`INSERT INTO t (id, w) VALUES (301, 'it\'s')`), q(`INSERT INTO t (id, w) VALUES (302, '\\')`), q(`SET backslash_quote = safe_encoding`),
		ext(`SELECT '\\', nothere`, nil, 0), ext(`UPDATE t SET w = 'é\\' WHERE v > 3 AND 'é\\' = nothere`, nil, 0), ext(`SELECT U&'\0041'`, nil, 0),
	},
	"extended": {
		ext(`SET standard_conforming_strings = off`, nil, 0), ext(`SELECT 'a\\b', $1::text`, nil, 0, `\\`), ext(`INSERT INTO t VALUES (100, 1, 'a\\b')`, nil, 0), ext(`INSERT INTO t VALUES (101, $1, 'it\'s') RETURNING w, '\t'`, nil, 0, "5"),
		ext(`UPDATE t SET w = 'c\\d' || w WHERE w LIKE $1`, nil, 0, `%\\%`), ext(`UPDATE t SET w = 'c\'d' || w WHERE v < 50`, []int16{1}, 0), ext(`DELETE FROM t WHERE w LIKE '%\\\\%' RETURNING w`, nil, 0), ext(`INSERT INTO s (v) VALUES ('\\'), (E'\\'), ('\'')`, nil, 0),
		ext(`SELECT * FROM t ORDER BY id`, nil, 0), ext(`TABLE s`, nil, 0),
	},
	"settings in pipelines": {
		func(c *rawClient) {
			for _, sql := range []string{`SET standard_conforming_strings = off`, `INSERT INTO t VALUES (100, 1, 'a\\b')`, `SELECT 'a\\b'`, `SET standard_conforming_strings = on`, `INSERT INTO t VALUES (101, 1, 'a\\b')`, `SELECT 'a\\b'`} {
				c.parse("", sql).bind("", "", nil).execute("", 0)
			}
			c.sync().ready()
		},
		func(c *rawClient) { // what is parsed before the SET is executed is read under what was before
			c.parse("set", `SET standard_conforming_strings = off`).parse("ins", `INSERT INTO t VALUES (102, 1, 'a\\b')`).parse("many", `UPDATE t SET w = w || 'c\\d' WHERE id > 100`).bind("", "set", nil).execute("", 0)
			c.bind("", "ins", nil).execute("", 0).bind("", "many", nil).execute("", 0).parse("", `SELECT w, 'a\\b' FROM t WHERE id > 99`).bind("", "", nil).execute("", 0).sync().ready()
		},
		q(`SHOW standard_conforming_strings`), func(c *rawClient) { c.bind("", "many", nil).execute("", 0).sync().ready() }, q(`SELECT id, w FROM t WHERE id > 99 ORDER BY id`),
		func(c *rawClient) { c.parse("more", `UPDATE t SET w = w || 'e\\f' WHERE id > 100`).sync().ready() }, q(`SET standard_conforming_strings = on`),
		func(c *rawClient) { c.bind("", "more", nil).execute("", 0).sync().ready() }, q(`SELECT id, w FROM t WHERE id > 99 ORDER BY id`),
	},
	"settings in transactions": {
		q(`BEGIN`), q(`SET LOCAL standard_conforming_strings = off`), q(`INSERT INTO t VALUES (100, 1, 'a\\b')`), q(`SAVEPOINT a`), q(`SET standard_conforming_strings = on`), q(`INSERT INTO t VALUES (101, 1, 'a\\b')`),
		q(`ROLLBACK TO a`), q(`INSERT INTO t VALUES (102, 1, 'a\\b')`), q(`SELECT 1/0 AS "'\"`), q(`SELECT '\'`), q(`ROLLBACK TO a`), q(`INSERT INTO t VALUES (103, 1, 'a\\b')`), q(`COMMIT`), q(`INSERT INTO t VALUES (104, 1, 'a\\b')`),
		q(`BEGIN`), q(`SET standard_conforming_strings = off`), q(`UPDATE t SET w = w || 'c\\d' WHERE id > 99`), q(`ROLLBACK`), q(`UPDATE t SET w = w || 'c\\d' WHERE id > 99`), q(`SELECT set_config('standard_conforming_strings', 'off', false)`), q(`UPDATE t SET w = w || '\\' WHERE id > 99`),
		q(`BEGIN`), q(`UPDATE t SET w = w || '\\' WHERE id > 99`), q(`SET standard_conforming_strings = on`), q(`COMMIT`), q(`UPDATE t SET w = w || '\\' WHERE id > 99`), q(`SELECT id, w FROM t WHERE id > 99 ORDER BY id`), q(`SET standard_conforming_strings = off`), q(`RESET ALL`), q(`SELECT '\\'`),
		q(`SET standard_conforming_strings = off`), q(`DISCARD ALL`), q(`INSERT INTO t VALUES (105, 1, 'a\\b') RETURNING w`),
	},
	"several statements in one Query": { // all are read under what holds when it comes
		q(`SET escape_string_warning = off`), q(`SET standard_conforming_strings = off; INSERT INTO t VALUES (100, 1, 'a\b'); SELECT 'é\', w FROM t WHERE id = 100; UPDATE t SET w = w || '\' WHERE id > 99`), q(`SELECT id, w FROM t WHERE id > 99`),
		q(`SET standard_conforming_strings = on; INSERT INTO t VALUES (101, 1, 'a\\b'); SELECT 'é\\', w FROM t WHERE id = 101; UPDATE t SET w = w || '\\' WHERE id > 99`), q(`SELECT id, w FROM t WHERE id > 99 ORDER BY id`),
		q(`SET standard_conforming_strings = off`), q(`BEGIN; INSERT INTO t VALUES (103, 1, 'a\\b'); COMMIT; INSERT INTO t VALUES (104, 1, 'a\\b')`),
		q(`INSERT INTO t VALUES (105, 1, 'a\\b'); SELECT U&'\0041'`), q(`SELECT id, w FROM t WHERE id > 99 ORDER BY id`),
	},
	"prepared by SQL": {
		q(`SET standard_conforming_strings = off`), q(`PREPARE i (int) AS INSERT INTO t VALUES ($1, 1, 'a\\b')`), q(`EXECUTE i (100)`), q(`SET standard_conforming_strings = on`), q(`EXECUTE i (101)`), q(`PREPARE u (text) AS UPDATE t SET w = w || $1 || '\\' WHERE id > 99`),
		q(`EXECUTE u ('\\')`), q(`SET standard_conforming_strings = off`), q(`EXECUTE u ('\\')`), q(`EXECUTE i (102)`), q(`SELECT id, w FROM t WHERE id > 99 ORDER BY id`), q(`DEALLOCATE ALL`),
	},
	"definitions": {
		q(`SET standard_conforming_strings = off; SET escape_string_warning = off`), q(`CREATE TABLE d (id serial PRIMARY KEY, v text DEFAULT 'a\\b', CHECK (v <> '\''))`), q(`INSERT INTO d DEFAULT VALUES`), q(`INSERT INTO d (v) VALUES ('\'')`), q(`ALTER TABLE d ADD COLUMN w text DEFAULT '\\'`),
		q(`COMMENT ON TABLE d IS 'it\'s'`), q(`CREATE VIEW dv AS SELECT id, v || '\\' AS v FROM d`), q(`TABLE dv`), q(`CREATE TABLE e AS SELECT '\\'::text AS v`), q(`TABLE e`), q(`BEGIN`), q(`CREATE TABLE f (id serial PRIMARY KEY, v text DEFAULT '\\')`), q(`INSERT INTO f (v) VALUES (DEFAULT), ('\\\\')`), q(`UPDATE f SET v = v || '\\'`), q(`COMMIT`),
		q(`TABLE f`), q(`SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'f'::regclass ORDER BY adnum`), q(`TABLE d`), copyIn(`COPY d (v) FROM STDIN WITH (FORMAT csv, DELIMITER '\t', QUOTE '\'')`, "'a\tb'\n"), copyIn(`COPY f (v) FROM STDIN (DELIMITER '\x7c')`, "x\n"), copyOut(`COPY (SELECT v, '\\' FROM d ORDER BY id) TO STDOUT (DELIMITER '\t')`),
		q(`CREATE FUNCTION g() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''a\\\\b''::text'`), q(`SELECT g(), '\\'`), q(`INSERT INTO f (v) VALUES (g())`), q(`TABLE f`), q(`DROP TABLE d CASCADE; DROP TABLE e, f; DROP FUNCTION g`),
	},
	"look-ups in the session": {
		q(`SET standard_conforming_strings = off`), q(`SET escape_string_warning = off`), q(`CREATE TEMP TABLE tt (id int, v text DEFAULT 'a\\b' CHECK (v <> '\''))`), q(`INSERT INTO tt DEFAULT VALUES`), q(`INSERT INTO t SELECT 100, 1, v FROM tt`), ext(`INSERT INTO t SELECT 101, 1, v || '\\' FROM tt`, nil, 0),
		q(`BEGIN`), q(`CREATE TABLE ot (id int PRIMARY KEY, v text DEFAULT 'a\\b')`), q(`INSERT INTO ot VALUES (1)`), ext(`UPDATE ot SET v = v || '\\' WHERE v LIKE '%\\\\%'`, nil, 0), q(`SHOW standard_conforming_strings`), q(`COMMIT`), q(`SHOW standard_conforming_strings`), q(`TABLE ot`),
		func(c *rawClient) {
			for _, sql := range []string{`BEGIN`, `CREATE TABLE op (id int PRIMARY KEY, v text DEFAULT 'a\\b')`, `INSERT INTO op VALUES (1)`, `UPDATE op SET v = v || '\\'`, `SELECT v, '\\' FROM op`, `COMMIT`, `INSERT INTO op VALUES (2, '\\')`} {
				c.parse("", sql).bind("", "", nil).execute("", 0)
			}
			c.sync().ready()
		},
		q(`BEGIN`), q(`SET LOCAL standard_conforming_strings = on`), q(`SAVEPOINT a`), q(`SET LOCAL standard_conforming_strings = off`), q(`ALTER TABLE op ADD COLUMN w text DEFAULT '\\'`), q(`INSERT INTO op VALUES (3)`), q(`RELEASE a`), q(`INSERT INTO op VALUES (4, '\\')`), q(`ROLLBACK TO a`), q(`SELECT '\\'`), q(`ROLLBACK`),
		q(`BEGIN`), q(`ALTER TABLE op ADD COLUMN w text DEFAULT '\\'`), q(`INSERT INTO op VALUES (3)`), q(`SET LOCAL standard_conforming_strings = on`), q(`INSERT INTO op VALUES (4, '\\')`), q(`COMMIT`), q(`TABLE op`), q(`SELECT '\\'`), q(`SET standard_conforming_strings = on`),
		q(`BEGIN`), q(`SET standard_conforming_strings = off`), q(`CREATE TABLE os (id int PRIMARY KEY, v text DEFAULT 'a\\b')`), q(`SAVEPOINT a`), q(`INSERT INTO os VALUES (1)`), q(`RELEASE a`), q(`COMMIT`), q(`SHOW standard_conforming_strings`), q(`SELECT '\\'`), q(`DROP TABLE op, ot, os`),
	},
	"in other encodings": {
		q("SET client_encoding = LATIN1; SET standard_conforming_strings = off"), q("SELECT '\xe9\\\\', nothere"), q("INSERT INTO t VALUES (100, 1, '\xe9\\'') RETURNING w"), q("UPDATE t SET w = '\xe9\\\\' || w WHERE id > 99"), q("INSERT INTO t VALUES (101, 1, '\xe9\\'' || nothere)"),
		ext("UPDATE t SET w = '\xe9\\\\' || $1 || w WHERE id > 99", nil, 0, "\xe9\\"), q("SELECT w FROM t WHERE id > 99"), q("SET client_encoding = SJIS"), q("SELECT '\x83\x5c\\\\'"), q("INSERT INTO t VALUES (102, 1, '\x83\x5c\\\\')"), q("SELECT w FROM t WHERE id = 102"),
	},
}

// I5: under standard_conforming_strings = off, too, answers are the server's own: rows, errors
// and their positions, warnings.
func TestI5LenientStrings(t *testing.T) {
	sameAnswers(t, lenientScripts)
}
