package integration

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/crashpoint"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// twoPhaseSchema shows what is applied twice: a row counts.
var twoPhaseSchema = []string{
	"CREATE TABLE ledger (id serial PRIMARY KEY, gid text NOT NULL)",
	"CREATE TABLE hot (id int PRIMARY KEY, n int NOT NULL)",
	"INSERT INTO hot SELECT i, 0 FROM generate_series(1, 30) i",
}

var preparing = []string{"max_prepared_transactions = 30"}

// prepare leaves a transaction prepared under a name, through an agent.
func (b *bench) prepare(agent, gid string, hot int) {
	b.t.Helper()
	b.query(b.agent(agent).DSN(), fmt.Sprintf("BEGIN; INSERT INTO ledger (gid) VALUES ('%s'); UPDATE hot SET n = n + 1 WHERE id = %d; PREPARE TRANSACTION '%[1]s'", gid, hot))
}

// commitPrepared tries until the transaction is committed, by this attempt or before.
func (b *bench) commitPrepared(agent, gid string) {
	b.t.Helper()
	testkit.Eventually(b.t, catchUpTimeout, func() error {
		_, err := rig.Query(b.ctx, b.agent(agent).DSN(), "COMMIT PREPARED '"+gid+"'")
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "42704" {
			return nil
		}
		return err
	})
}

// once demands that each name was committed once, on both sides.
func (b *bench) once(want int) {
	b.t.Helper()
	b.identical()
	for _, dsn := range []string{b.Primary.DSN(rig.Database), b.Backup.DSN(rig.Database)} {
		got := b.query(dsn, "SELECT (SELECT count(*) FROM ledger), (SELECT count(DISTINCT gid) FROM ledger), (SELECT sum(n) FROM hot)")[0]
		if text := fmt.Sprint(got); text != fmt.Sprintf("[%d %[1]d %[1]d]", want) {
			b.t.Errorf("rows, names and count are %s, want %d each", text, want)
		}
	}
}

// TestI4TwoPhaseSurvives: transactions that are prepared outlive their session, their
// agent and a crash of the primary, and are committed once by whichever agent is asked.
// A backup that is filled meanwhile gets them by the stream.
func TestI4TwoPhaseSurvives(t *testing.T) {
	b := setUp(t, rig.Config{Gate: "recorded", PrimarySettings: preparing})
	for _, sql := range twoPhaseSchema {
		b.onPrimary(sql)
	}
	for _, name := range []string{"a1", "a2"} {
		b.must(b.agent(name).Start(b.ctx))
	}
	for i, gid := range []string{"other agent", "killed agent", "crashed primary", "snapshot"} {
		b.prepare("a1", gid, i+1)
	}
	_, err := b.Must(b.ctx, "snapshot", "--config", b.AgentConfig("a1"), "--to", b.WorkerConfig("w1"))
	b.must(err)
	b.must(b.worker("w1").Start(b.ctx))
	b.commitPrepared("a2", "other agent")
	b.prepare("a2", "given up", 9)
	b.sequencesFollow() // what it drew stays drawn, whatever becomes of it
	b.must(b.agent("a1").Kill())
	b.must(b.agent("a1").Start(b.ctx))
	b.commitPrepared("a1", "killed agent")
	b.must(b.Primary.Kill())
	b.must(b.Primary.Start(b.ctx))
	b.commitPrepared("a2", "crashed primary")
	b.commitPrepared("a1", "snapshot")
	b.query(b.agent("a2").DSN(), "ROLLBACK PREPARED 'given up'")
	b.once(4)
	if rows := b.onPrimary("SELECT gid FROM opmux.prepared"); len(rows) > 0 {
		t.Errorf("kept: %v", rows)
	}
}

// TestI4AgentsThatDieInCommitPrepared: at each place of its way an agent is killed, and
// another one commits the transaction, or finds it committed.
func TestI4AgentsThatDieInCommitPrepared(t *testing.T) {
	b := setUp(t, rig.Config{Gate: "recorded", PrimarySettings: preparing}, twoPhaseSchema...)
	b.must(b.agent("a2").Start(b.ctx))
	b.must(b.worker("w1").Start(b.ctx))
	points := []crashpoint.Point{crashpoint.IntentBefore, crashpoint.IntentAfter, crashpoint.CommitBefore, crashpoint.CommitSent,
		crashpoint.CommitAfter, crashpoint.OutcomeBefore, crashpoint.OutcomeAfter}
	tagged := testkit.BuildTagged(t, crashpoint.Tag)
	for i, point := range points {
		b.prepare("a2", string(point), i+1)
		dying := b.agent(fmt.Sprint("dies", i)) // each of a name of its own: a2 settles for it
		dying.Bin, dying.Env = tagged, []string{fmt.Sprintf("%s=%s:1", crashpoint.Variable, point)}
		b.must(dying.Start(b.ctx))
		_, err := rig.Query(b.ctx, dying.DSN(), "COMMIT PREPARED '"+string(point)+"'") // it may be answered before the agent dies
		if err == nil && point == crashpoint.CommitSent {
			b.must(dying.Process.Kill()) // the server was faster: the answer had come when it was to be waited for
		}
		if code := dying.Process.ExitCode(); code != -1 {
			t.Fatalf("the agent was to die at %s and ended with code %d:\n%s", point, code, dying.Process.LogTail())
		}
	}
	// They are missed for some seconds each, and together.
	for _, point := range points {
		b.commitPrepared("a2", string(point))
	}
	b.must(b.Wait(b.ctx, catchUpTimeout))
	b.once(len(points))
}

// TestPreparedTransactionsDoNotKeepAgentsFromStarting: what the capture triggers keep is
// locked by a prepared transaction.
func TestPreparedTransactionsDoNotKeepAgentsFromStarting(t *testing.T) {
	b := up(t, rig.Config{Gate: "recorded", PrimarySettings: preparing, AgentYAML: triggersOn}, twoPhaseSchema...)
	b.throughAgent("BEGIN; DO $$ BEGIN INSERT INTO ledger (gid) VALUES ('traced'); UPDATE hot SET n = n + 1 WHERE id < 2; END $$; PREPARE TRANSACTION 'traced'")
	b.must(b.agent("a1").Kill())
	b.must(b.agent("a1").Start(b.ctx))
	b.commitPrepared("a1", "traced")
	b.once(1)
	if v := b.verdicts(1); v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, want no mismatch and nothing missing", v)
	}
}
