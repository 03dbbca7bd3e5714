package kill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/crashpoint"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// dirVariable names a directory for logs.
const dirVariable = "OPMUX_KILL_DIR"

// world is a whole opmux with its clients, and what is done to it.
type world struct {
	*rig.Rig
	t       *testing.T
	ctx     context.Context
	seed    uint64
	random  *rand.Rand // of the faults
	tagged  string     // directory of the programs that die at named places
	agents  []*rig.Program
	clients *clients
	book    *book
	diary   *diary
	points  map[string]*deck[crashpoint.Point] // by program

	suspects int                         // epochs that must be
	base     map[string]map[string]int64 // hot rows of each side as of the last count
}

// begin starts everything; at the end of the test it is ended, and its logs are
// kept if the test failed.
func begin(t *testing.T, cfg rig.Config, seed uint64, agents ...string) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	cfg.Bin, cfg.Dir = testkit.Build(t), directory(t)
	cfg.AgentYAML += "capture: {chunk: 32KiB}\n"
	cfg.PrimarySettings = append(cfg.PrimarySettings, "max_prepared_transactions = 30")
	w := &world{t: t, ctx: ctx, seed: seed, random: rand.New(rand.NewPCG(seed, 1<<40)),
		tagged: testkit.BuildTagged(t, crashpoint.Tag), book: newBook(), base: map[string]map[string]int64{"primary": {}, "backup": {}}, points: map[string]*deck[crashpoint.Point]{}}
	for kind := range points {
		w.points[kind] = &deck[crashpoint.Point]{cards: pointsOf(kind)}
	}
	t.Logf("seed %d; logs are in %s", seed, cfg.Dir)
	r, err := rig.New(ctx, cfg)
	w.must(err)
	w.Rig = r
	w.diary = newDiary(t, cfg.Dir)
	t.Cleanup(w.end)
	w.must(r.CreateTopics(ctx))
	for _, dsn := range []string{r.Primary.DSN(rig.Database), r.Backup.DSN(rig.Database)} {
		for _, sql := range schema {
			w.query(dsn, sql)
		}
	}
	var dsns []string
	for _, name := range agents {
		p, err := r.Agent(name)
		w.must(err)
		w.agents, dsns = append(w.agents, p), append(dsns, p.DSN())
	}
	for _, p := range w.programs() {
		w.must(p.Start(ctx))
	}
	w.clients = startClients(ctx, 6, seed, w.book, dsns)
	return w
}

// programs are those that are expected to run.
func (w *world) programs() []*rig.Program {
	return append(w.agents[:len(w.agents):len(w.agents)], w.worker(), w.verifier())
}

func (w *world) worker() *rig.Program {
	p, err := w.Worker("w1")
	w.must(err)
	return p
}

func (w *world) verifier() *rig.Program {
	p, err := w.Verifier()
	w.must(err)
	return p
}

func directory(t *testing.T) string {
	if dir := os.Getenv(dirVariable); dir != "" {
		return filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-"))
	}
	dir, err := os.MkdirTemp("", "opmux-kill-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir) // what is left in the temporary directory harms nobody
		}
	})
	return dir
}

// end ends everything and says what is needed to understand a failure.
func (w *world) end() {
	if w.clients != nil {
		w.clients.stop()
	}
	w.diary.close()
	if w.t.Failed() {
		w.t.Logf("seed %d failed; the logs are in %s:\n%s", w.seed, w.Dir, w.diary)
		for name, text := range w.evidence() {
			if err := os.WriteFile(filepath.Join(w.Dir, name), []byte(text), 0o600); err != nil {
				w.t.Error(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		w.t.Error(err)
	}
}

// evidence is what shows a failure's cause, by file name.
func (w *world) evidence() map[string]string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	text := func(out string, err error) string {
		if err != nil {
			return out + err.Error()
		}
		return out
	}
	files := map[string]string{
		"primary.log": w.Primary.LogTail(), "backup.log": w.Backup.LogTail(),
		"topic.jsonl": text(w.Must(ctx, "tail", "--config", w.AgentConfig("a1"), "--from", "beginning", "--json")),
		"status.json": text(w.Must(ctx, "status", "--config", w.WorkerConfig("w1"), "--json")),
		"indoubt.txt": text(w.Must(ctx, "indoubt", "list", "--config", w.AgentConfig("a1"))),
	}
	for _, p := range w.programs() {
		files[p.Name+".metrics"] = text(p.Metrics(ctx))
	}
	return files
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) query(dsn, sql string) [][]string {
	w.t.Helper()
	rows, err := rig.Query(w.ctx, dsn, sql)
	w.must(err)
	return rows
}

// expectAlive fails where a program has ended that nobody killed.
func (w *world) expectAlive() {
	w.t.Helper()
	for _, p := range w.programs() {
		if err := p.Process.Ended(); err != nil {
			w.t.Fatalf("nobody has killed %s: %v", p.Name, err)
		}
	}
}

// backTimeout bounds the time until everything works again, and settleTimeout
// that until nothing is open any more.
const (
	backTimeout   = 2 * time.Minute
	settleTimeout = 2 * time.Minute
)

// back waits until transactions commit through each agent and reach the backup,
// and returns how long that took from now.
func (w *world) back(agents ...*rig.Program) time.Duration {
	w.t.Helper()
	began := time.Now()
	for _, a := range agents {
		token := w.probe(a)
		testkit.Eventually(w.t, backTimeout, func() error {
			rows, err := rig.Query(w.ctx, w.Backup.DSN(rig.Database), fmt.Sprintf("SELECT FROM journal WHERE token = '%s'", token))
			if err == nil && len(rows) == 0 {
				err = fmt.Errorf("token %s, committed by way of %s, is not on the backup", token, a.Name)
			}
			return errors.Join(err, w.worker().Process.Ended())
		})
	}
	return time.Since(began)
}

// probe commits a transaction by way of an agent, however often it takes.
func (w *world) probe(a *rig.Program) string {
	w.t.Helper()
	p := &client{clients: &clients{dsns: []string{a.DSN()}}, random: w.random}
	defer p.hangUp()
	var token string
	testkit.Eventually(w.t, backTimeout, func() error {
		ctx, cancel := context.WithTimeout(w.ctx, clientTimeout)
		defer cancel()
		if err := p.connect(ctx); err != nil {
			return errors.Join(err, a.Process.Ended())
		}
		token = fmt.Sprintf("probe-%d", w.clients.tokens.Add(1))
		began := time.Now()
		asked, err := autocommit(ctx, p, token)
		w.book.note(token, entry{told(err, asked), err, began, time.Now()})
		return err
	})
	return token
}
