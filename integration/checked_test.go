package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// I6: a backup checks the rows that capture triggers carry once more. Where the check
// writes, what it wrote would be there twice; where it only looks, nothing is refused.
func TestI6ChecksOfCapturedRows(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, `CREATE TABLE log (what text)`,
		`CREATE FUNCTION writes(v int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('checked ' || v); RETURN true; END $$`,
		`CREATE FUNCTION looks(v int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN v > (SELECT count(*) - 100 FROM log); END $$`,
		`CREATE OPERATOR ## (RIGHTARG = int, FUNCTION = writes)`,
		`CREATE TABLE written (id int PRIMARY KEY, v int CHECK (## v))`, `CREATE TABLE looked (id int PRIMARY KEY, v int CHECK (looks(v)))`)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		for _, sql := range []string{`INSERT INTO written VALUES (1, 1)`, `DO $$ BEGIN INSERT INTO written VALUES (2, 2); END $$`} {
			if _, err := conn.Exec(b.ctx, sql, mode); err == nil || !strings.Contains(err.Error(), "a backup calls it once more") {
				t.Errorf("%s: %v, want a refusal", sql, err)
			}
		}
	}
	b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `INSERT INTO looked VALUES (1, 1)`)
	b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `DO $$ BEGIN INSERT INTO looked VALUES (2, 2); INSERT INTO log VALUES ('by hand'); END $$`)
	b.identical()
}

// A backup checks by its own clock: a worker that comes too late to a row stops and says
// so, and goes on behind the check's end there (docs/statements.md, "What can still differ").
func TestChecksByTheClock(t *testing.T) {
	b := setUp(t, rig.Config{}, `CREATE TABLE offers (id int PRIMARY KEY, at timestamptz CHECK (at > now()))`)
	b.must(b.agent("a1").Start(b.ctx))
	b.throughAgent(`INSERT INTO offers VALUES (1, now() + interval '1 ms')`)
	testkit.Eventually(t, testkit.Patience, func() error {
		if b.count(b.Primary.DSN(rig.Database), `SELECT count(*) FROM offers WHERE at > now()`) > 0 {
			return errors.New("the offer still stands")
		}
		return nil
	})
	worker := b.worker("w1")
	b.must(worker.Launch())
	testkit.Eventually(t, testkit.Patience, func() error {
		status, err := b.Status(b.ctx)
		if err == nil && !strings.Contains(status.LastError, "23514") {
			err = fmt.Errorf("last_error is %q, want the check's", status.LastError)
		}
		return err
	})
	b.must(worker.Terminate())
	b.onBackup(`ALTER TABLE offers DROP CONSTRAINT offers_at_check`)
	b.must(worker.Start(b.ctx))
	b.throughAgent(`INSERT INTO offers VALUES (2, now() + interval '1 ms')`)
	b.identical()
}
