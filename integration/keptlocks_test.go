package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// beside runs a statement in a session of its own, through the agent; what it came to is told by the channel.
func (b *bench) beside(conn *pgx.Conn, sql string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, sql) }()
	return done
}

// waits returns when so many server processes wait for locks.
func (b *bench) waits(most int) {
	b.t.Helper()
	testkit.Eventually(b.t, 20*time.Second, func() error {
		if n := b.onPrimary(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)[0][0]; n != fmt.Sprint(most) {
			return fmt.Errorf("%s processes wait for locks", n)
		}
		return nil
	})
}

// A command outside of transactions waits for those that are open; one with DDL must not wait for
// its end in turn, by locks of opmux's own, which the server would not take for a deadlock (I5).
func TestI5DDLCommitsBesideAnIndexThatWaitsForIt(t *testing.T) {
	b := up(t, rig.Config{}, `CREATE TABLE t (id int PRIMARY KEY, n int)`)
	open, writer, index := testkit.Connect(t, b.agent("a1").DSN()), testkit.Connect(t, b.agent("a1").DSN()), testkit.Connect(t, b.agent("a1").DSN())
	b.runParts(writer, pgx.QueryExecModeSimpleProtocol, `BEGIN; INSERT INTO t VALUES (2, 2)`)
	b.runParts(open, pgx.QueryExecModeSimpleProtocol, `BEGIN; INSERT INTO t VALUES (1, 1); CREATE TABLE made (id int)`)
	built := b.beside(index, `CREATE INDEX CONCURRENTLY t_n ON t (n)`)
	b.waits(1)
	began := time.Now()
	for _, conn := range []*pgx.Conn{writer, open} {
		select {
		case err := <-b.beside(conn, `COMMIT`):
			if err != nil {
				t.Errorf("COMMIT beside CREATE INDEX CONCURRENTLY: %v, after %v", err, time.Since(began))
			}
		case <-time.After(60 * time.Second):
			t.Fatal("a COMMIT and CREATE INDEX CONCURRENTLY wait for each other")
		}
	}
	b.must(<-built)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("they took %v", took)
	}
	b.identical()
	b.sameCatalogue()
}

// What a transaction did before its own DDL is looked at before that for the last time. Where it goes back to a savepoint
// behind that, the server gives up the locks by which it was to hold until the end (I6).
func TestI6NamesKeptInASavepoint(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, renamedSchema...)
	b.unlike = true
	id := 0
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
		for _, own := range []string{
			`SAVEPOINT a; CREATE TEMP TABLE mine (id int); ROLLBACK TO a`,
			`SAVEPOINT a; SAVEPOINT b; CREATE TABLE mine (id int); RELEASE b; ROLLBACK TO a`,
			`SAVEPOINT a; DO $$ BEGIN CREATE TABLE mine (id int);INSERT INTO numbers VALUES (-1, 1);END $$; ROLLBACK TO a; SAVEPOINT a; RELEASE a`,
		} {
			id++
			conn, other := testkit.Connect(t, b.agent("a1").DSN()), testkit.Connect(t, b.agent("a1").DSN())
			b.runParts(conn, mode, fmt.Sprintf(`BEGIN; INSERT INTO app.t VALUES (%d, 1); INSERT INTO feels (id, m) VALUES (%d, 'ok')`, id, id))
			for sql := range strings.SplitSeq(own, "; ") {
				b.runParts(conn, mode, sql)
			}
			b.runParts(other, pgx.QueryExecModeSimpleProtocol, "BEGIN; "+renames[0]+"; COMMIT")
			b.runParts(other, pgx.QueryExecModeSimpleProtocol, "BEGIN; "+renames[1]+"; COMMIT")
			var refused *pgconn.PgError
			if err := execute(b.ctx, conn, mode, `COMMIT`); !errors.As(err, &refused) || refused.Code != "40001" {
				t.Errorf("behind %s: %v", own, err)
			}
		}
	}
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for sql := range strings.SplitSeq(`BEGIN; CREATE TABLE made (id int); INSERT INTO made VALUES (1); SAVEPOINT a; INSERT INTO made VALUES (2); SAVEPOINT b; ALTER TABLE made ADD COLUMN n int; INSERT INTO made VALUES (3, 4); `+
		`ROLLBACK TO b; INSERT INTO made VALUES (5); RELEASE b; ALTER TABLE made ADD COLUMN m int; INSERT INTO made VALUES (6, 7); RELEASE a; COMMIT`, "; ") {
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, sql)
	}
	b.identical()
	b.sameCatalogue()
}

// DDL of one statement waits for DDL of another, and never for one that waits for it (I5).
func TestI5DDLDoesNotDeadlock(t *testing.T) {
	b := up(t, rig.Config{}, `CREATE SCHEMA app`, `CREATE TABLE t (id int PRIMARY KEY)`, `CREATE TYPE mood AS ENUM ('sad', 'ok')`)
	for _, c := range []struct{ held, first, second string }{
		{`SELECT FROM pg_namespace WHERE nspname = 'app' FOR UPDATE`, `ALTER SCHEMA app RENAME TO app2`, `CREATE TABLE IF NOT EXISTS made (id int)`},
		{`LOCK TABLE t`, `CREATE VIEW seen AS SELECT id FROM t`, `DO $$ BEGIN ALTER TYPE mood RENAME VALUE 'sad' TO 'bad'; END $$`},
		{`LOCK TABLE t`, `CREATE TRIGGER never BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`, `ALTER TYPE mood RENAME VALUE 'ok' TO 'well'`},
		{`LOCK TABLE t`, `CREATE OR REPLACE VIEW also AS SELECT id FROM t`, `DO $$ BEGIN ALTER TYPE mood RENAME VALUE 'well' TO 'ok'; END $$`},
		{`LOCK TABLE t`, `ALTER TABLE t ADD COLUMN n int`, `DO $$ BEGIN ALTER TYPE mood RENAME VALUE 'bad' TO 'sad'; END $$`},
		{`LOCK TABLE t`, `DROP TRIGGER IF EXISTS never ON t`, `ALTER TYPE mood RENAME VALUE 'sad' TO 'bad'`},
	} {
		holder := testkit.Connect(t, b.Primary.DSN(rig.Database))
		b.runParts(holder, pgx.QueryExecModeSimpleProtocol, `BEGIN; `+c.held)
		first := b.beside(testkit.Connect(t, b.agent("a1").DSN()), c.first)
		b.waits(1)
		second := b.beside(testkit.Connect(t, b.agent("a1").DSN()), c.second)
		b.waits(2)
		b.runParts(holder, pgx.QueryExecModeSimpleProtocol, `ROLLBACK`)
		if err := errors.Join(<-first, <-second); err != nil {
			t.Errorf("%s beside %s: %v", c.first, c.second, err)
		}
	}
	b.identical()
	b.sameCatalogue()
}

// A session that waits for a lock of opmux's ends as its own statement would (I5).
func TestI5TimeoutsOfOpmuxLocks(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, renamedSchema...)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
		for _, c := range []struct{ limit, held, before, then, code string }{
			{`SET lock_timeout = '200ms'`, `6`, `BEGIN; CREATE TABLE made (id int)`, `COMMIT`, "55P03"},
			{`SET statement_timeout = '200ms'`, `6`, `BEGIN; CREATE TABLE made (id int)`, `COMMIT`, "57014"},
			{`SET lock_timeout = '200ms'`, `5`, `BEGIN; INSERT INTO app.t VALUES (77, 1)`, `CREATE TABLE made (id int)`, "55P03"},
			{`SET statement_timeout = '200ms'`, `5`, `BEGIN; INSERT INTO app.t VALUES (77, 1)`, `DO $$ BEGIN INSERT INTO app.t VALUES (78, 1); END $$`, "57014"},
			{`SET lock_timeout = '200ms'`, `5`, `SELECT 1`, `ALTER TYPE mood RENAME VALUE 'sad' TO 'bad'`, "55P03"},
		} {
			holder, conn := testkit.Connect(t, b.Primary.DSN(rig.Database)), testkit.Connect(t, b.agent("a1").DSN())
			b.runParts(conn, mode, c.limit)
			b.runParts(holder, pgx.QueryExecModeSimpleProtocol, `BEGIN; SELECT pg_advisory_xact_lock(1869638005, `+c.held+`)`)
			b.runParts(conn, mode, c.before)
			var refused *pgconn.PgError
			if err := execute(b.ctx, conn, mode, c.then); !errors.As(err, &refused) || refused.Code != c.code {
				t.Errorf("%s, %s, %s: %v, not %s", c.limit, c.before, c.then, err, c.code)
			}
			b.runParts(conn, mode, `ROLLBACK`)
			b.runParts(holder, pgx.QueryExecModeSimpleProtocol, `ROLLBACK`)
			if left := b.onPrimary(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1869638005`)[0][0]; left != "0" {
				t.Errorf("%s, %s: %s locks of opmux's are left", c.before, c.then, left)
			}
		}
	}
	b.identical()
	b.sameCatalogue()
}

// Children and names of keys that others give a table behind its UPDATE, which their locks let go on, wait for
// a transaction that cannot look at that again, since it has DDL of its own (I6).
func TestI6ChildrenBehindOwnDDL(t *testing.T) {
	b := up(t, rig.Config{}, `CREATE TABLE par_0 (id int PRIMARY KEY, n int)`, `CREATE TABLE par_1 (id int PRIMARY KEY, n int)`, `CREATE TABLE par_2 (id int PRIMARY KEY, n int)`,
		`INSERT INTO par_0 VALUES (1, 1)`, `INSERT INTO par_1 VALUES (1, 1)`, `INSERT INTO par_2 VALUES (1, 1)`, `CREATE TABLE chi (id int PRIMARY KEY, n int)`, `INSERT INTO chi VALUES (1, 1)`)
	for i, theirs := range []string{`ALTER TABLE chi INHERIT par_0`, `CREATE TABLE other (m int) INHERITS (par_1)`, `ALTER INDEX par_2_pkey RENAME TO par_key`} {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, fmt.Sprintf(`BEGIN; UPDATE par_%[1]d SET n = 5 WHERE id = 1; CREATE TABLE made_%[1]d (id int)`, i))
		done := b.beside(testkit.Connect(t, b.agent("a1").DSN()), theirs)
		b.waits(1)
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `COMMIT`)
		b.must(<-done)
	}
	b.identical()
	b.sameCatalogue()
}
