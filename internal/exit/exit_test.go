package exit

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestCode(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, OK},
		{"plain", errors.New("x"), Runtime},
		{"usage", Usagef("unknown flag %q", "--x"), Usage},
		{"timeout", Timeoutf("not within %s", "1s"), Timeout},
		{"wrapped", fmt.Errorf("status: %w", AsUsage(io.EOF)), Usage},
		{"usage of nil", AsUsage(nil), OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Code(c.err); got != c.want {
				t.Errorf("Code(%v) = %d, want %d", c.err, got, c.want)
			}
		})
	}
	if err := AsUsage(io.EOF); !errors.Is(err, io.EOF) {
		t.Error("AsUsage hides its cause")
	}
}
