package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
)

// failoverReport is what `opmux failover … --json` prints.
type failoverReport struct {
	Needed    bool
	Accepted  bool
	LostCount int `json:"lost_count"`
	Lost      []struct{ Offset int64 }
	Open      int
}

// The primary fails over to a standby that had not received the last commits. No
// agent goes on before a person accepts; then what was lost is named, what was open
// is settled by the new primary's word, and the former primary is refused.
func TestFailover(t *testing.T) {
	s, former := failedOver(t)
	agent := s.agent("a1")
	var shown, accepted failoverReport
	s.must(s.JSON(s.ctx, &shown, "failover", "show", "--config", agent.Config, "--json"))
	s.must(s.JSON(s.ctx, &accepted, "failover", "accept", "--config", agent.Config, "--json"))
	for _, r := range []failoverReport{shown, accepted} {
		if !r.Needed || r.LostCount != 2 || len(r.Lost) != 2 || r.Open != 1 {
			t.Errorf("the report %+v, want two lost commits and one open", r)
		}
	}
	if shown.Accepted || !accepted.Accepted {
		t.Errorf("accepted: %v after show, %v after accept", shown.Accepted, accepted.Accepted)
	}
	for i, lost := range accepted.Lost {
		text, err := s.Must(s.ctx, "tail", "--config", agent.Config, "--from", fmt.Sprint(lost.Offset))
		s.must(err)
		want := fmt.Sprintf("lost %d", i+1)
		if at := strings.Index(text, "lost "); at < 0 || !strings.HasPrefix(text[at:], want) || !strings.HasPrefix(text, fmt.Sprintf("orders %d ", lost.Offset)) {
			t.Errorf("offset %d, which is said to be lost, is %q, want %s", lost.Offset, text, want)
		}
	}

	s.must(agent.Start(s.ctx))
	s.throughAgent("INSERT INTO token (id) VALUES ('after the failover')")
	s.must(s.Wait(s.ctx, patience))
	for _, dsn := range []string{s.primary(), s.backup()} {
		if found := s.tokens(dsn, "open"); found != "" {
			t.Errorf("a transaction that never committed is there: %s", found)
		}
	}
	status, err := s.Status(s.ctx)
	s.must(err)
	if len(status.Suspect) != 1 {
		t.Errorf("suspect: %+v, want the epoch whose commits were lost", status.Suspect)
	}
	// The operator's choice: the lost statements, on the new primary directly.
	s.query(s.primary(), "INSERT INTO token (id) VALUES ('lost 1'), ('lost 2')")
	s.identical()

	formerIsRefused(s, former)
}

// failedOver promotes a standby that has not received two commits and an open
// transaction; agent a1 refuses it, the worker runs.
func failedOver(t *testing.T) (s *stage, former *pgserver.Server) {
	t.Helper()
	s = up(t, rig.Config{Gate: "recorded"})
	standby, err := pgserver.StartStandby(s.ctx, s.Primary, pgserver.Config{Name: "standby"})
	s.must(err)
	former = s.Primary
	t.Cleanup(func() { s.must(former.Close()) })
	s.throughAgent("INSERT INTO token (id) VALUES ('replicated')")
	s.eventually(func() error {
		rows, err := rig.Query(s.ctx, standby.DSN(rig.Database), "SELECT 1 FROM token WHERE id = 'replicated'")
		if err == nil && len(rows) == 0 {
			err = fmt.Errorf("the standby does not have it")
		}
		return err
	})
	cutReplication(s, standby)
	s.throughAgent("INSERT INTO token (id) VALUES ('lost 1')")
	s.throughAgent("INSERT INTO token (id) VALUES ('lost 2')")
	s.identical() // the backup is ahead of the standby
	nothingToAccept(s)
	openIntent(s)

	s.Primary = standby
	s.must(standby.Promote(s.ctx))
	agent := s.agent("a1")
	s.must(agent.Configure())
	s.must(agent.Launch())
	s.exits(agent, "timeline 2", "opmux failover accept --config")
	return s, former
}

// nothingToAccept: while the primary is the stream's own, the commands say so, to
// programs as well.
func nothingToAccept(s *stage) {
	s.t.Helper()
	for _, command := range []string{"show", "accept"} {
		var r failoverReport
		s.must(s.JSON(s.ctx, &r, "failover", command, "--config", s.AgentConfig("a1"), "--json"))
		if r.Needed || r.Accepted || r.LostCount != 0 || r.Lost == nil {
			s.t.Errorf("failover %s before one: %+v, want none needed and nothing lost", command, r)
		}
	}
}

// The operator's other choice after a failover: the lost commits are let go, and
// the target is filled anew. Meanwhile a statement that meets a row of theirs stops
// the worker, in the backup nothing changes in silence (I6).
func TestFailoverFilledAnew(t *testing.T) {
	s, _ := failedOver(t)
	agent, worker := s.agent("a1"), s.worker("w1")
	_, err := s.Must(s.ctx, "failover", "accept", "--config", agent.Config)
	s.must(err)
	s.must(agent.Start(s.ctx))
	s.throughAgent("INSERT INTO token (id, v) VALUES ('lost 1', 7)") // the backup has another
	s.says(worker, "23505", "lost 1")
	s.must(worker.Kill())

	s.query(s.backup(), "DROP TABLE token, counter")
	_, err = s.Must(s.ctx, "snapshot", "--config", agent.Config, "--to", worker.Config)
	s.must(err)
	s.must(worker.Start(s.ctx))
	s.throughAgent("UPDATE token SET v = v + 1 WHERE id = 'lost 1'")
	s.identical()
	if rows := s.query(s.backup(), "SELECT id, v FROM token WHERE id LIKE 'lost%'"); len(rows) != 1 || rows[0][1] != "8" {
		t.Errorf("the filled backup has %v, want lost 1 as the new primary made it, and nothing else that was lost", rows)
	}
	s.eventually(func() error { // heartbeats tell, once a second
		status, err := s.Status(s.ctx)
		if err == nil && len(status.Suspect) > 0 {
			err = fmt.Errorf("suspect though it was filled since: %+v", status.Suspect)
		}
		return err
	})
}

// cutReplication parts a standby from its primary.
func cutReplication(s *stage, standby *pgserver.Server) {
	s.t.Helper()
	s.query(standby.DSN("postgres"), "ALTER SYSTEM SET primary_conninfo = ''")
	s.query(standby.DSN("postgres"), "SELECT pg_reload_conf()")
	s.eventually(func() error {
		rows, err := rig.Query(s.ctx, s.Primary.DSN("postgres"), "SELECT count(*) FROM pg_stat_replication")
		if err == nil && rows[0][0] != "0" {
			err = fmt.Errorf("the standby is still connected")
		}
		return err
	})
}

// openIntent leaves a transaction whose record is written and whose end nobody saw:
// the primary does not answer any more when its COMMIT is due, and agent and primary
// end there.
func openIntent(s *stage) {
	s.t.Helper()
	conn := s.connect(s.agent("a1").DSN())
	s.exec(conn, "BEGIN", "INSERT INTO token (id) VALUES ('open')")
	s.must(s.Primary.Freeze())
	go func() { _, _ = conn.Exec(s.ctx, "COMMIT") }() // the agent is killed before it could answer
	s.eventually(func() error {
		text, err := s.Must(s.ctx, "tail", "--config", s.AgentConfig("a1"), "--from", "beginning")
		if err == nil && !strings.Contains(text, "'open'") {
			err = fmt.Errorf("the transaction is not recorded yet")
		}
		return err
	})
	s.must(s.agent("a1").Kill())
	s.must(s.Primary.Kill())
}

// formerIsRefused: an agent that is led back to the former primary does not serve,
// and opmux failover does not go back to it.
func formerIsRefused(s *stage, former *pgserver.Server) {
	s.t.Helper()
	agent := s.agent("a1")
	s.must(agent.Process.Terminate(30 * time.Second))
	promoted := s.Primary
	defer func() { s.Primary = promoted }()
	s.Primary = former
	s.must(former.Start(s.ctx))
	s.must(agent.Configure())
	s.must(agent.Launch())
	s.exits(agent, "this is a former primary", "timeline 2")
	result, err := s.Opmux(s.ctx, "failover", "accept", "--config", agent.Config)
	s.must(err)
	if result.Code != 1 || !strings.Contains(result.Stderr, "former primary") {
		s.t.Errorf("accepting the former primary: exit code %d, %s", result.Code, result.Stderr)
	}
}
