package settle_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// probe is what a session knows of its transaction.
func probe(t testing.TB, conn *pgx.Conn) event.PostgresTx {
	t.Helper()
	var tx event.PostgresTx
	err := conn.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text::bigint, pg_backend_pid(),
		(SELECT (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity WHERE pid = pg_backend_pid()),
		pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&tx.XID, &tx.BackendPID, &tx.BackendStart, &tx.ProbeLSN)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func exec(t testing.TB, conn *pgx.Conn, sql ...string) {
	t.Helper()
	for _, s := range sql {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func open(t testing.TB, dsn string) *settle.Server {
	t.Helper()
	s, err := settle.Open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func identify(t testing.TB, s *settle.Server) settle.Identity {
	t.Helper()
	var id settle.Identity
	testkit.Eventually(t, testkit.Patience, func() error {
		var err error
		id, err = s.Identify(context.Background())
		return err
	})
	return id
}

func mustBe(t testing.TB, s *settle.Server, i settle.Intent, want settle.State, by string) {
	t.Helper()
	var v settle.Verdict
	testkit.Eventually(t, testkit.Patience, func() error {
		var err error
		if v, err = s.Settle(context.Background(), i); err == nil && v.State == settle.Pending && want != settle.Pending {
			err = context.DeadlineExceeded
		}
		return err
	})
	if v.State != want || v.By != by {
		t.Errorf("got %+v, want %s by %q", v, want, by)
	}
}

func TestSettleAsksTheServer(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, "CREATE TABLE t (id int PRIMARY KEY)")
	s := open(t, pg.DSN(db))
	id := identify(t, s)
	if id.Database != db || id.SystemID == "" || id.Timeline != 1 || id.Started < id.Postmaster {
		t.Fatalf("identity: %+v", id)
	}
	intent := func(tx event.PostgresTx) settle.Intent { return settle.Intent{Tx: tx, Primary: id.Primary} }
	conn := pg.Connect(t, db)

	exec(t, conn, "BEGIN", "INSERT INTO t VALUES (1)")
	tx := probe(t, conn)
	exec(t, conn, "COMMIT")
	mustBe(t, s, intent(tx), settle.Committed, "xid status")
	if !conn.IsClosed() {
		t.Log("the session's backend was told to end although its transaction had") // it is of an agent that is gone
	}

	conn = pg.Connect(t, db)
	exec(t, conn, "BEGIN", "INSERT INTO t VALUES (2)")
	tx = probe(t, conn)
	exec(t, conn, "ROLLBACK")
	mustBe(t, s, intent(tx), settle.Aborted, "xid status")

	t.Run("I2: an open one is ended first", func(t *testing.T) {
		conn := pg.Connect(t, db)
		exec(t, conn, "BEGIN", "INSERT INTO t VALUES (3)")
		tx := probe(t, conn)
		mustBe(t, s, intent(tx), settle.Aborted, "xid status")
		if _, err := conn.Exec(t.Context(), "COMMIT"); err == nil {
			t.Error("it committed after it was said to be aborted")
		}
	})
	t.Run("a process id used again is left alone", func(t *testing.T) {
		conn := pg.Connect(t, db)
		exec(t, conn, "BEGIN", "INSERT INTO t VALUES (4)")
		tx := probe(t, conn)
		tx.BackendStart++
		mustBe(t, s, intent(tx), settle.Pending, "")
		exec(t, conn, "COMMIT")
		mustBe(t, s, intent(tx), settle.Committed, "xid status")
	})
	t.Run("what cannot be told is in doubt", func(t *testing.T) {
		tx := tx
		tx.XID = 0
		mustBe(t, s, intent(tx), settle.InDoubt, "")
		tx.XID = 1 << 40
		mustBe(t, s, intent(tx), settle.InDoubt, "")
		other := intent(probe(t, pg.Connect(t, db)))
		other.Primary.SystemID = "1"
		mustBe(t, s, other, settle.InDoubt, "")
		other.Primary = id.Primary
		other.Primary.Timeline++
		mustBe(t, s, other, settle.InDoubt, "")
	})
}

// Where the catalogue login may not end the backend, the transaction is not
// aborted by saying so.
func TestSettleWithoutPrivileges(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, "CREATE TABLE t (id int)", "CREATE ROLE weak LOGIN")
	s := open(t, strings.Replace(pg.DSN(db), "postgres@", "weak@", 1))
	id := identify(t, s)
	conn := pg.Connect(t, db)
	exec(t, conn, "BEGIN", "INSERT INTO t VALUES (1)")
	v, err := s.Settle(t.Context(), settle.Intent{Tx: probe(t, conn), Primary: id.Primary})
	if err != nil || v.State != settle.Pending || !strings.Contains(v.Reason, "pg_monitor") {
		t.Errorf("got %+v, %v", v, err)
	}
	exec(t, conn, "COMMIT")
}

// What was never prepared is settled by a login that may not look into schema opmux,
// which compares a hash of the catalogue. Where something may have been, it is not
// said to be committed, and the operator hears what to grant.
func TestSettleWhereOpmuxPreparedCannotBeRead(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	for name, c := range map[string]struct {
		setup []string
		want  settle.State
	}{
		"another's schema":          {[]string{"CREATE SCHEMA opmux"}, settle.Committed},
		"a table in it":             {[]string{"CREATE SCHEMA opmux", "CREATE TABLE opmux.prepared (xid xid8, attempt uuid, system int8)"}, settle.Pending},
		"a table that is not shown": {[]string{"CREATE SCHEMA opmux", "GRANT USAGE ON SCHEMA opmux TO public", "CREATE TABLE opmux.prepared (xid xid8, attempt uuid, system int8)"}, settle.Pending},
		"which attempt is shown": {[]string{"CREATE SCHEMA opmux", "GRANT USAGE ON SCHEMA opmux TO public", "CREATE TABLE opmux.prepared (xid xid8, attempt uuid, system int8, body bytea)",
			"GRANT SELECT (xid, attempt, system) ON opmux.prepared TO public"}, settle.Committed},
	} {
		t.Run(name, func(t *testing.T) {
			db := pg.CreateDB(t)
			login := "weak_" + db
			pg.Exec(t, db, append(c.setup, "CREATE TABLE t (id int)", "CREATE ROLE "+login+" LOGIN IN ROLE pg_read_all_stats, pg_signal_backend")...)
			s := open(t, strings.Replace(pg.DSN(db), "postgres@", login+"@", 1))
			id := identify(t, s)
			conn := pg.Connect(t, db)
			exec(t, conn, "BEGIN", "INSERT INTO t VALUES (1)")
			tx := probe(t, conn)
			exec(t, conn, "COMMIT")
			_ = conn.Close(t.Context())
			v, err := s.Settle(t.Context(), settle.Intent{Tx: tx, Primary: id.Primary})
			if err != nil || v.State != c.want || (v.State == settle.Pending) != strings.Contains(v.Reason, "GRANT") {
				t.Errorf("got %+v, %v, want %s", v, err, c.want)
			}
		})
	}
}

// crashed leaves three transactions behind whose outcome the agent could not learn:
// one committed for good, one that committed in memory and is lost by the crash, and
// the id of the lost one is drawn again by a transaction that commits.
func crashed(t *testing.T, crash func(*testkit.PG), later ...string) (s *settle.Server, before settle.Identity, kept, lost event.PostgresTx) {
	pg := testkit.Postgres(t, testkit.WithConf("wal_writer_delay = 10s", "fsync = on", "restart_after_crash = on", "autovacuum = off"))
	pg.Exec(t, "postgres", "CREATE TABLE t (id int)", "CHECKPOINT")
	s = open(t, pg.DSN("postgres"))
	before = identify(t, s)
	conn := pg.Connect(t, "postgres")
	exec(t, conn, "SET synchronous_commit = on", "BEGIN", "INSERT INTO t VALUES (1)")
	kept = probe(t, conn)
	exec(t, conn, "COMMIT", "SET synchronous_commit = off", "BEGIN", "INSERT INTO t VALUES (2)")
	lost = probe(t, conn)
	exec(t, conn, "COMMIT")
	crash(pg)
	testkit.Eventually(t, testkit.Patience, func() error {
		probe, err := pgx.Connect(t.Context(), pg.DSN("postgres"))
		if err == nil {
			probe.Close(t.Context())
		}
		return err
	})
	again := pg.Connect(t, "postgres")
	for {
		exec(t, again, "BEGIN", "INSERT INTO t VALUES (3)")
		now := probe(t, again)
		exec(t, again, "COMMIT")
		if now.XID == lost.XID {
			break
		}
		if now.XID > lost.XID {
			t.Fatalf("transaction id %d was not drawn again, but %d", lost.XID, now.XID)
		}
	}
	exec(t, again, later...)
	return s, before, kept, lost
}

// I2: after a crash, the status of a transaction id may tell of another transaction.
func TestI2_SettleAfterACrash(t *testing.T) {
	for name, crash := range map[string]func(*testkit.PG){
		"of the server": func(pg *testkit.PG) { pg.Kill(t); pg.Start(t) },
		"of a backend":  func(pg *testkit.PG) { killBackend(t, pg) },
	} {
		t.Run(name, func(t *testing.T) {
			s, before, kept, lost := crashed(t, crash)
			after := identify(t, s)
			if after.Started <= before.Started || after.RecoveryLSN == 0 {
				t.Fatalf("identity before %+v, after %+v", before, after)
			}
			mustBe(t, s, settle.Intent{Tx: kept, Primary: before.Primary}, settle.Committed, "xid status")
			mustBe(t, s, settle.Intent{Tx: lost, Primary: before.Primary}, settle.Aborted, "end of recovery")
			// Had there been another crash before, seen by nobody, its log could have grown past.
			lost.ProbeLSN = kept.ProbeLSN
			mustBe(t, s, settle.Intent{Tx: lost, Primary: before.Primary}, settle.Aborted, "id not drawn")
			lost.XID += 1000
			mustBe(t, s, settle.Intent{Tx: lost, Primary: before.Primary}, settle.Aborted, "id not drawn")
		})
	}
}

// Once a later checkpoint has taken its place, only the stream knows where the
// recovery ended; without that the transaction is in doubt, not committed.
func TestI2_SettleAfterAMissedRecovery(t *testing.T) {
	var seen settle.Identity
	s, before, kept, lost := crashed(t, func(pg *testkit.PG) {
		pg.Kill(t)
		pg.Start(t)
		seen = identify(t, open(t, pg.DSN("postgres")))
	}, "INSERT INTO t SELECT generate_series(1, 10000)", "CHECKPOINT")
	if after := identify(t, s); after.RecoveryLSN != 0 || after.CheckpointLSN <= seen.RecoveryLSN || after.Started != seen.Started {
		t.Fatalf("identity at once %+v, later %+v", seen, after)
	}
	told := []settle.Recovery{{Timeline: seen.Timeline, Started: seen.Started, LSN: seen.RecoveryLSN}}
	mustBe(t, s, settle.Intent{Tx: lost, Primary: before.Primary}, settle.InDoubt, "")
	mustBe(t, s, settle.Intent{Tx: lost, Primary: before.Primary, Recoveries: told}, settle.Aborted, "end of recovery")
	mustBe(t, s, settle.Intent{Tx: kept, Primary: before.Primary, Recoveries: told}, settle.Committed, "xid status")
	missed := append([]settle.Recovery{{Timeline: seen.Timeline, Started: seen.Started - 1}}, told...) // a start between whose recovery nobody saw
	mustBe(t, s, settle.Intent{Tx: kept, Primary: before.Primary, Recoveries: missed}, settle.InDoubt, "")
}

// killBackend crashes one backend, after which the server recovers without a new
// postmaster.
func killBackend(t testing.TB, pg *testkit.PG) {
	t.Helper()
	pid, err := strconv.Atoi(pg.Query(t, "postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'")[0][0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.Patience, func() error {
		if err := syscall.Kill(pid, 0); err == nil {
			return context.DeadlineExceeded
		}
		return nil
	})
}
