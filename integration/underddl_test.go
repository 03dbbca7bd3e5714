package integration

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Whatever is changed under statements, by their own transaction or by others, at any isolation level and
// through any agent: what commits is on the backup what it is on the primary (I3, I6). OPMUX_UNDER_DDL_SEED and
// OPMUX_UNDER_DDL_ROUNDS run others, and more of them, OPMUX_UNDER_DDL_WORKLOAD one file of testdata/workloads
// alone, OPMUX_UNDER_DDL_TRIGGERS=0 without capture triggers, and OPMUX_UNDER_DDL_UNLOCKED=1 has names change that nothing
// locks, too, of which docs/statements.md says what can differ.
func TestI6StatementsUnderDDL(t *testing.T) {
	paths, err := filepath.Glob("testdata/workloads/" + os.Getenv("OPMUX_UNDER_DDL_WORKLOAD") + "*.sql")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no workloads: %v", err)
	}
	loads, schema := make([]workload, len(paths)), []string{`CREATE TABLE stays (id int PRIMARY KEY)`, `INSERT INTO stays SELECT generate_series(1, 5)`}
	for i, path := range paths {
		loads[i] = readWorkload(t, path)
		schema = append(schema, loads[i].schema...)
		if testkit.FromEnv(t, "OPMUX_UNDER_DDL_UNLOCKED", 0) != 0 {
			loads[i].ddl = append(loads[i].ddl, loads[i].unlocked...)
		}
	}
	cfg := rig.Config{AgentYAML: triggersOn}
	if testkit.FromEnv(t, "OPMUX_UNDER_DDL_TRIGGERS", 1) == 0 {
		cfg.AgentYAML = strings.Replace(triggersOn, "triggers: on, ", "", 1)
	}
	b := setUp(t, cfg, schema...)
	b.unlike = true // compared while DDL is under way
	b.must(b.agent("a1").Start(b.ctx))
	b.must(b.agent("a2").Start(b.ctx))
	b.must(b.worker("w1").Start(b.ctx))
	b.must(b.verifier().Start(b.ctx))
	for _, load := range loads {
		b.move(load, testkit.FromEnv(t, "OPMUX_UNDER_DDL_SEED", 1), testkit.FromEnv(t, "OPMUX_UNDER_DDL_ROUNDS", 5))
	}
}

// move has sessions run a workload beside one another, and compares what came of it. Where that
// failed, and with -v, what each session ran is told.
func (b *bench) move(load workload, seed, rounds int) {
	movers := make([]*mover, 5)
	var wait sync.WaitGroup
	for i := range movers {
		m := &mover{workload: load, b: b, agent: []string{"a1", "a2"}[i%2], random: rand.New(rand.NewPCG(uint64(i), uint64(seed)))}
		m.connect()
		movers[i] = m
		wait.Go(func() { m.run(rounds) })
	}
	wait.Wait()
	defer func() {
		for i, m := range movers {
			if b.t.Failed() || testing.Verbose() {
				b.t.Logf("%s, session %d\n%s", load.name, i, strings.Join(m.ran, "\n"))
			}
		}
	}()
	committed := 0
	for _, m := range movers {
		committed += m.committed
	}
	if committed == 0 {
		b.t.Errorf("%s: no transaction was committed", load.name)
	}
	b.identical()
	b.sequencesFollow()
	b.sameCatalogue()
	if v := b.verdicts(1); v.Mismatch > 0 {
		b.t.Errorf("%s: verdicts %+v", load.name, v)
	}
	if b.t.Failed() {
		b.t.FailNow() // what differs would be told of each workload that follows
	}
}
