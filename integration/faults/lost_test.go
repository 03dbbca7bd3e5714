package faults

import (
	"fmt"
	"testing"

	"github.com/opmux/opmux/internal/rig"
)

// A target that does not flush its commits loses the last of them in a crash: rows, and how
// far sequences have come. The worker lives through it and knows of them as done; it
// finds that they are gone, with nothing else to do, and applies them again.
func TestTargetCrashesUnflushed(t *testing.T) {
	s := setUp(t, rig.Config{BackupSettings: []string{"synchronous_commit = off", "wal_writer_delay = 10s"}})
	for _, dsn := range []string{s.primary(), s.backup()} {
		s.query(dsn, "CREATE SEQUENCE drawn")
	}
	s.must(s.agent("a1").Start(s.ctx))
	s.must(s.worker("w1").Start(s.ctx))
	const token, draw = "INSERT INTO token (id) VALUES ('lost %d')", "SELECT nextval('drawn'), %d"
	for round, sql := range []string{token, draw, token, draw} {
		s.throughAgent(fmt.Sprintf("INSERT INTO token (id) VALUES ('flushed %d')", round))
		s.identical()
		s.query(s.backup(), "CHECKPOINT")
		for i := range 6 {
			s.throughAgent(fmt.Sprintf(sql, 10*round+i))
		}
		s.must(s.Wait(s.ctx, patience))
		s.must(s.Backup.Kill())
		s.must(s.Backup.Start(s.ctx))
		s.sameSoon()
	}
	s.says(s.worker("w1"), "the target has lost what it had confirmed")
	l := s.load(3, s.agent("a1").DSN())
	for range 3 {
		l.more(50)
		s.must(s.Backup.Kill())
		s.must(s.Backup.Start(s.ctx))
	}
	l.more(50)
	l.check()
}

// sameSoon waits until the backup's tokens and sequence are those of the primary: what is
// lost counts as applied until a session comes to the target again.
func (s *stage) sameSoon() {
	s.t.Helper()
	const sql = "SELECT (SELECT string_agg(id, ' ' ORDER BY id) FROM token), (SELECT last_value FROM drawn)"
	s.eventually(func() error {
		want, have := fmt.Sprint(s.query(s.primary(), sql)), fmt.Sprint(s.query(s.backup(), sql))
		if want != have {
			return fmt.Errorf("the backup has %s, want %s", have, want)
		}
		return nil
	})
}
