package prepared_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/internal/testkit"
)

// TestAClaimThatWasNotAnsweredDoesNotStick: its session lives on, and others can end the
// transaction.
func TestAClaimThatWasNotAnsweredDoesNotStick(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithConf("max_prepared_transactions = 5"))
	b := open(t, pg)
	b.prepare("stuck")
	first, second := b.session(), b.session()
	standby := func(name string) {
		pg.Exec(t, b.db, `ALTER SYSTEM SET synchronous_standby_names = '`+name+`'`, `SELECT pg_reload_conf()`)
	}
	waits := func(n int) {
		t.Helper()
		testkit.Eventually(t, patience, func() error {
			if rows := pg.Query(t, b.db, `SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'`); len(rows) != n {
				return fmt.Errorf("%d sessions wait for the standby, want %d", len(rows), n)
			}
			return nil
		})
	}
	standby("nobody")
	// A commit waits only once the checkpointer has read the setting.
	writer, released := b.session(), make(chan error, 1)
	writes, stop := context.WithCancel(t.Context())
	go func() {
		var err error
		for err == nil && writes.Err() == nil {
			_, err = writer.Exec(t.Context(), `INSERT INTO t VALUES (1)`)
		}
		released <- err
	}()
	waits(1)
	ctx, cancel := context.WithCancel(t.Context())
	claimed := make(chan error, 1)
	go func() {
		_, err := b.Claim(ctx, "stuck", first.attempt)
		claimed <- err
	}()
	waits(2)
	stop()
	cancel()
	standby("")
	b.must(<-released)
	if err := <-claimed; err == nil {
		t.Fatal("the claim was answered")
	}
	b.claim(second, "stuck", prepared.Claimed)
}
