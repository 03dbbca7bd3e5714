package prepared_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// patience is the longest wait for a busy machine.
const patience = testkit.Patience

// bench is a store of a new database.
type bench struct {
	*prepared.Store
	t    *testing.T
	pg   *testkit.PG
	db   string
	logs *observer.ObservedLogs
}

func open(t *testing.T, pg *testkit.PG) *bench {
	t.Helper()
	b := &bench{t: t, pg: pg, db: pg.CreateDB(t)}
	pg.Exec(t, b.db, `CREATE TABLE t (id int)`)
	cat, err := catalog.Open(t.Context(), catalog.Config{DSN: pg.DSN(b.db)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cat.Close() })
	core, logs := observer.New(zapcore.ErrorLevel)
	b.logs, b.Store = logs, prepared.New(cat.Prepared(), zap.New(core))
	b.must(b.Open(t.Context()))
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// session is a connection with its identity.
type session struct {
	*pgx.Conn
	attempt prepared.Attempt
}

func (b *bench) session() *session {
	b.t.Helper()
	s := &session{Conn: b.pg.Connect(b.t, b.db)}
	id, err := uuid.NewV7()
	b.must(err)
	s.attempt.ID = event.TxID(id)
	b.must(s.QueryRow(b.t.Context(), `SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity WHERE pid = pg_backend_pid()`).
		Scan(&s.attempt.BackendPID, &s.attempt.BackendStart))
	return s
}

// prepare keeps a transaction and prepares it.
func (b *bench) prepare(gid string) uint64 {
	b.t.Helper()
	c := b.session()
	xid := b.begin(c, gid)
	b.exec(c, `PREPARE TRANSACTION '`+gid+`'`)
	return xid
}

func (b *bench) begin(c *session, gid string) uint64 {
	b.t.Helper()
	b.exec(c, `BEGIN`, `INSERT INTO t VALUES (1)`)
	var text string
	b.must(c.QueryRow(b.t.Context(), `SELECT pg_current_xact_id()::text`).Scan(&text))
	xid, err := strconv.ParseUint(text, 10, 64)
	b.must(err)
	b.must(b.Keep(b.t.Context(), prepared.Kept{XID: xid, GID: gid, Version: 7, Body: []byte("body"), Promises: []byte("promises")}))
	return xid
}

func (b *bench) exec(c *session, sql ...string) {
	b.t.Helper()
	for _, s := range sql {
		if _, err := c.Exec(b.t.Context(), s); err != nil {
			b.t.Fatalf("%s: %v", s, err)
		}
	}
}

func (b *bench) claim(c *session, gid string, want prepared.Standing) prepared.Claim {
	b.t.Helper()
	claim, err := b.Claim(b.t.Context(), gid, c.attempt)
	b.must(err)
	if claim.Standing != want {
		b.t.Fatalf("%s is %s, want %s", gid, claim.Standing, want)
	}
	return claim
}

func (b *bench) rows() string {
	b.t.Helper()
	return fmt.Sprint(b.pg.Query(b.t, b.db, `SELECT gid, attempts, body IS NOT NULL FROM opmux.prepared ORDER BY gid`))
}

// TestI4OneAttemptAtATime: a claim goes to another session only once its own is gone, or
// has given it up, and settling knows which attempt counted.
func TestI4OneAttemptAtATime(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	b := open(t, pg)
	xid := b.prepare("one")
	first, second, third := b.session(), b.session(), b.session()
	claim := b.claim(first, "one", prepared.Claimed)
	if claim.XID != xid || string(claim.Body) != "body" || string(claim.Promises) != "promises" || claim.Version != 7 || claim.LSN == 0 {
		t.Fatalf("claimed: %+v", claim)
	}
	b.claim(second, "one", prepared.Busy)
	given, err := b.GiveUp(t.Context(), xid, first.attempt.ID)
	if b.must(err); !given {
		t.Fatal("the claim was not given up")
	}
	b.claim(second, "one", prepared.Claimed)
	b.must(second.Close(t.Context()))
	testkit.Eventually(t, patience, func() error {
		claim, err := b.Claim(t.Context(), "one", third.attempt)
		if err == nil && claim.Standing != prepared.Claimed {
			err = fmt.Errorf("it is %s", claim.Standing)
		}
		return err
	})
	b.exec(third, `COMMIT PREPARED 'one'`)
	b.must(b.Ended(t.Context(), xid))
	if got := b.rows(); got != "[[one 3 f]]" && got != "[[one 4 f]]" { // a claim may be tried twice
		t.Errorf("kept: %s", got)
	}
	server, err := settle.Open(pg.DSN(b.db))
	b.must(err)
	t.Cleanup(func() { server.Close() })
	id, err := server.Identify(t.Context())
	b.must(err)
	for i, c := range []*session{first, second, third} {
		v, err := server.Settle(t.Context(), settle.Intent{ID: c.attempt.ID, Primary: id.Primary, Tx: event.PostgresTx{
			XID: xid, BackendPID: c.attempt.BackendPID, BackendStart: c.attempt.BackendStart, ProbeLSN: claim.LSN}})
		b.must(err)
		if want := map[bool]settle.State{true: settle.Committed, false: settle.Aborted}[c == third]; v.State != want {
			t.Errorf("attempt %d: %+v, want %s", i, v, want)
		}
	}
}

// TestI2SettlingGivesAnAttemptUp: one whose backend is gone, of a transaction that is
// still prepared, is aborted for good, also across a crash of the server.
func TestI2SettlingGivesAnAttemptUp(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithConf("max_prepared_transactions = 5"))
	b := open(t, pg)
	server, err := settle.Open(pg.DSN(b.db))
	b.must(err)
	t.Cleanup(func() { server.Close() })
	for _, crash := range []bool{false, true} {
		gid := fmt.Sprint("open ", crash)
		xid, c := b.prepare(gid), b.session()
		claim := b.claim(c, gid, prepared.Claimed)
		id, err := server.Identify(t.Context())
		b.must(err)
		intent := settle.Intent{ID: c.attempt.ID, Primary: id.Primary, Tx: event.PostgresTx{
			XID: xid, BackendPID: c.attempt.BackendPID, BackendStart: c.attempt.BackendStart, ProbeLSN: claim.LSN}}
		if crash {
			pg.Kill(t)
			pg.Start(t)
		}
		aborted := func() error {
			v, err := server.Settle(context.Background(), intent)
			if err == nil && v.State != settle.Aborted {
				err = fmt.Errorf("settled as %+v", v)
			}
			return err
		}
		testkit.Eventually(t, patience, aborted)
		c = b.session()
		b.claim(c, gid, prepared.Claimed)
		b.exec(c, `COMMIT PREPARED '`+gid+`'`)
		b.must(aborted()) // it was not that attempt
	}
}

// TestWaitingTellsWhoEndsThem: what operators are shown of prepared transactions.
func TestWaitingTellsWhoEndsThem(t *testing.T) {
	b := open(t, testkit.SharedPostgres(t))
	b.prepare("waits")
	b.prepare("ends")
	b.claim(b.session(), "ends", prepared.Claimed)
	c := b.session()
	b.exec(c, `BEGIN`, `INSERT INTO t VALUES (1)`, `PREPARE TRANSACTION 'went past'`)
	t.Cleanup(func() {
		b.pg.Exec(t, b.db, `ROLLBACK PREPARED 'waits'`, `ROLLBACK PREPARED 'ends'`, `ROLLBACK PREPARED 'went past'`)
	})
	if got := fmt.Sprint(b.pg.Query(t, b.db, `SELECT gid, "case" FROM (`+prepared.WaitingSQL+`) w`)); got != "[[waits kept] [ends ending] [went past past]]" {
		t.Errorf("waiting: %s", got)
	}
}

// TestSweepClearsWhatHasEnded, and nothing that may yet be prepared.
func TestSweepClearsWhatHasEnded(t *testing.T) {
	b := open(t, testkit.SharedPostgres(t))
	running, gone := b.session(), b.session()
	b.begin(running, "about to prepare")
	b.begin(gone, "rolled back")
	b.exec(gone, `ROLLBACK`)
	b.prepare("prepared")
	b.prepare("past")
	b.exec(gone, `COMMIT PREPARED 'past'`)
	b.pg.Exec(t, b.db, `INSERT INTO opmux.prepared (xid, gid, version, system) VALUES ('3', 'restored', 1, 1)`)
	b.must(b.Open(t.Context()))
	if got := b.rows(); got != "[[about to prepare 0 t] [prepared 0 t]]" {
		t.Errorf("kept: %s", got)
	}
	if n := b.logs.Len(); n != 1 {
		t.Errorf("%d errors were logged, want one, about what was committed past the agents", n)
	}
	b.exec(running, `PREPARE TRANSACTION 'about to prepare'`)
	for _, gid := range []string{"about to prepare", "prepared"} {
		b.exec(gone, `ROLLBACK PREPARED '`+gid+`'`)
	}
	b.must(b.Open(t.Context()))
	if got := b.rows(); got != "[]" {
		t.Errorf("kept: %s", got)
	}
}

// TestServersThatPrepareNothing get no table.
func TestServersThatPrepareNothing(t *testing.T) {
	b := open(t, testkit.Postgres(t))
	if disabled, err := b.Usable(); !disabled || err != nil {
		t.Errorf("usable: %v, %v", disabled, err)
	}
	if rows := b.pg.Query(t, b.db, `SELECT to_regclass('opmux.prepared') IS NULL`); rows[0][0] != "t" {
		t.Error("the table was made")
	}
}

// TestTheTableIsNobodyElses: what transactions wrote is not for those who may read
// tables that are made later; which attempt counts is, for logins that settle.
func TestTheTableIsNobodyElses(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	reader := "reader_" + db
	pg.Exec(t, db, `CREATE ROLE "`+reader+`"`, `ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "`+reader+`"`, `ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`)
	cat, err := catalog.Open(t.Context(), catalog.Config{DSN: pg.DSN(db)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cat.Close() })
	if err := prepared.New(cat.Prepared(), zap.NewNop()).Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := pg.Query(t, db, `SELECT has_any_column_privilege('`+reader+`', 'opmux.prepared', 'INSERT, UPDATE'), has_table_privilege('`+reader+`', 'opmux.prepared', 'SELECT, DELETE, TRUNCATE'),
		has_column_privilege('`+reader+`', 'opmux.prepared', 'body', 'SELECT'), has_column_privilege('`+reader+`', 'opmux.prepared', 'attempt', 'SELECT')`)
	if fmt.Sprint(got) != "[[f f f t]]" {
		t.Errorf("rights of another role: %v", got)
	}
}

// TestALoginThatMayNotEnterTheSchema is told what it lacks, and can be served otherwise.
func TestALoginThatMayNotEnterTheSchema(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	b := open(t, pg)
	login := "weak_" + b.db
	pg.Exec(t, b.db, `CREATE ROLE `+login+` LOGIN`, `GRANT SELECT, INSERT, UPDATE, DELETE ON opmux.prepared TO `+login)
	cat, err := catalog.Open(t.Context(), catalog.Config{DSN: strings.Replace(pg.DSN(b.db), "postgres@", login+"@", 1)})
	b.must(err)
	t.Cleanup(func() { cat.Close() })
	s := prepared.New(cat.Prepared(), zap.NewNop())
	b.must(s.Open(t.Context()))
	if _, err := s.Usable(); err == nil || !strings.Contains(err.Error(), "USAGE ON SCHEMA opmux") {
		t.Errorf("usable: %v", err)
	}
}

// TestI1RowsOfAnotherServerSayNothing: what came with a dump has the ids of another
// server's transactions.
func TestI1RowsOfAnotherServerSayNothing(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	b := open(t, pg)
	c := b.session()
	b.exec(c, `BEGIN`, `INSERT INTO t VALUES (1)`)
	var xid uint64
	b.must(c.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text::bigint`).Scan(&xid))
	b.exec(c, `COMMIT`)
	pg.Exec(t, b.db, fmt.Sprintf(`INSERT INTO opmux.prepared (xid, gid, version, attempt, attempts, system) VALUES ('%d', 'dumped', 1, gen_random_uuid(), 2, 1)`, xid))
	server, err := settle.Open(pg.DSN(b.db))
	b.must(err)
	t.Cleanup(func() { server.Close() })
	id, err := server.Identify(t.Context())
	b.must(err)
	v, err := server.Settle(t.Context(), settle.Intent{ID: c.attempt.ID, Primary: id.Primary, Tx: event.PostgresTx{
		XID: xid, BackendPID: c.attempt.BackendPID, BackendStart: c.attempt.BackendStart + 1}})
	if err != nil || v.State != settle.Committed {
		t.Errorf("%+v, %v, want committed", v, err)
	}
}
