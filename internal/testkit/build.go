package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// programs are what make build puts into bin/.
var programs = []string{"capture-agent", "apply-worker", "verify-worker", "opmux"}

// built is the directory of the programs that Build made for this test binary.
var built struct {
	once sync.Once
	dir  string
	err  error
	made bool // here, so that it is removed at the end
}

// Build returns the directory of opmux's programs: OPMUX_BIN where it is set
// (make test does), else built once per test binary. The package needs a
// TestMain that calls Main, which removes them.
func Build(t testing.TB) string {
	t.Helper()
	built.once.Do(func() { built.dir, built.made, built.err = build() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

func build() (dir string, made bool, err error) {
	if dir := os.Getenv("OPMUX_BIN"); dir != "" {
		for _, p := range programs {
			if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
				return "", false, fmt.Errorf("OPMUX_BIN: %w: run make build", err)
			}
		}
		return dir, false, nil
	}
	if dir, err = os.MkdirTemp("", "opmux-bin-"); err != nil {
		return "", false, fmt.Errorf("directory for the programs: %w", err)
	}
	args := []string{"build", "-o", dir + "/"}
	for _, p := range programs {
		args = append(args, "github.com/opmux/opmux/cmd/"+p)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", true, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return dir, true, nil
}

func removeBuilt() {
	if built.made {
		_ = os.RemoveAll(built.dir) // a leftover in the temporary directory harms nobody
	}
}
