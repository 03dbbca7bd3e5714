package classify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
)

func TestNormaliserSaysWhatNormaliseSays(t *testing.T) {
	t.Parallel()
	var n classify.Normaliser
	texts := []string{"UPDATE t SET v = $1 WHERE id = $2", "SELEC 1", "", "SELECT '" + strings.Repeat("x", 5000) + "'"}
	for i := range 1200 { // more than it keeps
		texts = append(texts, fmt.Sprintf("DELETE FROM t%d WHERE id = %d", i%7, i))
	}
	for _, sql := range texts {
		for range 2 { // unknown, and known
			if got, want := n.Normalise(sql), classify.Normalise(sql); got != want {
				t.Fatalf("%q became %q, want %q", sql, got, want)
			}
		}
	}
}
