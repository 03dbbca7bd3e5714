package child

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sh(t *testing.T, script string) *Process {
	t.Helper()
	path, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Config{Name: "script", Path: path, Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

func TestExitCodeAndLog(t *testing.T) {
	t.Parallel()
	p := sh(t, "echo hello; exit 7")
	if code := p.ExitCode(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	if err := p.Ended(); err == nil || !strings.Contains(err.Error(), "hello") {
		t.Errorf("Ended says %v, want the log's end", err)
	}
}

func TestTerminateKillsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	p := sh(t, "trap '' TERM; echo trapped; while :; do sleep 0.1; done")
	for !strings.Contains(p.Log(), "trapped") {
		if err := p.Ended(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Terminate(50 * time.Millisecond); err == nil {
		t.Error("no error for a child that ignored SIGTERM")
	}
	if p.Running() {
		t.Error("it still runs")
	}
}

func TestFreezeAndThaw(t *testing.T) {
	t.Parallel()
	p := sh(t, "read line || exit 3")
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	if code := p.ExitCode(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("killing an ended child: %v", err)
	}
}
