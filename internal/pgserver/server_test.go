package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestDirectoriesOfTheDeadAreRemoved(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	abandoned := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-pg-1", dirPrefix, dead.Process.Pid))
	if err := os.MkdirAll(filepath.Join(abandoned, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Start(context.Background(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(abandoned); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", abandoned, err)
	}
	if _, err := os.Stat(s.Dir); err != nil {
		t.Errorf("the directory of the living: %v", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("%s is left after Close: %v", s.Dir, err)
	}
	if err := s.Start(context.Background()); err == nil {
		t.Error("a closed server started")
	}
}

func TestMajorOf(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]int{
		"/usr/lib/postgresql/15/bin": 15, "/usr/pgsql-17/bin": 17, "/opt/homebrew/opt/postgresql@16/bin": 16, "/usr/bin": 0,
	} {
		if got := majorOf(dir); got != want {
			t.Errorf("majorOf(%s) = %d, want %d", dir, got, want)
		}
	}
}
