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
