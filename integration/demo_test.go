package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/testkit"
)

// startDemo runs `opmux demo` with a temporary directory of its own, so that a
// test sees what it leaves behind.
func startDemo(t *testing.T, args ...string) (demo *child.Process, tmp string) {
	t.Helper()
	tmp, err := os.MkdirTemp("", "opmux-demo-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o755); err != nil { // the servers run as another user
		t.Fatal(err)
	}
	demo, err = child.Start(child.Config{
		Path: filepath.Join(testkit.Build(t), "opmux"), Args: append([]string{"demo"}, args...),
		Env: []string{"TMPDIR=" + tmp}, Log: filepath.Join(t.TempDir(), "demo.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = demo.Kill() })
	return demo, tmp
}

// left demands that a demo which has ended left neither files nor processes.
func left(t *testing.T, tmp string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(tmp, "*"))
	if err != nil || len(files) > 0 {
		t.Errorf("files are left behind: %v, %v", files, err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), tmp) {
			t.Errorf("a process is left behind: %q", text)
		}
	}
}

// Shown 7: the demo ends well, and leaves nothing behind.
func TestDemo(t *testing.T) {
	for _, kafka := range []string{"embedded", "real"} {
		t.Run(kafka, func(t *testing.T) {
			demo, tmp := startDemo(t, "--kafka", kafka, "--duration", "4s", "--scale", "1")
			code := demo.ExitCode()
			if out := demo.Log(); code != 0 || !strings.Contains(out, "VERDICT: good") {
				t.Fatalf("the demo ended with code %d:\n%s", code, out)
			}
			left(t, tmp)
		})
	}
}

// ctrl-C in the middle cleans up; with --keep it is the regular end.
func TestInterruptedDemoCleansUp(t *testing.T) {
	for _, c := range []struct {
		name, until string
		args        []string
		code        int
	}{
		{"in mid-run", "pgbench runs", []string{"--duration", "60s", "--scale", "1"}, 1},
		{"kept", "ctrl-C stops", []string{"--duration", "2s", "--scale", "1", "--keep"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			demo, tmp := startDemo(t, c.args...)
			testkit.Eventually(t, catchUpTimeout, func() error {
				if err := demo.Ended(); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(demo.Log(), c.until) {
					return fmt.Errorf("it has not said %q yet:\n%s", c.until, demo.Log())
				}
				return nil
			})
			if err := syscall.Kill(demo.Pid(), syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if code := demo.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d:\n%s", code, c.code, demo.Log())
			}
			left(t, tmp)
		})
	}
}
