package integration

import (
	"path/filepath"
	"testing"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Shown 5: a snapshot of a loaded database while pgbench runs through two agents;
// the stream goes on from there and the backup is identical afterwards.
func TestSnapshotWhilePgbenchRuns(t *testing.T) {
	b := setUp(t, rig.Config{Gate: "recorded", AgentYAML: triggersOn})
	primary := b.Primary.DSN(rig.Database)
	b.pgbench(primary, "-i", "-q", "-s", "3")
	for _, sql := range []string{
		`CREATE SCHEMA "Odd one"`,
		`CREATE TABLE "Odd one".kept (id serial PRIMARY KEY, v text DEFAULT 'x', g int GENERATED ALWAYS AS (length(v)) STORED)`,
		`INSERT INTO "Odd one".kept (v) SELECT repeat('é', i) FROM generate_series(1, 50) i`,
		`CREATE INDEX ON "Odd one".kept (g)`,
	} {
		b.onPrimary(sql)
	}
	var running []*child.Process
	for _, name := range []string{"a1", "a2"} {
		b.must(b.agent(name).Start(b.ctx))
		p, err := child.Start(child.Config{
			Name: "pgbench " + name, Path: filepath.Join(b.Primary.BinDir(), "pgbench"), Log: filepath.Join(b.Dir, "pgbench-"+name+".log"),
			Args: []string{"-n", "-M", "prepared", "-c", "4", "-T", "3600", b.agent(name).DSN()},
		})
		b.must(err)
		t.Cleanup(func() { _ = p.Kill() })
		running = append(running, p)
	}
	b.awaitHistory(100)
	_, err := b.Must(b.ctx, "snapshot", "--config", b.AgentConfig("a1"), "--to", b.WorkerConfig("w1"))
	b.must(err)
	for _, p := range running {
		b.must(p.Ended()) // the snapshot was taken under load, or the test shows nothing
	}
	b.must(b.worker("w1").Start(b.ctx))
	b.must(b.verifier().Start(b.ctx))
	for _, p := range running {
		b.must(p.Ended())
		b.must(p.Kill()) // in the middle of transactions
	}
	b.identical()
	b.throughAgent(`INSERT INTO "Odd one".kept (v) VALUES ('after')`)
	b.identical()
	if v := b.verdicts(1); v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, want no mismatch and nothing missing", v)
	}
	if rows := b.onBackup("SELECT 1 FROM pg_event_trigger"); len(rows) > 0 {
		t.Error("opmux's own event trigger was copied to the backup")
	}
	if rows := b.onBackup("SELECT 1 FROM pg_trigger WHERE NOT tgisinternal"); len(rows) > 0 {
		t.Error("opmux's capture triggers were copied to the backup")
	}
}

// awaitHistory waits until pgbench has committed so many transactions.
func (b *bench) awaitHistory(want int64) {
	b.t.Helper()
	testkit.Eventually(b.t, catchUpTimeout, func() error {
		got := b.count(b.Primary.DSN(rig.Database), "SELECT count(*) FROM pgbench_history")
		return atLeast("transactions", got, want)
	})
}
