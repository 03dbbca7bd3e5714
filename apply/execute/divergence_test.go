package execute

import (
	"slices"
	"testing"

	"github.com/opmux/opmux/apply/position"
)

// I6: behind a COMMIT whose answer was lost a lane learns of its own tables from the
// target, and forgets none that another lane has declared meanwhile.
func TestI6ALostCommitForgetsNoOthersTables(t *testing.T) {
	of := func(tables ...string) (list []position.Diverged) {
		for _, table := range tables {
			list = append(list, position.Diverged{Table: table})
		}
		return list
	}
	s := NewShared(of("before", "dropped"))
	known, read := s.Diverged(), of("before", "declared")
	s.diverge(of("others")) // behind the reading
	s.settle(known, read)
	var got []string
	for _, d := range s.Diverged() {
		got = append(got, d.Table)
	}
	slices.Sort(got)
	if want := []string{"before", "declared", "others"}; !slices.Equal(got, want) {
		t.Errorf("diverged are %v, want %v", got, want)
	}
}
