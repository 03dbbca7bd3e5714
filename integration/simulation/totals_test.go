package simulation

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// totals is what many runs came to.
type totals struct {
	runs, failed, suspect                                    int
	records, committed, settled, epochs, takeOvers, foreseen int
	groups                                                   int
	traces                                                   map[uint64]bool
	faults, kills                                            map[string]int
}

func newTotals() *totals {
	return &totals{traces: map[uint64]bool{}, faults: map[string]int{}, kills: map[string]int{}}
}

func (a *totals) add(r result) {
	a.runs++
	a.records += r.records
	a.committed += r.committed
	a.settled += r.settled
	a.epochs += r.epochs
	a.takeOvers += r.takeOvers
	a.foreseen += r.foreseen
	a.groups += r.groups
	if r.suspect {
		a.suspect++
	}
	a.traces[r.trace] = true
	for name, n := range r.faults {
		a.faults[name] += n
	}
	for name, n := range r.kills {
		a.kills[name] += n
	}
}

func (a *totals) log(t *testing.T, d time.Duration) {
	t.Helper()
	t.Logf("%d runs in %.1f s (%.2f ms each), %d different topics: %d records, %d commits, %d epochs, %d intents settled at the primary, %d groups applied, %d take-overs, %d runs under gate none that lost a tail and said so",
		a.runs, d.Seconds(), d.Seconds()*1000/float64(max(a.runs, 1)), len(a.traces), a.records, a.committed, a.epochs, a.settled, a.groups, a.takeOvers, a.suspect)
	for _, m := range []map[string]int{a.faults, a.kills} {
		text := ""
		for _, name := range slices.Sorted(maps.Keys(m)) {
			text += fmt.Sprintf("  %s: %d", name, m[name])
		}
		t.Log(text)
	}
}

// mustBeVaried fails where many runs never came to what the simulation is for.
func (a *totals) mustBeVaried(t *testing.T) {
	t.Helper()
	if a.runs < shortRuns {
		return
	}
	for name, n := range map[string]int{"settled intents": a.settled, "suspect runs": a.suspect} {
		if n == 0 {
			t.Errorf("%d runs without %s", a.runs, name)
		}
	}
	for _, f := range faults {
		if a.faults[f.name] == 0 {
			t.Errorf("%d runs without the fault %q", a.runs, f.name)
		}
	}
	for _, p := range points {
		if a.kills[p] == 0 {
			t.Errorf("%d runs without a kill at the step %q", a.runs, p)
		}
	}
	if len(a.traces) < a.runs*9/10 {
		t.Errorf("%d runs made %d different topics", a.runs, len(a.traces))
	}
}
