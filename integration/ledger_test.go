package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// ledgerSchema is what the ledger workload writes: each transaction adds a row of
// its own and counts it in one of four rows that all clients share.
var ledgerSchema = []string{
	"CREATE TABLE ledger (client int, seq int, PRIMARY KEY (client, seq))",
	"CREATE TABLE counter (id int PRIMARY KEY, v int NOT NULL)",
	"INSERT INTO counter SELECT i, 0 FROM generate_series(0, 3) i",
}

// ledger is a workload that survives crashes: its clients reconnect and go on,
// and remember what they were told was committed.
type ledger struct {
	b        *bench
	cancel   context.CancelFunc
	clients  sync.WaitGroup
	failures atomic.Int64

	mu    sync.Mutex
	acked map[[2]int]bool
}

// startLedger starts clients, spread over agents.
func startLedger(b *bench, clients int, agents ...string) *ledger {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	w := &ledger{b: b, cancel: cancel, acked: map[[2]int]bool{}}
	for c := range clients {
		dsn := b.agent(agents[c%len(agents)]).DSN()
		w.clients.Go(func() { w.client(ctx, c, dsn) })
	}
	b.t.Cleanup(w.stop)
	return w
}

// client commits transaction after transaction. A sequence number is used once,
// whatever came of it.
func (w *ledger) client(ctx context.Context, client int, dsn string) {
	var conn *pgx.Conn
	for seq := 0; ctx.Err() == nil; seq++ {
		err := w.step(ctx, &conn, dsn, client, seq)
		if err == nil {
			w.mu.Lock()
			w.acked[[2]int{client, seq}] = true
			w.mu.Unlock()
			continue
		}
		w.failures.Add(1)
		if conn != nil && conn.IsClosed() {
			conn = nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	if conn != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // its server may be dead
	}
}

func (w *ledger) step(ctx context.Context, conn **pgx.Conn, dsn string, client, seq int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if *conn == nil {
		if *conn, err = pgx.Connect(ctx, dsn); err != nil {
			*conn = nil
			return err
		}
	}
	tx, err := (*conn).Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback(ctx))
		}
	}()
	if _, err := tx.Exec(ctx, "INSERT INTO ledger (client, seq) VALUES ($1, $2)", client, seq); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE counter SET v = v + 1 WHERE id = $1", (client+seq)%4); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func (w *ledger) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.acked))
}

// await waits for so many further acknowledged commits.
func (w *ledger) await(more int64) {
	w.b.t.Helper()
	want := w.count() + more
	testkit.Eventually(w.b.t, catchUpTimeout, func() error { return atLeast("acknowledged commits", w.count(), want) })
}

// awaitFailures waits for so many further failures.
func (w *ledger) awaitFailures(more int64) {
	w.b.t.Helper()
	want := w.failures.Load() + more
	testkit.Eventually(w.b.t, catchUpTimeout, func() error { return atLeast("failed transactions", w.failures.Load(), want) })
}

// stop ends the clients; it may be called twice.
func (w *ledger) stop() {
	w.cancel()
	w.clients.Wait()
}

// check demands that everything acknowledged is on both sides, that each row is
// counted once, and that the sides are the same.
func (w *ledger) check() {
	w.b.t.Helper()
	w.b.identical()
	for name, dsn := range map[string]string{"primary": w.b.Primary.DSN(rig.Database), "backup": w.b.Backup.DSN(rig.Database)} {
		have := map[[2]int]bool{}
		for _, row := range w.b.query(dsn, "SELECT client, seq FROM ledger") {
			var key [2]int
			if _, err := fmt.Sscan(row[0]+" "+row[1], &key[0], &key[1]); err != nil {
				w.b.t.Fatal(err)
			}
			have[key] = true
		}
		lost := 0
		for key := range w.acked {
			if !have[key] {
				lost++
			}
		}
		if lost > 0 {
			w.b.t.Errorf("%d of %d acknowledged transactions are not on the %s", lost, len(w.acked), name)
		}
		if counted := w.b.count(dsn, "SELECT sum(v) FROM counter"); counted != int64(len(have)) {
			w.b.t.Errorf("the %s counts %d transactions and has %d", name, counted, len(have))
		}
	}
	if v, err := w.b.Verdicts(w.b.ctx); err != nil || v.Mismatch > 0 {
		w.b.t.Errorf("verdicts %+v, %v; want no mismatch", v, err)
	}
}
