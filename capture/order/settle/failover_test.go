package settle_test

import (
	"errors"
	"testing"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/testkit"
)

// promoted returns a standby of pg that has all of pg's log so far, and the
// function that promotes it.
func promoted(t *testing.T, pg *testkit.PG) (*pgserver.Server, func()) {
	t.Helper()
	standby, err := pgserver.StartStandby(t.Context(), pg.Server, pgserver.Config{Name: "standby"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { standby.Close() })
	return standby, func() {
		t.Helper()
		if err := standby.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// I2: what the former primary wrote behind the point where the standby took over is
// lost, and its transaction ids are drawn again; what lies below it, the standby knows.
func TestI2_SettleAfterAFailover(t *testing.T) {
	pg := testkit.Postgres(t)
	pg.Exec(t, "postgres", "CREATE TABLE t (id int)")
	before := identify(t, open(t, pg.DSN("postgres")))
	standby, promote := promoted(t, pg)
	conn := pg.Connect(t, "postgres")
	exec(t, conn, "BEGIN", "INSERT INTO t VALUES (1)")
	kept := probe(t, conn)
	exec(t, conn, "COMMIT")
	running := pg.Connect(t, "postgres")
	exec(t, running, "BEGIN", "INSERT INTO t VALUES (2)")
	cut := probe(t, running) // it commits on the former primary alone
	exec(t, conn, "SELECT pg_switch_wal()")
	testkit.Eventually(t, testkit.Patience, func() error {
		if rows := pg.Query(t, "postgres", "SELECT 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"); len(rows) == 0 {
			return errors.New("the standby is behind")
		}
		return nil
	})
	promote()
	exec(t, running, "COMMIT")
	exec(t, conn, "BEGIN", "INSERT INTO t VALUES (3)")
	lost := probe(t, conn)
	exec(t, conn, "COMMIT")
	pg.Kill(t)

	s := open(t, standby.DSN("postgres"))
	id := identify(t, s)
	if id.Timeline != before.Timeline+1 || id.SystemID != before.SystemID {
		t.Fatalf("identity before %+v, after %+v", before, id)
	}
	again := testkit.Connect(t, standby.DSN("postgres"))
	for {
		exec(t, again, "BEGIN", "INSERT INTO t VALUES (4)")
		now := probe(t, again)
		exec(t, again, "COMMIT")
		if now.XID >= lost.XID {
			break
		}
	}
	end, err := s.TimelineEnd(t.Context(), before.Timeline)
	if err != nil || end <= kept.ProbeLSN || end >= lost.ProbeLSN {
		t.Fatalf("timeline %d ended at %d, %v; want between %d and %d", before.Timeline, end, err, kept.ProbeLSN, lost.ProbeLSN)
	}
	var history *settle.HistoryError
	if _, err := s.TimelineEnd(t.Context(), id.Timeline); !errors.As(err, &history) {
		t.Errorf("the end of the present timeline: %v", err)
	}
	ends := []settle.TimelineEnd{{Next: id.Timeline + 1, LSN: 1}, {Next: id.Timeline, LSN: end}}
	of := func(tx event.PostgresTx) settle.Intent {
		return settle.Intent{Tx: tx, Primary: before.Primary, Ends: ends}
	}
	mustBe(t, s, of(kept), settle.Committed, "xid status")
	mustBe(t, s, of(cut), settle.Aborted, "xid status")
	mustBe(t, s, of(lost), settle.Aborted, "end of timeline")
	unknown := of(kept)
	unknown.Ends = nil
	mustBe(t, s, unknown, settle.InDoubt, "")
	crashed := of(lost)
	crashed.Recoveries = []settle.Recovery{{Timeline: before.Timeline, Started: lost.BackendStart + 1}}
	mustBe(t, s, crashed, settle.InDoubt, "") // nobody saw where that recovery ended
	crashed.Recoveries[0].LSN = lost.ProbeLSN - 1
	mustBe(t, s, crashed, settle.Aborted, "end of recovery")

	gone, err := s.Lost(t.Context(), []event.PostgresTx{kept, cut, lost, {XID: 0, ProbeLSN: end + 1}, {}, {XID: 1 << 40, ProbeLSN: 1}}, end)
	want := []bool{false, true, true, true, false, true}
	for i := range want {
		if err != nil || gone[i] != want[i] {
			t.Fatalf("lost: %v, %v, want %v", gone, err, want)
		}
	}
}
