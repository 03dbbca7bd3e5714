package integration

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// I6: a backup computes generated columns under the session's settings. Where a function
// had others when it wrote, what it did is refused, also of a table that has got its
// generated column later.
func TestI6ComputedUnderOtherSettings(t *testing.T) {
	const third = `1 / 3.0::float8`
	b := up(t, rig.Config{AgentYAML: triggersOn},
		`CREATE TABLE shown (id int PRIMARY KEY, f float8, b bytea DEFAULT '\xff', g text GENERATED ALWAYS AS (f::text) STORED, h text GENERATED ALWAYS AS (b::text) STORED)`,
		`CREATE TABLE plain (id int PRIMARY KEY, f float8)`,
		`CREATE FUNCTION rounds(int) RETURNS void LANGUAGE sql SET extra_float_digits = 0 AS 'INSERT INTO shown VALUES ($1, `+third+`)'`,
		`CREATE FUNCTION escapes() RETURNS void LANGUAGE sql SET bytea_output = 'escape' AS 'UPDATE shown SET f = f'`,
		`CREATE FUNCTION rounds_plain() RETURNS void LANGUAGE sql SET extra_float_digits = 0 AS 'INSERT INTO plain VALUES (1, `+third+`)'`,
		`CREATE FUNCTION says(timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::text'`,
		`CREATE TABLE told (id int PRIMARY KEY, at timestamptz DEFAULT '2026-01-02 03:04:05+00', said text GENERATED ALWAYS AS (says(at)) STORED)`,
		`CREATE FUNCTION abroad(int) RETURNS void LANGUAGE sql SET TimeZone = 'Asia/Tokyo' AS 'INSERT INTO told VALUES ($1)'`,
		`CREATE TABLE marked (id int PRIMARY KEY, at timestamptz DEFAULT '2026-01-02 03:04:05+00', x xml GENERATED ALWAYS AS (xmlelement(name x, at)) STORED)`,
		`CREATE FUNCTION marks(int) RETURNS void LANGUAGE sql SET TimeZone = 'Asia/Tokyo' AS 'INSERT INTO marked VALUES ($1)'`,
		`CREATE FUNCTION both_abroad(int) RETURNS void LANGUAGE sql SET TimeZone = 'Asia/Tokyo' AS 'INSERT INTO shown VALUES ($1); INSERT INTO told VALUES ($1)'`,
		`CREATE FUNCTION abroad_shown(int) RETURNS void LANGUAGE sql SET TimeZone = 'Asia/Tokyo' AS 'INSERT INTO shown VALUES ($1)'`,
		`CREATE FUNCTION found(int) RETURNS void LANGUAGE sql SET search_path = public, pg_temp AS 'INSERT INTO shown VALUES ($1, `+third+`)'`)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `ALTER TABLE plain ADD COLUMN g text GENERATED ALWAYS AS (f::text) STORED`)
	for _, sql := range []string{
		`SELECT found(1)`, `SELECT found(2), found(3)`, `SELECT abroad_shown(10)`, `SET TimeZone = 'Asia/Tokyo'`, `SELECT abroad(1)`, `SELECT marks(1)`, `SELECT both_abroad(11)`, `RESET TimeZone`,
		`BEGIN; SET LOCAL bytea_output = 'escape'; SELECT found(4); SET LOCAL bytea_output = 'hex'; SELECT found(5); COMMIT`,
		`SET TimeZone = 'Asia/Tokyo'; SELECT found(6); RESET TimeZone; SELECT found(7)`,
		`DO $$ BEGIN BEGIN PERFORM rounds(8); RAISE EXCEPTION 'undone'; EXCEPTION WHEN raise_exception THEN NULL; END; PERFORM found(9); END $$`,
	} {
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, sql)
	}
	for _, sql := range []string{
		`SELECT abroad(2)`, `SELECT marks(2)`, `SELECT both_abroad(20)`, `SELECT rounds(20)`, `SELECT escapes()`, `SELECT rounds_plain()`, `SELECT found(20), rounds(21), found(22)`,
		`DO $$ BEGIN SET LOCAL extra_float_digits = 0; PERFORM found(20); SET LOCAL extra_float_digits = 1; END $$`,
		`DO $$ BEGIN PERFORM set_config('extra_float_digits', '0', false); PERFORM found(20); END $$`,
		`WITH w AS (INSERT INTO shown VALUES (20, 1) RETURNING id) SELECT rounds(21) FROM w`,
	} {
		_, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol)
		if err == nil || !strings.Contains(err.Error(), "opmux: ") {
			t.Errorf("%s: %v, want a refusal", sql, err)
		}
	}
	b.identical()
	if n := b.onPrimary(`SELECT count(*) FROM shown WHERE id >= 20`)[0][0]; n != "0" {
		t.Errorf("%s rows of what was refused have stayed", n)
	}
}

// I6: a generated column whose function says that it is immutable, and reads the client's
// encoding, has another value on a backup, in whose sessions that is UTF8.
func TestI6ComputedInAnotherEncoding(t *testing.T) {
	for _, triggers := range []string{"off", "on"} {
		t.Run("triggers "+triggers, func(t *testing.T) {
			b := up(t, rig.Config{AgentYAML: "capture: {triggers: " + triggers + "}\n"},
				`CREATE FUNCTION encoded(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || pg_client_encoding()'`,
				`CREATE TABLE shown (id int PRIMARY KEY, v text, g text GENERATED ALWAYS AS (encoded(v)) STORED)`,
				`CREATE TABLE plain (id int PRIMARY KEY, v text)`, `CREATE TABLE typed (id int PRIMARY KEY, v text)`,
				`CREATE FUNCTION inside(int) RETURNS void LANGUAGE sql AS 'INSERT INTO shown VALUES ($1, ''x'')'`)
			for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeDescribeExec} {
				conn := testkit.Connect(t, b.agent("a1").DSN())
				b.runParts(conn, mode, `SET client_encoding = LATIN1`)
				b.runParts(conn, mode, `INSERT INTO plain SELECT max(id) + 1, 'x' FROM (SELECT id FROM plain UNION SELECT 0) p`)
				for _, sql := range []string{
					`INSERT INTO shown VALUES (1, 'x')`, `SELECT inside(2)`, `ALTER TABLE plain ADD g text GENERATED ALWAYS AS (encoded(v)) STORED`,
					`ALTER TABLE plain ADD w uuid DEFAULT gen_random_uuid(), ADD g text GENERATED ALWAYS AS (encoded(v)) STORED`,
					`ALTER TABLE shown ALTER COLUMN id TYPE bigint`, `DO $$ BEGIN ALTER TABLE plain ADD g text GENERATED ALWAYS AS (encoded(v)) STORED; END $$`,
				} {
					if err := execute(b.ctx, conn, mode, sql); err == nil || !strings.Contains(err.Error(), "opmux: ") || triggers == "on" && !strings.Contains(err.Error(), "reads a setting") {
						t.Errorf("%s: %v, want a refusal", sql, err)
					}
				}
				b.runParts(conn, mode, `ALTER TABLE typed ADD g text GENERATED ALWAYS AS (upper(v)) STORED`)
				b.runParts(conn, mode, `ALTER TABLE typed DROP g`)
			}
			b.identical()
		})
	}
}

// I6: a function that a generated column calls looks for others in the search path. Where a
// function of another path wrote the row, and others are found by it, that is refused; where the
// same are found, or the column's function has a path of its own, it is carried.
func TestI6ComputedUnderAnotherSearchPath(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn},
		`CREATE SCHEMA ga`, `CREATE SCHEMA gb`, `CREATE SCHEMA others`, `CREATE ROLE elsewhere`, `CREATE SCHEMA elsewhere`,
		`CREATE FUNCTION ga.g(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'`,
		`CREATE FUNCTION gb.g(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 2'`,
		`CREATE FUNCTION elsewhere.g(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 3'`,
		`CREATE FUNCTION gb.plus(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2 + 3'`,
		`CREATE FUNCTION ga.plus(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2 + 4'`,
		`CREATE OPERATOR ga.+* (leftarg = int, rightarg = int, function = ga.plus)`, `CREATE OPERATOR gb.+* (leftarg = int, rightarg = int, function = gb.plus)`,
		`CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN g($1); END'`,
		`CREATE FUNCTION deep(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.f($1)'`,
		`CREATE FUNCTION sum_of(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 +* 1; END'`,
		`CREATE FUNCTION bound(int) RETURNS int LANGUAGE plpgsql IMMUTABLE SET search_path = ga AS 'BEGIN RETURN g($1); END'`,
		`CREATE FUNCTION named(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN ga.g(abs($1)) * 2; END'`,
		`CREATE TABLE gt (a int, b int GENERATED ALWAYS AS (f(a)) STORED) PARTITION BY LIST (a)`, `CREATE TABLE gt_all PARTITION OF gt DEFAULT`,
		`CREATE TABLE deeper (a int, b int GENERATED ALWAYS AS (deep(a)) STORED)`,
		`CREATE TABLE added (a int, b int GENERATED ALWAYS AS (sum_of(a)) STORED)`,
		`CREATE TABLE same (a int, b int GENERATED ALWAYS AS (bound(a)) STORED, c int GENERATED ALWAYS AS (named(a)) STORED)`,
		`CREATE FUNCTION w(t text, a int) RETURNS void LANGUAGE plpgsql SET search_path = public, gb AS $$ BEGIN EXECUTE format('INSERT INTO %I VALUES ($1)', t) USING a; END $$`,
		`CREATE FUNCTION alike(t text, a int) RETURNS void LANGUAGE plpgsql SET search_path = others, ga, pg_temp AS $$ BEGIN EXECUTE format('INSERT INTO public.%I VALUES ($1)', t) USING a; END $$`,
		`GRANT ALL ON ALL TABLES IN SCHEMA public TO elsewhere`, `GRANT ALL ON SCHEMA elsewhere, ga TO elsewhere`,
		`CREATE FUNCTION owned(a int) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.gt VALUES (a)'`, `ALTER FUNCTION owned OWNER TO elsewhere`,
		`ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC`) // opmux's own functions are still for all
	conn := testkit.Connect(t, b.agent("a1").DSN())
	b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `SET search_path = "$user", public, ga`)
	for _, sql := range []string{
		`SELECT w('same', 1)`, `SELECT alike('gt', 1), alike('deeper', 2), alike('added', 3)`, `SELECT alike('same', 1)`,
		`BEGIN; SET LOCAL search_path = public, gb; SELECT w('gt', 4), w('deeper', 5), w('added', 6); COMMIT`,
		`BEGIN; SET LOCAL search_path = public, gb; SELECT w('gt', 7); SET LOCAL search_path = public, ga; SELECT alike('gt', 8); COMMIT`,
	} {
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, sql)
	}
	for _, sql := range []string{
		`SELECT w('gt', 20)`, `SELECT w('deeper', 20)`, `SELECT w('added', 20)`, `SELECT alike('gt', 20), w('gt', 21)`, `SELECT owned(20)`,
		`DO $$ BEGIN SET LOCAL search_path = public, gb; INSERT INTO gt VALUES (20); END $$`,
		`DO $$ BEGIN PERFORM set_config('search_path', 'gb', true); INSERT INTO public.gt VALUES (20); PERFORM set_config('search_path', 'public, ga', true); END $$`,
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeDescribeExec} {
			if _, err := conn.Exec(b.ctx, sql, mode); err == nil || !strings.Contains(err.Error(), "under another search_path than the session's") {
				t.Errorf("%s: %v, want a refusal", sql, err)
			}
		}
	}
	b.identical()
	if n := b.onPrimary(`SELECT count(*) FROM gt WHERE a >= 20`)[0][0]; n != "0" {
		t.Errorf("%s rows of what was refused have stayed", n)
	}
}
