package memory

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
)

// I7: sessions at rest cost little, and while Kafka stands still, those that
// wait for it hold no more than is allowed to all of them together.
func TestI7Sessions(t *testing.T) {
	s := form(t)
	w := up(t, s, rig.Config{GateTimeout: 4 * time.Second}, "CREATE TABLE held (id int PRIMARY KEY, v text)")
	var conns []*pgconn.PgConn
	w.stage("idle sessions", func() {
		for i := range s.sessions {
			conns = append(conns, w.dial())
			// Each has been used, with a statement of its own and a large message.
			w.exec(conns[i], fmt.Sprintf("SELECT %d, '%s'", i, strings.Repeat("x", 200_000)))
			w.exec(conns[i], fmt.Sprintf("INSERT INTO held VALUES (%d, 'x')", -i-1))
		}
	})
	w.stage("transactions that wait for Kafka", func() { w.standstill(conns) })
	w.follows(s.timeout)
}

func (w *world) dial() *pgconn.PgConn {
	w.t.Helper()
	conn, err := pgconn.Connect(w.ctx, w.agent.DSN())
	w.must(err)
	w.t.Cleanup(func() { _ = conn.Close(w.t.Context()) })
	return conn
}

// standstill fills a transaction on each session and commits them all while the
// broker is frozen: each is refused with 40001 or, where it thaws in time, commits.
func (w *world) standstill(conns []*pgconn.PgConn) {
	w.t.Helper()
	text := strings.Repeat("y", 40_000)
	for i, conn := range conns {
		w.exec(conn, "BEGIN")
		for j := range 12 { // 480 kB, just below a chunk
			w.exec(conn, fmt.Sprintf("INSERT INTO held VALUES (%d, '%s')", i*100+j, text))
		}
	}
	w.must(w.Broker.Freeze())
	committed, refused := 0, 0
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, conn := range conns {
		wait.Go(func() {
			_, err := conn.Exec(w.ctx, "COMMIT").ReadAll()
			mu.Lock()
			defer mu.Unlock()
			var e *pgconn.PgError
			switch {
			case err == nil:
				committed++
			case errors.As(err, &e) && e.Code == "40001":
				refused++
			default:
				w.t.Errorf("COMMIT while Kafka stands still: %v", err)
			}
		})
	}
	wait.Wait()
	w.must(w.Broker.Thaw())
	w.t.Logf("%d transactions committed, %d were refused", committed, refused)
	if refused == 0 {
		w.t.Error("no transaction was refused: Kafka did not stand still")
	}
}
