package integration

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// What writes while names, labels and functions change under it: $n is a number that nobody else has.
var (
	renamedSchema = []string{
		`CREATE SCHEMA app`, `CREATE SCHEMA other`, `CREATE TABLE app.t (id int PRIMARY KEY, n int)`, `CREATE TABLE other.t (id int PRIMARY KEY, n int)`, `CREATE TABLE app.s (id serial PRIMARY KEY, n int)`, `CREATE TABLE other.s (id serial PRIMARY KEY, n int)`,
		`CREATE FUNCTION app.f() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 10'`, `CREATE FUNCTION other.f() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 20'`, `CREATE SEQUENCE app.free`, `CREATE SEQUENCE other.free START 100000`,
		`CREATE TYPE mood AS ENUM ('sad', 'ok')`, `CREATE TYPE pair AS (x int, y int)`, `CREATE TABLE feels (id int PRIMARY KEY, m mood, p pair)`,
		`CREATE FUNCTION number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'`, `CREATE TABLE numbers (id int PRIMARY KEY, n int)`,
	}
	renames = []string{
		`ALTER SCHEMA app RENAME TO third; ALTER SCHEMA other RENAME TO app; ALTER SCHEMA third RENAME TO other`,
		`ALTER TYPE mood RENAME VALUE 'sad' TO 'third'; ALTER TYPE mood RENAME VALUE 'ok' TO 'sad'; ALTER TYPE mood RENAME VALUE 'third' TO 'ok'`,
		`ALTER TYPE pair RENAME ATTRIBUTE x TO z; ALTER TYPE pair RENAME ATTRIBUTE y TO x; ALTER TYPE pair RENAME ATTRIBUTE z TO y`,
		`CREATE OR REPLACE FUNCTION number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $n'`,
		`DO $$ BEGIN ALTER SCHEMA app RENAME TO third;ALTER SCHEMA other RENAME TO app;ALTER SCHEMA third RENAME TO other;END $$`,
		`ALTER FUNCTION number() RENAME TO old_number; CREATE FUNCTION number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $n'; DROP FUNCTION old_number()`,
	}
	renamedWrites = []string{
		`INSERT INTO app.t VALUES ($n, 1)`, `INSERT INTO app.t SELECT $n, 2`, `INSERT INTO app.t VALUES ($n, app.f())`, `UPDATE app.t SET n = 3 WHERE id < $n`, `INSERT INTO app.s (n) VALUES ($n)`, `SELECT nextval('app.free')`,
		`INSERT INTO feels (id, m) VALUES ($n, 'ok')`, `INSERT INTO feels (id, p.x) VALUES ($n, 1)`, `UPDATE feels SET m = 'sad' WHERE id < $n`, `INSERT INTO numbers VALUES ($n, number())`, `DELETE FROM numbers WHERE n < number()`,
		`DO $$ BEGIN INSERT INTO app.t VALUES ($n, 4); END $$`, `DO $$ BEGIN INSERT INTO feels (id, m, p) VALUES ($n, 'sad', (1, 2)); PERFORM nextval('app.free'); END $$`, `DO $$ BEGIN DELETE FROM app.t WHERE id < $n - 100; INSERT INTO app.s (n) VALUES (5); END $$`,
		`CREATE TEMP TABLE mine (id int) ON COMMIT DROP; INSERT INTO app.t VALUES ($n, 6)`, `INSERT INTO app.t VALUES ($n, 7); CREATE TABLE made_$n (id int)`, `ALTER TABLE app.t ADD COLUMN c_$n int; ALTER TABLE app.t DROP COLUMN c_$n; INSERT INTO app.s (n) VALUES (8)`,
	}
)

// Commands that change what names, labels and functions stand for lock none of the tables that have them. Whatever they do
// to statements beside them, and in whichever order they commit: the backups have the same (I3, I6). A COMMIT takes
// long here, so that the records of two transactions often come in another order than one of them found the other.
func TestI6NamesChangeUnderLoad(t *testing.T) {
	rounds := testkit.FromEnv(t, "OPMUX_RENAMES_ROUNDS", 40)
	b := up(t, rig.Config{AgentYAML: triggersOn, PrimarySettings: []string{"commit_delay = 30000", "commit_siblings = 0"}}, renamedSchema...)
	b.unlike = true // compared while names change
	b.must(b.agent("a2").Start(b.ctx))
	var number, committed atomic.Int64
	run := func(conn *pgx.Conn, sql string) {
		sql = "BEGIN; " + strings.ReplaceAll(sql, "$n", fmt.Sprint(number.Add(1))) + "; COMMIT"
		_, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol)
		var answer *pgconn.PgError
		switch {
		case err == nil:
			committed.Add(1)
			return
		case !errors.As(err, &answer) || answer.Code != "40001" && answer.Code != "40P01":
			t.Errorf("%s: %v", sql, err)
		}
		_, _ = conn.Exec(b.ctx, "ROLLBACK") // what is left of the block, if it is
	}
	b.writersBeside(rounds, func(conn *pgx.Conn, w, i int) { run(conn, renamedWrites[(w*5+i)%len(renamedWrites)]) },
		func(conn *pgx.Conn, i int) { run(conn, renames[i%len(renames)]) })
	if got := committed.Load(); got < int64(rounds) {
		t.Errorf("%d transactions committed", got)
	}
	b.identical()
	b.sameCatalogue()
	b.sequencesFollow()
}
