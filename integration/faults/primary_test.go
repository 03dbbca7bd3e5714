package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
)

// Faults of the primary: the client hears what the server says, and the backup has
// what the primary has.
func TestPrimaryFaults(t *testing.T) {
	s := up(t, rig.Config{Gate: "recorded", GateTimeout: 4 * time.Second,
		PrimarySettings: []string{"max_connections = 25", "wal_writer_delay = 10s", "autovacuum = off", "deadlock_timeout = 50ms"}})
	primaryTimeouts(s)
	primaryDeadlock(s)
	primaryFull(s)
	idleDuringGate(s)
	for _, how := range []string{"SET synchronous_commit = off", "BEGIN; SELECT 1; COMMIT; SET synchronous_commit TO off"} {
		unflushedCommit(s, how)
	}
}

// primaryTimeouts: a statement's and a lock's timeout undo the transaction on both sides.
func primaryTimeouts(s *stage) {
	s.t.Helper()
	s.throughAgent("INSERT INTO token (id) VALUES ('locked')")
	holder, conn := s.connect(s.primary()), s.connect(s.agent("a1").DSN())
	s.exec(holder, "BEGIN", "SELECT 1 FROM token WHERE id = 'locked' FOR UPDATE")
	for setting, state := range map[string]string{"statement_timeout": "57014", "lock_timeout": "55P03"} {
		s.exec(conn, "SET "+setting+" = '200ms'", "BEGIN", "INSERT INTO token (id) VALUES ('undone "+setting+"')")
		_, err := conn.Exec(s.ctx, "UPDATE token SET v = 1 WHERE id = 'locked'")
		if got := sqlState(err); got != state {
			s.t.Errorf("%s: %s, want %s", setting, got, state)
		}
		s.exec(conn, "ROLLBACK", "RESET "+setting)
		s.exec(conn, "SET "+setting+" = '200ms'")
		if _, err := conn.Exec(s.ctx, "UPDATE token SET v = 1 WHERE id = 'locked'"); sqlState(err) != state { // autocommit
			s.t.Errorf("%s without a block: %s, want %s", setting, sqlState(err), state)
		}
		s.exec(conn, "RESET "+setting)
	}
	s.exec(holder, "ROLLBACK")
	s.identical()
	if found := s.tokens(s.backup(), "undone"); found != "" {
		s.t.Errorf("on the backup: %s", found)
	}
}

// primaryDeadlock: one of two clients of the agent is the victim.
func primaryDeadlock(s *stage) {
	s.t.Helper()
	s.throughAgent("INSERT INTO token (id) VALUES ('x'), ('y')")
	a, b := s.connect(s.agent("a1").DSN()), s.connect(s.agent("a1").DSN())
	s.exec(a, "BEGIN", "UPDATE token SET v = v + 1 WHERE id = 'x'")
	s.exec(b, "BEGIN", "UPDATE token SET v = v + 10 WHERE id = 'y'")
	ended := make(chan error, 1)
	go func() { ended <- finish(s, a, "UPDATE token SET v = v + 1 WHERE id = 'y'") }()
	second := finish(s, b, "UPDATE token SET v = v + 10 WHERE id = 'x'")
	first := <-ended
	states := sqlState(first) + " " + sqlState(second)
	if states != "40P01 00000" && states != "00000 40P01" {
		s.t.Errorf("a deadlock ended with %s, want one victim", states)
	}
	s.identical()
}

// finish runs a statement and ends the block as its outcome asks.
func finish(s *stage, conn *pgx.Conn, sql string) error {
	_, err := conn.Exec(s.ctx, sql)
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	if _, endErr := conn.Exec(s.ctx, end); err == nil {
		err = endErr
	}
	return err
}

// primaryFull: no connection is left; clients are told by the server, and sessions
// that are there go on.
func primaryFull(s *stage) {
	s.t.Helper()
	there := s.connect(s.agent("a1").DSN())
	var held []*pgx.Conn
	for {
		conn, err := pgx.Connect(s.ctx, s.Primary.DSN("postgres"))
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	if state := s.tryThroughAgent("INSERT INTO token (id) VALUES ('no room')"); state != "53300" {
		s.t.Errorf("a connection too many ended with %s, want 53300", state)
	}
	s.exec(there, "INSERT INTO token (id) VALUES ('room')")
	for _, conn := range held {
		s.must(conn.Close(s.ctx))
	}
	s.throughAgent("INSERT INTO token (id) VALUES ('room again')")
	s.identical()
}

// idleDuringGate: the server ends a session that waits for its record to be
// acknowledged; the transaction is aborted on both sides (I2).
func idleDuringGate(s *stage) {
	s.t.Helper()
	conn := s.connect(s.agent("a1").DSN())
	s.exec(conn, "SET idle_in_transaction_session_timeout = '300ms'", "BEGIN", "INSERT INTO token (id) VALUES ('idle')")
	s.must(s.Broker.Freeze())
	_, err := conn.Exec(s.ctx, "COMMIT")
	s.must(s.Broker.Thaw())
	if err == nil {
		s.t.Error("a COMMIT whose session the server had ended was acknowledged")
	}
	s.eventually(func() error {
		_, err := rig.Query(s.ctx, s.agent("a1").DSN(), "INSERT INTO token (id) VALUES ('after idle') ON CONFLICT DO NOTHING")
		return err
	})
	s.identical()
	if found := s.tokens(s.primary(), "idle") + s.tokens(s.backup(), "idle"); found != "" {
		s.t.Errorf("a transaction that the server had ended is there: %s", found)
	}
}

// unflushedCommit: a session that does not wait for its commits to be flushed is
// told of one, and the server crashes. Its transaction ids are drawn again. What was
// recorded is there on both sides, or on none (I1, I6).
func unflushedCommit(s *stage, how string) {
	s.t.Helper()
	conn := s.connect(s.agent("a1").DSN())
	for _, sql := range strings.Split(how, "; ") {
		s.exec(conn, sql)
	}
	s.exec(conn, "INSERT INTO token (id) VALUES ('alone "+how+"')", "BEGIN", "INSERT INTO token (id) VALUES ('block "+how+"')", "COMMIT")
	s.must(s.Primary.Kill())
	s.must(s.Primary.Start(s.ctx))
	for range 3 { // the ids that a lost commit would have had
		s.query(s.primary(), "CREATE TEMP TABLE again ()")
	}
	s.eventually(func() error {
		_, err := rig.Query(s.ctx, s.agent("a1").DSN(), "INSERT INTO token (id) VALUES ('after "+how+"') ON CONFLICT DO NOTHING")
		return err
	})
	s.identical()
	if found := s.tokens(s.primary(), "block") + s.tokens(s.primary(), "alone"); strings.Count(found, how) != 2 {
		s.t.Errorf("of two commits that the client was told of the primary has %q", found)
	}
}
