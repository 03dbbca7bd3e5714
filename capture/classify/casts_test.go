package classify_test

import "testing"

// I6: a read runs the functions that a domain's check, a cast or an argument's default
// calls, though it does not name them.
func TestI6UnnamedFunctionsAreSeen(t *testing.T) {
	r := newRig(t, `CREATE TABLE log (n serial PRIMARY KEY)`,
		`CREATE FUNCTION writes(int DEFAULT 1) RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO log DEFAULT VALUES RETURNING n'`,
		`CREATE FUNCTION tells(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'`,
		`CREATE DOMAIN checked AS int CHECK (writes(value) > 0)`, `CREATE DOMAIN plain AS int CHECK (tells(value))`,
		`CREATE DOMAIN above AS checked`, `CREATE TYPE pair AS (a above, b int)`, `CREATE TYPE harmless AS (a plain)`, `CREATE TYPE several AS (a above[])`,
		`CREATE FUNCTION defaults(a int DEFAULT writes()) RETURNS int LANGUAGE sql STABLE AS 'SELECT a'`,
		`CREATE FUNCTION constant(a int DEFAULT 1) RETURNS int LANGUAGE sql STABLE AS 'SELECT a'`,
		`CREATE TYPE made AS (a int)`, `CREATE FUNCTION makes(text) RETURNS made LANGUAGE sql VOLATILE AS 'INSERT INTO log DEFAULT VALUES RETURNING ROW(n)::made'`,
		`CREATE CAST (text AS made) WITH FUNCTION makes(text)`)
	seen := []string{`SELECT 1::checked`, `SELECT checked '1'`, `SELECT checked(1)`, `SELECT CAST(1 AS above)`, `SELECT ARRAY[1]::above[]`, `SELECT ROW(1, 2)::pair`,
		`VALUES ('(1,2)'::public.pair)`, `SELECT * FROM json_to_record('{}') AS x(a checked)`, `SELECT * FROM xmltable('/r' PASSING '<r/>' COLUMNS a checked PATH '.')`,
		`PREPARE p(above) AS SELECT $1`, `SELECT defaults()`, `SELECT 'x'::text::made`,
		`SELECT '{1}'::_above`, `SELECT '({1})'::several`, `SELECT ARRAY['x'::text]::_made`}
	unseen := []string{`SELECT 1::plain`, `SELECT plain(1)`, `SELECT '(1)'::harmless`, `SELECT constant()`, `SELECT '1'::int`}
	for _, sql := range seen {
		r.check([]want{{sql, "refused", "may write what opmux cannot see"}})
	}
	for _, sql := range unseen {
		r.check([]want{{sql, "pass", ""}})
	}
	r.check([]want{{`INSERT INTO log DEFAULT VALUES`, "refused", "a cast that runs a volatile function"}}) // the server may apply it unasked
}

// I6: a function that makes a setting changes what stands behind it in the transaction,
// whatever it is declared as; the server does not report each setting, nor at once.
func TestI6FunctionsThatMakeSettingsAreVolatile(t *testing.T) {
	r := newRig(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`,
		`CREATE FUNCTION turns() RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN pg_catalog.Set_Config(''search_path'', ''o'', false); END'`,
		`CREATE FUNCTION made() RETURNS text LANGUAGE sql IMMUTABLE RETURN set_config('search_path', 'o', false)`,
		`CREATE FUNCTION mixes() RETURNS text LANGUAGE sql STABLE AS 'SELECT set_config(''app.tenant'', ''1'', true) || set_config(''DateStyle'', ''SQL'', true)'`,
		`CREATE FUNCTION remembers() RETURNS text LANGUAGE sql STABLE AS 'SELECT set_config(''app.tenant'', ''1'', true)'`,
		`CREATE FUNCTION looks() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_setting(''search_path'')'`,
		`CREATE FUNCTION own() RETURNS text LANGUAGE sql STABLE SET search_path = o AS 'SELECT ''set_configured''::text'`)
	for _, fn := range []string{"turns", "made", "mixes"} {
		r.check([]want{{`SELECT ` + fn + `()`, "refused", "function " + fn}, {`UPDATE t SET v = 'x' WHERE v = ` + fn + `()`, "refused", "function " + fn}})
	}
	r.check([]want{{`SELECT looks(), own(), remembers()`, "pass", ""}})
}

// The casts that a range type brings with it are not the user's.
func TestRangeTypesLeaveTextAsItIs(t *testing.T) {
	r := newRig(t, `create type hours as range (subtype = time)`, `create table room(id int primary key, name text, h hours, n int)`)
	r.check([]want{
		{`UPDATE room SET n = n + 1, name = upper(name) WHERE id = 1`, "write text", ""},
		{`ALTER TABLE room ALTER COLUMN name TYPE varchar(5) USING left(name, 5)`, "ddl", ""},
	})
}

// I6: a function that calls one that writes is no read, whatever it is declared as: the
// server runs the inner one as what it is.
func TestI6FunctionsThatCallWritersAreVolatile(t *testing.T) {
	r := newRig(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`,
		`CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (1); RETURN 1; END'`,
		`CREATE FUNCTION "Draws"() RETURNS int LANGUAGE sql AS 'UPDATE t SET v = v RETURNING id'`,
		`CREATE FUNCTION between_them() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN Public . Writes (); END'`,
		`CREATE FUNCTION direct() RETURNS int LANGUAGE sql STABLE AS 'SELECT writes()'`,
		`CREATE FUNCTION quoted() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN "Draws"(); END'`,
		`CREATE FUNCTION farther() RETURNS int LANGUAGE sql STABLE AS 'SELECT between_them()'`,
		`CREATE FUNCTION parsed() RETURNS int LANGUAGE sql STABLE RETURN writes()`,
		`CREATE FUNCTION helper() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM t); END'`,
		`CREATE FUNCTION looks() RETURNS int LANGUAGE sql STABLE AS 'SELECT helper() + (SELECT max(id) FROM t WHERE v = ''writes'')'`)
	for _, fn := range []string{"direct", "quoted", "farther", "parsed"} {
		r.check([]want{{`SELECT ` + fn + `()`, "refused", "function " + fn}, {`UPDATE t SET v = 'x' WHERE id = ` + fn + `()`, "refused", "function " + fn}})
	}
	r.check([]want{{`SELECT looks()`, "pass", ""}})
}

// I6: the same where no text names the function: behind an operator, a view that has one, a
// cast, a domain, a policy, an argument's default, a check.
func TestI6CallersOfWritersAreSeenWhereverTheyRun(t *testing.T) {
	r := newRig(t, `CREATE TABLE log (id int)`, `CREATE TABLE t (id int PRIMARY KEY, v text)`,
		`CREATE FUNCTION writes(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES ($1); RETURN 1; END'`,
		`CREATE FUNCTION calm(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN writes($1); END'`,
		`CREATE FUNCTION calmer(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN calm($1); END'`,
		`CREATE FUNCTION calm(int, int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN writes($1); END'`,
		`CREATE FUNCTION sets(text, int) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN set_config(''DateStyle'', $1, false); END'`,
		`CREATE FUNCTION still(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1; END'`,
		`CREATE OPERATOR @!@ (LEFTARG = int, RIGHTARG = int, FUNCTION = calm)`, `CREATE OPERATOR @?@ (LEFTARG = text, RIGHTARG = int, FUNCTION = sets)`,
		`CREATE OPERATOR @#@ (RIGHTARG = int, FUNCTION = still)`, `CREATE VIEW seen AS SELECT 2 @!@ 3 AS n`, `CREATE VIEW quiet AS SELECT @#@ 3 AS n`,
		`CREATE DOMAIN checked AS int CHECK (calmer(value) > 0)`, `CREATE DOMAIN plain AS int CHECK (still(value) > 0)`,
		`CREATE FUNCTION given(a int DEFAULT calm(6)) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN a; END'`,
		`CREATE TABLE guarded (id int PRIMARY KEY CHECK (calmer(id) > 0))`, `CREATE TABLE open (id int PRIMARY KEY CHECK (still(id) > 0))`)
	for _, sql := range []string{`SELECT 1 @!@ 2`, `SELECT n FROM seen`, `SELECT 'German'::text @?@ 1`, `SELECT 5::checked`, `SELECT given()`, `INSERT INTO guarded VALUES (1)`} {
		r.check([]want{{sql, "refused", ""}})
	}
	r.check([]want{{`SELECT @#@ 1, 5::plain, n FROM quiet`, "pass", ""}, {`INSERT INTO open VALUES (1)`, "write text", ""}})
	r = newRig(t, `CREATE TABLE log (id int)`, `CREATE FUNCTION writes(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES ($1); RETURN 1; END'`,
		`CREATE TYPE kind AS ENUM ('a')`, `CREATE FUNCTION to_kind(int) RETURNS kind LANGUAGE plpgsql STABLE AS 'BEGIN PERFORM writes($1); RETURN ''a''; END'`,
		`CREATE CAST (int AS kind) WITH FUNCTION to_kind(int)`)
	r.check([]want{{`SELECT 4::kind`, "refused", ""}})
}
