package corpus

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// The variables, see docs/reliability.md.
const (
	regressVariable   = "OPMUX_CORPUS_REGRESS"
	isolationVariable = "OPMUX_CORPUS_ISOLATION"
	beforeVariable    = "OPMUX_CORPUS_BEFORE"
	onlyVariable      = "OPMUX_CORPUS_ONLY"
	unsafeVariable    = "OPMUX_CORPUS_UNSAFE"
	triggersVariable  = "OPMUX_CORPUS_TRIGGERS"
	dirVariable       = "OPMUX_CORPUS_DIR"
)

// defaultBefore is what PostgreSQL's schedule says that most of its files need.
const defaultBefore = "test_setup create_misc create_index"

// opmux's own files, in which every answer is the same and nothing is silent.
func TestOwnFiles(t *testing.T) {
	run(t, folder{path: "testdata/sql", ext: ".sql", before: []string{"test_setup"}, program: psql{}})
}

// The same with sessions that wait for each other.
func TestOwnSpecs(t *testing.T) {
	if !hasTester() {
		t.Skip("isolationtester is not installed: scripts/setup corpus")
	}
	run(t, folder{path: "testdata/specs", ext: ".spec", program: isolation{}})
}

func TestRegress(t *testing.T) {
	before := defaultBefore
	if text, ok := os.LookupEnv(beforeVariable); ok {
		before = text
	}
	run(t, folder{path: given(t, regressVariable), ext: ".sql", before: strings.Fields(before), program: psql{}})
}

func TestIsolation(t *testing.T) {
	run(t, folder{path: given(t, isolationVariable), ext: ".spec", program: isolation{}})
}

// given is the folder that a variable names; without it there is nothing to test.
func given(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("%s names no folder: docs/reliability.md says how to get one", variable)
	}
	return path
}

// run runs a folder's files, each on databases of its own, and reports.
func run(t *testing.T, f folder) {
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Hour)
	t.Cleanup(cancel)
	dir := t.TempDir()
	if named := os.Getenv(dirVariable); named != "" {
		dir = filepath.Join(named, t.Name())
	}
	must(t, f.find(os.Getenv(onlyVariable)))
	l := &lab{bin: testkit.Build(t), dir: dir, onUnsafe: os.Getenv(unsafeVariable), triggers: os.Getenv(triggersVariable) == "on", folder: f}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	must(t, l.open(ctx))
	var all report
	for _, file := range f.files {
		if file.missing {
			continue
		}
		t.Run(file.name, func(t *testing.T) {
			found, err := l.file(ctx, file)
			must(t, err)
			all = append(all, found)
			t.Log(found)
			if problem := found.problem(); problem != "" {
				t.Error(problem)
			}
		})
		must(t, all.write(filepath.Join(dir, "report.txt")))
	}
	t.Logf("%s\n%s", all.sum(), filepath.Join(dir, "report.txt"))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
