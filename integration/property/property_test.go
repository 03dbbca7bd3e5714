package property

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

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

// world is one opmux with its workload.
type world struct {
	*rig.Rig
	t      *testing.T
	ctx    context.Context
	seed   uint64
	schema *schema
	ledger *ledger
	agents []string // names
}

// Random workloads leave the same tables and sequences on the backup, and every
// verdict is a match (I1, I2, I3, I4, I6).
func TestRandomWorkloads(t *testing.T) {
	seconds := variable(t, secondsVariable, shortSeconds)
	seed := uint64(shortSeed)
	if seconds != shortSeconds {
		seed = uint64(time.Now().UnixNano() % 1_000_000)
	}
	seed = variable(t, seedVariable, seed)
	for _, c := range []struct {
		name    string
		cfg     rig.Config
		agents  []string
		clients int
	}{
		{"recorded, two agents", rig.Config{Gate: "recorded", GateTimeout: 20 * time.Second}, []string{"a1", "a2"}, 16},
		{"recorded, full digests", rig.Config{Gate: "recorded", GateTimeout: 20 * time.Second, Digest: "full", Verify: "full"}, []string{"a1"}, 8},
		{"none", rig.Config{Gate: "none"}, []string{"a1"}, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Logf("repeat with %s=%d %s=%d", seedVariable, seed, secondsVariable, seconds)
			w := newWorld(t, seed, c.cfg, c.agents)
			w.work(c.clients, time.Duration(seconds)*time.Second)
			t.Log(w.ledger)
			w.compare()
			w.verdicts()
		})
	}
}

func variable(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s is %q, expected a number", name, text)
	}
	return n
}

func newWorld(t *testing.T, seed uint64, cfg rig.Config, agents []string) *world {
	w := &world{t: t, seed: seed, ledger: newLedger(), agents: agents, schema: newSchema(rand.New(rand.NewPCG(seed, 0)))}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	t.Cleanup(cancel)
	w.ctx = ctx
	cfg.Bin, cfg.Dir = testkit.Build(t), t.TempDir()
	if dir := os.Getenv(dirVariable); dir != "" {
		cfg.Dir = filepath.Join(dir, fmt.Sprintf("%d-%s-%d", seed, cfg.Gate, len(agents))+cfg.Digest)
	}
	cfg.PrimarySettings = []string{"deadlock_timeout = 100ms", "lock_timeout = 10s"}
	var err error
	w.Rig, err = rig.New(ctx, cfg)
	w.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range append(agents, "w1") {
				t.Logf("end of %s:\n%s", p, logTail(filepath.Join(w.Dir, p+".log")))
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	w.must(w.CreateTopics(ctx))
	for _, dsn := range []string{w.Primary.DSN(rig.Database), w.Backup.DSN(rig.Database)} {
		for _, sql := range w.schema.ddl() {
			_, err := rig.Query(ctx, dsn, sql)
			w.must(err)
		}
	}
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	var programs []*rig.Program
	for _, name := range w.agents {
		p, err := w.Agent(name)
		w.must(err)
		programs = append(programs, p)
	}
	worker, err := w.Worker("w1")
	w.must(err)
	verifier, err := w.Verifier()
	w.must(err)
	for _, p := range append(programs, worker, verifier) {
		w.must(p.Start(w.ctx))
	}
}

// work lets clients run scripts for a while.
func (w *world) work(clients int, length time.Duration) {
	w.t.Helper()
	pestering, stop := context.WithCancel(w.ctx)
	var pester errgroup.Group
	pester.Go(func() error { return w.ledger.pester(pestering, 150*time.Millisecond) })
	group, ctx := errgroup.WithContext(w.ctx)
	until := time.Now().Add(length)
	for i := range clients {
		agent, err := w.Agent(w.agents[i%len(w.agents)])
		w.must(err)
		log, err := os.Create(filepath.Join(w.Dir, fmt.Sprintf("client-%d.log", i)))
		w.must(err)
		c := &client{id: i, r: rand.New(rand.NewPCG(w.seed, uint64(i)+1)), s: w.schema, dsn: agent.DSN(), ledger: w.ledger, log: log}
		group.Go(func() error {
			defer func() { _ = log.Close() }() // only for people to read
			return c.run(ctx, until)
		})
	}
	err := group.Wait()
	stop()
	_ = pester.Wait() // it returns nil
	if err != nil {
		w.t.Log(w.ledger)
	}
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
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
