package property

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// Where a run's variables come from, and what the short form has.
const (
	seedVariable    = "OPMUX_PROPERTY_SEED"
	secondsVariable = "OPMUX_PROPERTY_SECONDS"
	dirVariable     = "OPMUX_PROPERTY_DIR"
	shortSeconds    = 20
	shortSeed       = 400
)

// form is one way in which the workload runs.
type form struct {
	name    string
	cfg     rig.Config
	agents  []string // names
	clients int
	// opaque has functions and triggers that write, and capture triggers to follow them.
	opaque bool
	// inProcess has the agents inside the clients' process (capture/sqldriver).
	inProcess bool
}

// Random workloads leave the same tables and sequences on the backup, and every
// verdict is a match (I1, I2, I3, I4, I6).
func TestRandomWorkloads(t *testing.T) {
	seconds := testkit.FromEnv[uint64](t, secondsVariable, shortSeconds)
	seed := uint64(shortSeed)
	if seconds != shortSeconds {
		seed = uint64(time.Now().UnixNano() % 1_000_000)
	}
	seed = testkit.FromEnv[uint64](t, seedVariable, seed)
	for _, f := range []form{
		{"recorded, two agents", rig.Config{Gate: "recorded", GateTimeout: 20 * time.Second}, []string{"a1", "a2"}, 16, false, false},
		{"recorded, full digests", rig.Config{Gate: "recorded", GateTimeout: 20 * time.Second, Digest: "full", Verify: "full"}, []string{"a1"}, 8, false, false},
		{"none", rig.Config{Gate: "none"}, []string{"a1"}, 8, false, false},
		{"capture triggers", rig.Config{Gate: "recorded", GateTimeout: 20 * time.Second, AgentYAML: "capture: {triggers: on, chunk: 64KiB}\n"}, []string{"a1", "a2"}, 12, true, false},
		{"in process", rig.Config{Gate: "recorded", GateTimeout: 20 * time.Second, Digest: "full", Verify: "full"}, []string{"inside1", "inside2"}, 12, false, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Logf("repeat with %s=%d %s=%d", seedVariable, seed, secondsVariable, seconds)
			f.cfg.Bin, f.cfg.Dir = testkit.Build(t), t.TempDir()
			if dir := os.Getenv(dirVariable); dir != "" {
				f.cfg.Dir = filepath.Join(dir, fmt.Sprintf("%d-%s-%d-%s", seed, f.cfg.Gate, len(f.agents), f.agents[0])+f.cfg.Digest+f.cfg.AgentYAML[:min(7, len(f.cfg.AgentYAML))])
			}
			f.run(t, seed, time.Duration(seconds)*time.Second)
		})
	}
}

func (f form) run(t *testing.T, seed uint64, length time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	w := &world{agents: f.agents, inProcess: f.inProcess, log: t.Logf}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	schema := newSchema(rand.New(rand.NewPCG(seed, 0)))
	if f.opaque {
		schema.makeOpaque(rand.New(rand.NewPCG(seed, 1)))
	}
	must(t, w.open(ctx, f.cfg, schema))
	seen, failures := w.work(ctx, seed, schema, f.clients, length)
	t.Log(w.ledger)
	if failures == nil {
		var err error
		failures, err = w.check(ctx, catchUp)
		must(t, err)
	}
	if failures == nil {
		return
	}
	for _, fail := range failures {
		t.Errorf("%s: %s", fail.kind, fail.text)
	}
	if err := w.dump(ctx); err != nil {
		t.Logf("what was published cannot be read: %v", err)
	}
	for _, p := range w.programs {
		t.Logf("end of %s:\n%s", p.Name, logTail(filepath.Join(w.Dir, p.Name+".log")))
	}
	w.minimise(ctx, t, f, plan{schema, seen.steps}, failures[0].kind, seen.tooLong)
	t.Logf("seed %d", seed)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func logTail(path string) string {
	const most = 4000
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}
