package memory

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// sizes are how much a form of the tests asks for, and most what a program may
// have resident at its peak (I7): 256 MiB, and less in the short form, whose sizes
// a program that held them could otherwise hide under that.
type sizes struct {
	most                             int64
	copyBytes, resultBytes, rowBytes int64
	statements, sessions, backlog    int
	timeout                          time.Duration
}

func form(t *testing.T) sizes {
	t.Helper()
	switch text := os.Getenv("OPMUX_MEMORY"); text {
	case "":
		return sizes{most: 200 << 20, copyBytes: 200 << 20, resultBytes: 300 << 20, rowBytes: 200 << 20, statements: 20_000, sessions: 150, backlog: 30_000, timeout: 4 * time.Minute}
	case "long":
		// A day at twelve transactions a second.
		return sizes{most: 256 << 20, copyBytes: 1 << 30, resultBytes: 1 << 30, rowBytes: 500 << 20, statements: 1_000_000, sessions: 1000, backlog: 1_000_000, timeout: 50 * time.Minute}
	default:
		t.Fatalf("OPMUX_MEMORY is %q, expected \"long\" or nothing", text)
		return sizes{}
	}
}

// world is one opmux.
type world struct {
	*rig.Rig
	t                       *testing.T
	ctx                     context.Context
	most                    int64
	agent, worker, verifier *rig.Program
}

// up starts everything; schema is run on both sides.
func up(t *testing.T, s sizes, cfg rig.Config, schema ...string) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.timeout)
	t.Cleanup(cancel)
	cfg.Bin, cfg.Dir = testkit.Build(t), t.TempDir()
	cfg.PrimarySettings = append(cfg.PrimarySettings, "max_connections = 1200", "max_wal_size = '4GB'")
	cfg.BackupSettings = append(cfg.BackupSettings, "max_wal_size = '4GB'")
	r, err := rig.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Rig: r, t: t, ctx: ctx, most: s.most}
	t.Cleanup(w.tearDown)
	w.must(r.CreateTopics(ctx))
	for _, dsn := range []string{r.Primary.DSN(rig.Database), r.Backup.DSN(rig.Database)} {
		for _, sql := range schema {
			w.query(dsn, sql)
		}
	}
	w.agent, err = r.Agent("a1")
	w.must(err)
	w.worker, err = r.Worker("w1")
	w.must(err)
	w.verifier, err = r.Verifier()
	w.must(err)
	for _, p := range w.programs() {
		w.must(p.Start(ctx))
	}
	return w
}

func (w *world) programs() []*rig.Program { return []*rig.Program{w.agent, w.worker, w.verifier} }

func (w *world) tearDown() {
	if w.t.Failed() {
		for _, p := range w.programs() {
			if p != nil && p.Process != nil {
				w.t.Logf("end of %s's log:\n%s", p.Name, p.Process.LogTail())
			}
		}
	}
	if err := w.Close(); err != nil {
		w.t.Error(err)
	}
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

// follows waits until the backup has everything and compares every table.
func (w *world) follows(timeout time.Duration) {
	w.t.Helper()
	w.must(w.Wait(w.ctx, timeout))
	diffs, err := w.Compare(w.ctx)
	w.must(err)
	if len(diffs) == 0 {
		w.t.Fatal("there is no table to compare")
	}
	if text := rig.Explain(diffs); text != "" {
		w.t.Fatalf("the backup differs:\n%s", text)
	}
}

// stage runs one part of a test and looks at the peak of every program in it.
func (w *world) stage(name string, run func()) {
	w.t.Helper()
	for _, p := range w.programs() {
		w.must(forgetPeak(p.Process.Pid()))
	}
	began := time.Now()
	run()
	took := time.Since(began)
	for _, p := range w.programs() {
		peak, err := peak(p.Process.Pid())
		w.must(err)
		w.t.Logf("%s: %s had %d MiB at its peak (%.0f s)", name, p.Name, peak>>20, took.Seconds())
		if peak > w.most {
			w.t.Errorf("%s: %s had %d MiB resident, expected at most %d (I7)", name, p.Name, peak>>20, w.most>>20)
		}
	}
}

// peak is the largest resident size of a process since forgetPeak, VmHWM.
func peak(pid int) (int64, error) {
	path := filepath.Join("/proc", fmt.Sprint(pid), "status")
	status, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("%s has no VmHWM", path)
}

// forgetPeak sets a process's peak to what it has now.
func forgetPeak(pid int) error {
	return os.WriteFile(filepath.Join("/proc", fmt.Sprint(pid), "clear_refs"), []byte("5"), 0)
}
