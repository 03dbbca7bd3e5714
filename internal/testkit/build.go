package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// programs are what make build puts into bin/.
var programs = []string{"capture-agent", "apply-worker", "verify-worker", "opmux"}

// built are the directories of the programs that this test binary has built, by
// build tag; Main removes them.
var built struct {
	mu   sync.Mutex
	dirs map[string]string
}

// Build returns the directory of opmux's programs: OPMUX_BIN where it is set
// (make test does), else built once per test binary. The package needs a
// TestMain that calls Main, which removes them.
func Build(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("OPMUX_BIN")
	if dir == "" {
		return BuildTagged(t, "")
	}
	for _, p := range programs {
		if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
			t.Fatalf("OPMUX_BIN: %v: run make build", err)
		}
	}
	return dir
}

// BuildTagged returns the directory of opmux's programs as built with a tag, once
// per test binary, whatever OPMUX_BIN says. It needs what Build needs.
func BuildTagged(t testing.TB, tag string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if dir := built.dirs[tag]; dir != "" {
		return dir
	}
	dir, err := os.MkdirTemp("", "opmux-bin-")
	if err != nil {
		t.Fatalf("directory for the programs: %v", err)
	}
	if built.dirs == nil {
		built.dirs = map[string]string{}
	}
	built.dirs[tag] = dir
	args := []string{"build", "-tags", tag, "-o", dir + "/"}
	for _, p := range programs {
		args = append(args, "github.com/opmux/opmux/cmd/"+p)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	return dir
}

func removeBuilt() {
	built.mu.Lock()
	defer built.mu.Unlock()
	for _, dir := range built.dirs {
		_ = os.RemoveAll(dir) // a leftover in the temporary directory harms nobody
	}
}
