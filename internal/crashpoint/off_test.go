//go:build !crashpoints

package crashpoint

import "testing"

func TestNothingTriggersAProgramThatIsBuiltForUse(t *testing.T) {
	t.Setenv(Variable, string(CommitSent)+":1")
	At(CommitSent) // or the test would not end
}

func BenchmarkAt(b *testing.B) {
	for b.Loop() {
		At(CommitSent)
	}
}
