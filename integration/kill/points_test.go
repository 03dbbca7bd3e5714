package kill

import (
	"fmt"
	"maps"
	"slices"

	"github.com/opmux/opmux/internal/crashpoint"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// points are where programs die, and the pass at which they do at the latest.
var points = map[string]map[crashpoint.Point]int{
	"capture-agent": {
		crashpoint.FenceBefore: 1, crashpoint.FenceAfter: 1, crashpoint.IntentBefore: 40, crashpoint.IntentAfter: 40,
		crashpoint.CommitBefore: 40, crashpoint.CommitSent: 40, crashpoint.CommitAfter: 40,
		crashpoint.OutcomeBefore: 30, crashpoint.OutcomeAfter: 30,
	},
	"apply-worker": {
		crashpoint.TargetBefore: 20, crashpoint.TargetSent: 20, crashpoint.TargetAfter: 20, crashpoint.DigestBefore: 30,
		crashpoint.DigestAfter: 30, crashpoint.PositionBefore: 2, crashpoint.PositionAfter: 2,
		crashpoint.OffsetBefore: 2, crashpoint.OffsetAfter: 2,
	},
	"verify-worker": {crashpoint.OffsetBefore: 2, crashpoint.OffsetAfter: 2},
}

// pointsOf are a program's places in an order that does not change.
func pointsOf(kind string) []crashpoint.Point { return slices.Sorted(maps.Keys(points[kind])) }

// diesAtPoint replaces a program, which is killed, by one that dies at a named
// place, and that one by a usual one.
func (w *world) diesAtPoint(p *rig.Program) {
	w.t.Helper()
	point := w.points[p.Kind()].draw(w.random)
	pass := 1 + w.random.IntN(points[p.Kind()][point])
	w.kill(p)
	p.Bin, p.Env = w.tagged, []string{fmt.Sprintf("%s=%s:%d", crashpoint.Variable, point, pass)}
	w.diary.write("%s is to die at %s, pass %d", p.Name, point, pass)
	w.launch(p)
	testkit.Eventually(w.t, backTimeout, func() error {
		if p.Process.Running() {
			return fmt.Errorf("%s has not come to %s for the %d. time", p.Name, point, pass)
		}
		return nil
	})
	if code := p.Process.ExitCode(); code != -1 {
		w.t.Fatalf("%s was to die at %s and ended by itself with code %d:\n%s", p.Name, point, code, p.Process.LogTail())
	}
	w.diary.died(p, "at "+string(point))
	p.Bin, p.Env = "", nil
	w.launch(p)
}
