package prepared_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/zap"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/testkit"
)

// TestI2AttemptsAcrossAFailover: what was prepared is on the new primary with its row, is
// committed there, and the attempt of the former primary's session is aborted.
func TestI2AttemptsAcrossAFailover(t *testing.T) {
	settings := "max_prepared_transactions = 5"
	pg := testkit.Postgres(t, testkit.WithConf(settings))
	b := open(t, pg)
	standby, err := pgserver.StartStandby(t.Context(), pg.Server, pgserver.Config{Name: "standby", Settings: []string{settings}})
	b.must(err)
	t.Cleanup(func() { standby.Close() })
	before := identify(b, pg.DSN(b.db))
	xid, c := b.prepare("over"), b.session()
	claim := b.claim(c, "over", prepared.Claimed)
	pg.Exec(t, b.db, `SELECT pg_switch_wal()`)
	testkit.Eventually(t, patience, func() error {
		if rows := pg.Query(t, b.db, `SELECT 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()`); len(rows) == 0 {
			return errors.New("the standby is behind")
		}
		return nil
	})
	b.must(standby.Promote(t.Context()))
	pg.Kill(t)

	now := identify(b, standby.DSN(b.db))
	server, err := settle.Open(standby.DSN(b.db))
	b.must(err)
	t.Cleanup(func() { server.Close() })
	end, err := server.TimelineEnd(t.Context(), before.Timeline)
	b.must(err)
	intent := settle.Intent{ID: c.attempt.ID, Primary: before.Primary, Ends: []settle.TimelineEnd{{Next: now.Timeline, LSN: end}},
		Tx: event.PostgresTx{XID: xid, BackendPID: c.attempt.BackendPID, BackendStart: c.attempt.BackendStart, ProbeLSN: claim.LSN}}
	cat, err := catalog.Open(t.Context(), catalog.Config{DSN: standby.DSN(b.db)})
	b.must(err)
	t.Cleanup(func() { cat.Close() })
	over := &bench{Store: prepared.New(cat.Prepared(), zap.NewNop()), t: t, pg: &testkit.PG{Server: standby}, db: b.db}
	b.must(over.Open(t.Context()))
	next := over.session()
	over.claim(next, "over", prepared.Claimed)
	over.exec(next, `COMMIT PREPARED 'over'`)
	v, err := server.Settle(t.Context(), intent)
	if err != nil || v.State != settle.Aborted {
		t.Errorf("the former primary's attempt: %+v, %v", v, err)
	}
}

func identify(b *bench, dsn string) settle.Identity {
	b.t.Helper()
	server, err := settle.Open(dsn)
	b.must(err)
	defer func() { b.must(server.Close()) }()
	var id settle.Identity
	testkit.Eventually(b.t, patience, func() error {
		if id, err = server.Identify(context.Background()); err != nil {
			return fmt.Errorf("the server is not known: %w", err)
		}
		return nil
	})
	return id
}
