package testkit

import (
	"os"
	"strconv"
	"testing"
)

// FromEnv is a number of a test's that the environment may change.
func FromEnv[T ~int | ~uint64](t testing.TB, name string, otherwise T) T {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s: a number is expected, not %q", name, text)
	}
	return T(n)
}
