package property

import (
	"slices"
	"testing"
)

// ddmin finds the items that matter, wherever they are, and tries far fewer sets
// than there are.
func TestDeltaDebugging(t *testing.T) {
	var items []int
	for i := range 1000 {
		items = append(items, i)
	}
	never := func() bool { return false }
	for _, culprits := range [][]int{{0}, {999}, {3, 4}, {17, 500, 998}} {
		tries := 0
		got := ddmin(items, never, func(kept []int) bool {
			tries++
			return !slices.ContainsFunc(culprits, func(c int) bool { return !slices.Contains(kept, c) })
		})
		if !slices.Equal(got, culprits) {
			t.Errorf("ddmin found %v, want %v", got, culprits)
		}
		if tries > 300 {
			t.Errorf("ddmin tried %d sets for %v", tries, culprits)
		}
	}
}

// When time is over, what was found so far is returned.
func TestDeltaDebuggingEnds(t *testing.T) {
	tries := 0
	got := ddmin([]int{1, 2, 3, 4}, func() bool { return tries == 1 }, func(kept []int) bool { tries++; return true })
	if tries != 1 || len(got) != 2 {
		t.Errorf("after %d tries %v is left, want 2 items after 1", tries, got)
	}
}

// A step waits for what had ended before it began, and for nothing else.
func TestTurns(t *testing.T) {
	first := &step{client: 1, began: 1, ended: 4}
	beside := &step{client: 2, began: 2, ended: 6}
	after := &step{client: 3, began: 5, ended: 7}
	turns := newTurns(plan{steps: []*step{first, beside, after}}.by())
	mine := func(s *step) bool { _, mine := turns.look(s); return mine }
	if !mine(first) || !mine(beside) {
		t.Error("steps that ran beside each other wait")
	}
	if mine(after) {
		t.Error("a step does not wait for what had ended before it began")
	}
	turns.done(1, nil)
	if !mine(after) {
		t.Error("a step waits though what came before it is done")
	}
}
