package faults

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
)

// Faults of the target that pass by themselves, under load, and one that does not
// reach the worker at all.
func TestTargetFaults(t *testing.T) {
	s := setUp(t, rig.Config{Gate: "recorded", BackupSettings: []string{"max_connections = 20", "superuser_reserved_connections = 3"}})
	s.query(s.backup(), "ALTER DATABASE app SET statement_timeout = '1ms'; ALTER DATABASE app SET lock_timeout = '1ms'; ALTER ROLE postgres SET deadlock_timeout = '3s'")
	s.must(s.agent("a1").Start(s.ctx))
	s.must(s.worker("w1").Start(s.ctx))
	l := s.load(3, s.agent("a1").DSN())
	l.more(50)

	lockedRow(s)
	deadlock(s)

	s.must(s.Backup.Stop())
	l.more(30)
	s.must(s.Backup.Start(s.ctx))
	l.more(30)
	s.must(s.Backup.Kill())
	l.more(30)
	s.must(s.Backup.Start(s.ctx))
	l.more(30)
	s.metric(s.worker("w1"), `opmux_apply_retries_total{reason="connection",source="orders"}`)

	noConnections(s)
	l.more(30)
	s.query(s.Backup.DSN("postgres"), "ALTER DATABASE app RESET ALL")
	l.check()
}

// patient opens a session on the backup that is not subject to its timeouts. It is
// so from its first packet: a SET could itself be cut off by the timeout of 1 ms.
func (s *stage) patient() *pgx.Conn {
	s.t.Helper()
	return s.connect(s.backup() + "&statement_timeout=0&lock_timeout=0&deadlock_timeout=1min")
}

// waits until a worker's session waits for a lock on the backup.
func (s *stage) workerWaits() {
	s.t.Helper()
	s.eventually(func() error {
		rows := s.query(s.Backup.DSN("postgres"), "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND wait_event_type = 'Lock' AND application_name LIKE 'opmux%'")
		if rows[0][0] == "0" {
			return fmt.Errorf("no session of the worker waits for a lock")
		}
		return nil
	})
}

// lockedRow: somebody holds a row on the target for longer than its timeouts, which
// are not the worker's.
func lockedRow(s *stage) {
	s.t.Helper()
	conn := s.patient()
	s.exec(conn, "BEGIN", "SELECT * FROM counter FOR UPDATE")
	s.workerWaits()
	s.exec(conn, "ROLLBACK")
}

// deadlock: the worker is the victim, and tries again. A server looks for a deadlock
// once in each wait, when deadlock_timeout is over: the worker's is over
// when both wait.
func deadlock(s *stage) {
	s.t.Helper()
	s.throughAgent("INSERT INTO token (id) VALUES ('first'), ('second')")
	s.must(s.Wait(s.ctx, patience))
	conn := s.patient()
	s.exec(conn, "BEGIN", "UPDATE token SET v = -1 WHERE id = 'second'")
	s.throughAgent("UPDATE token SET v = 1 WHERE id = 'first'; UPDATE token SET v = 2 WHERE id = 'second'")
	s.workerWaits()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(s.ctx, "UPDATE token SET v = -1 WHERE id = 'first'")
		done <- err
	}()
	s.metric(s.worker("w1"), `opmux_apply_retries_total{reason="deadlock",source="orders"}`)
	s.must(<-done)
	s.exec(conn, "ROLLBACK")
}

// noConnections: the target has no connection left when the worker comes for one.
func noConnections(s *stage) {
	s.t.Helper()
	s.must(s.worker("w1").Kill())
	var held []*pgx.Conn
	for {
		conn, err := pgx.Connect(s.ctx, s.Backup.DSN("postgres"))
		if err != nil {
			if state := sqlState(err); state != "53300" {
				s.t.Fatalf("filling the target's connections ended with %s", state)
			}
			break
		}
		held = append(held, conn)
	}
	s.must(s.worker("w1").Launch())
	s.says(s.worker("w1"), "53300")
	for _, conn := range held {
		s.must(conn.Close(s.ctx))
	}
	s.must(s.worker("w1").Ready(s.ctx))
}
