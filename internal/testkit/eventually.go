package testkit

import (
	"testing"
	"time"
)

// Patience is how long tests wait for what takes moments on a machine that is not
// busy: long enough for one that is.
const Patience = time.Minute

// Eventually calls check until it returns nil, and fails the test with its last
// error when that has not happened within timeout. Tests wait for conditions
// with it instead of sleeping.
func Eventually(t testing.TB, timeout time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	pause := 5 * time.Millisecond
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", timeout, err)
		}
		time.Sleep(pause)
		pause = min(2*pause, 200*time.Millisecond)
	}
}
