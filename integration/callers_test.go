package integration

import (
	"testing"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// callersSchema has functions that are declared STABLE and write, or make a setting, all the
// same, by what they call, and all that runs one without naming it.
var callersSchema = []string{
	`CREATE ROLE asks`, `CREATE TABLE log (id int)`, `CREATE TABLE days (d date)`,
	`CREATE FUNCTION writes(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES ($1); RETURN 1; END'`,
	`CREATE FUNCTION calm(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN writes($1); END'`,
	`CREATE FUNCTION calm(int, int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN writes($1); END'`,
	`CREATE OPERATOR @!@ (LEFTARG = int, RIGHTARG = int, FUNCTION = calm)`, `CREATE VIEW seen AS SELECT 2 @!@ 3 AS n`,
	`CREATE TYPE kind AS ENUM ('a')`, `CREATE FUNCTION to_kind(int) RETURNS kind LANGUAGE plpgsql STABLE AS 'BEGIN PERFORM writes($1); RETURN ''a''; END'`, `CREATE CAST (int AS kind) WITH FUNCTION to_kind(int)`,
	`CREATE DOMAIN checked AS int CHECK (calm(value) > 0)`,
	`CREATE FUNCTION given(a int DEFAULT calm(6)) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN a; END'`,
	`CREATE TABLE secured (id int PRIMARY KEY)`, `INSERT INTO secured VALUES (7)`, `ALTER TABLE secured ENABLE ROW LEVEL SECURITY`, `CREATE POLICY p ON secured USING (calm(id) > 0)`,
	`GRANT ALL ON log, days, secured TO asks`,
	`CREATE FUNCTION german(int, int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN PERFORM set_config(''DateStyle'', ''German, DMY'', false); RETURN 1; END'`,
	`CREATE OPERATOR @?@ (LEFTARG = int, RIGHTARG = int, FUNCTION = german)`,
}

// I6: a function that acts by what it calls is seen where no statement names it.
func TestI6CallersThatNobodyNames(t *testing.T) {
	b := up(t, rig.Config{}, callersSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for _, sql := range []string{
		`SELECT 1 @!@ 2`, `SELECT n FROM seen`, `SELECT 4::kind`, `SELECT 5::checked`, `SELECT given()`,
		`BEGIN; SET LOCAL ROLE asks; SELECT count(*) FROM secured; COMMIT`,
		`BEGIN; INSERT INTO days VALUES ('2026-05-05'); SELECT 1 @?@ 2; INSERT INTO days VALUES ('01/02/2026'); COMMIT`,
	} {
		if _, err := conn.Exec(b.ctx, sql); err == nil {
			t.Errorf("%s was carried", sql)
		}
		if _, err := conn.Exec(b.ctx, `ROLLBACK`); err != nil {
			t.Fatal(err)
		}
	}
	b.identical()
}
