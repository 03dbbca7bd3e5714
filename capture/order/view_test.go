package order

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/opmux/opmux/event"
)

// script feeds records to a view; each line's offset is its index.
func script(t testing.TB, v *view, records ...*event.Record) {
	t.Helper()
	for _, r := range records {
		if err := v.record(v.pos, r); err != nil {
			t.Fatal(err)
		}
	}
}

func fenceOf(agent string, f event.Fence) *event.Record { return &event.Record{Agent: agent, Body: &f} }

func intentOf(agent string, epoch, n int64) *event.Record {
	return &event.Record{Agent: agent, Epoch: epoch, N: n, Body: &event.Transaction{Intent: true}}
}

func outcomeOf(agent string, epoch, n int64, list ...event.Outcome) *event.Record {
	return &event.Record{Agent: agent, Epoch: epoch, N: n, Body: &event.Outcomes{List: list}}
}

func outcome(agent string, epoch, n int64, committed bool) event.Outcome {
	return event.Outcome{Ref: event.Ref{Agent: agent, Epoch: epoch, N: n}, Committed: committed}
}

func abandoned(v *view) string {
	s := ""
	for _, i := range v.abandoned() {
		s += fmt.Sprintf("%s/%d/%d@%d ", i.Agent, i.Epoch, i.N, i.offset)
	}
	return s
}

func TestViewFollowsTwoAgents(t *testing.T) {
	v := newView(0)
	script(t, v,
		fenceOf("a", event.Fence{Gate: GateRecorded}), // 0
		fenceOf("b", event.Fence{Gate: GateRecorded}), // 1
		intentOf("a", 0, 1),                           // 2
		intentOf("b", 1, 1),                           // 3
		outcomeOf("a", 0, 2, outcome("a", 0, 1, true)),
		intentOf("a", 0, 3), // 5
	)
	if v.scanFrom() != 3 || abandoned(v) != "" || len(v.unended("a")) != 1 {
		t.Errorf("scan from %d, abandoned %q", v.scanFrom(), abandoned(v))
	}
	// a opens anew, which ends its former epoch, and a FENCE that nobody ordered ends b's.
	script(t, v, fenceOf("a", event.Fence{}), fenceOf("ender-1", event.Fence{Ended: []event.EpochRef{{Agent: "b", Epoch: 1}}}))
	if got := abandoned(v); got != "b/1/1@3 a/0/3@5 " {
		t.Errorf("abandoned %q", got)
	}
	// An intent of an ended epoch that lands late is open like any other.
	script(t, v, intentOf("b", 1, 2)) // 8
	if got := abandoned(v); got != "b/1/1@3 a/0/3@5 b/1/2@8 " {
		t.Errorf("abandoned %q", got)
	}
	script(t, v, outcomeOf("a", 6, 1, outcome("b", 1, 1, true), outcome("b", 1, 2, false), outcome("a", 0, 3, false)))
	if v.scanFrom() != 10 || len(v.open) != 0 {
		t.Errorf("scan from %d, %d open", v.scanFrom(), len(v.open))
	}
}

// I1: the FENCE of a process that was replaced arrives behind its successor's, ends
// that one's epoch and does not know of it.
func TestI1_ViewSuspectsWhatALateFenceEnds(t *testing.T) {
	v := newView(0)
	script(t, v, fenceOf("a", event.Fence{Gate: GateNone}), fenceOf("a", event.Fence{Gate: GateNone}))
	if len(v.suspect) != 1 || !v.suspect[event.EpochRef{Agent: "a", Epoch: 0}] {
		t.Errorf("suspect is %v", v.suspect)
	}
	v = newView(0)
	script(t, v, fenceOf("a", event.Fence{Gate: GateNone}), fenceOf("b", event.Fence{Gate: GateNone}),
		&event.Record{Agent: "a", N: 1, Body: &event.Fence{Gate: GateNone, Clean: true}}, fenceOf("a", event.Fence{Gate: GateNone}),
		fenceOf("c", event.Fence{Gate: GateRecorded}), fenceOf("c", event.Fence{Gate: GateRecorded}))
	if len(v.suspect) != 0 {
		t.Errorf("suspect is %v, though it was closed or recorded", v.suspect)
	}
}

// I2: an id that a later transaction has says that the open one before it was lost.
func TestI2_ViewNoticesIDsDrawnAgain(t *testing.T) {
	v := newView(0)
	of := func(n int64, xid uint64, backend int64) *event.Record {
		r := intentOf("a", 0, n)
		r.Body.(*event.Transaction).Postgres = event.PostgresTx{XID: xid, BackendStart: backend}
		return r
	}
	script(t, v, fenceOf("a", event.Fence{}), of(1, 108, 5), of(2, 109, 5), of(3, 108, 9), outcomeOf("a", 0, 4, outcome("a", 0, 3, true)),
		of(5, 109, 4), of(6, 0, 1), of(7, 0, 2)) // 5 is older than 2, and came late
	for n, want := range map[int64]bool{1: true, 2: false, 5: false, 6: false, 7: false} {
		if i := v.open[event.Ref{Agent: "a", Epoch: 0, N: n}]; i == nil || i.redrawn != want {
			t.Errorf("intent %d: %+v, redrawn is to be %v", n, i, want)
		}
	}
	script(t, v, fenceOf("b", event.Fence{Primary: event.Primary{Timeline: 2}}), &event.Record{Agent: "b", Epoch: v.pos, N: 1,
		Body: &event.Transaction{Intent: true, Postgres: event.PostgresTx{XID: 109, BackendStart: 10}}})
	if v.open[event.Ref{Agent: "a", Epoch: 0, N: 5}].redrawn {
		t.Error("an id of another timeline counts")
	}
	if len(v.byXID) != 1 {
		t.Errorf("%d ids are remembered, of 2 open ones with ids", len(v.byXID))
	}
}

func TestI2_ViewNoticesConflicts(t *testing.T) {
	v := newView(0)
	script(t, v, fenceOf("a", event.Fence{}), intentOf("a", 0, 1), outcomeOf("a", 0, 2, outcome("a", 0, 1, true)),
		outcomeOf("b", 0, 1, outcome("a", 0, 1, true))) // two settlers: harmless
	err := v.record(v.pos, outcomeOf("b", 0, 2, outcome("a", 0, 1, false)))
	var conflict *ConflictError
	if !errors.As(err, &conflict) || conflict.Offset != 4 || !conflict.First {
		t.Errorf("got %v", err)
	}
}

func TestI7_ViewForgets(t *testing.T) {
	v := newView(0)
	for i := range int64(maxResolved + 100) {
		if i%1000 == 0 {
			script(t, v, fenceOf("a", event.Fence{}))
			shut := fenceOf(fmt.Sprintf("operator-%d", i), event.Fence{})
			script(t, v, shut, &event.Record{Agent: shut.Agent, Epoch: v.pos, N: 1, Body: &event.Fence{Clean: true}})
		}
		script(t, v, intentOf("a", v.newest["a"], i+1), outcomeOf("a", v.newest["a"], i+1, outcome("a", v.newest["a"], i+1, true)))
	}
	if len(v.resolved) > maxResolved || len(v.epochs) > 1 || len(v.newest) > 1 || len(v.open) != 0 {
		t.Errorf("%d outcomes, %d epochs, %d agents, %d open", len(v.resolved), len(v.epochs), len(v.newest), len(v.open))
	}
}

// Property: a view that begins at scanFrom of another knows the same open intents,
// and in the end the same that are abandoned.
func TestViewFromScanFromKnowsTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := history(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 2)))
		whole := newView(0)
		script(t, whole, log...)
		cut := rapid.IntRange(0, len(log)).Draw(rt, "heartbeat at")
		then := newView(0)
		script(t, then, log[:cut]...)
		late := newView(then.scanFrom())
		for agent, epoch := range then.newest { // what heartbeats say
			late.epochOf(event.EpochRef{Agent: agent, Epoch: epoch})
		}
		script(t, late, log[then.scanFrom():]...)
		if len(late.open) != len(whole.open) || late.scanFrom() != whole.scanFrom() {
			rt.Fatalf("from %d: %d open, of %d", then.scanFrom(), len(late.open), len(whole.open))
		}
		if abandoned(late) != abandoned(whole) {
			rt.Fatalf("from %d: abandoned %q, want %q", then.scanFrom(), abandoned(late), abandoned(whole))
		}
	})
}

// history is a topic that three agents wrote, whose epochs end one after another.
func history(rng *rand.Rand) []*event.Record {
	var log []*event.Record
	agents := []string{"a", "b", "c"}
	epoch, n := map[string]int64{}, map[string]int64{}
	var open []event.Ref
	for _, a := range agents {
		epoch[a] = int64(len(log))
		log = append(log, fenceOf(a, event.Fence{}))
	}
	for range rng.IntN(60) {
		a := agents[rng.IntN(3)]
		switch {
		case rng.IntN(8) == 0:
			epoch[a], n[a] = int64(len(log)), 0
			log = append(log, fenceOf(a, event.Fence{}))
		case len(open) > 0 && rng.IntN(2) == 0:
			i := rng.IntN(len(open))
			ref := open[i]
			open = append(open[:i], open[i+1:]...)
			n[a]++
			log = append(log, outcomeOf(a, epoch[a], n[a], event.Outcome{Ref: ref, Committed: true}))
		default:
			n[a]++
			open = append(open, event.Ref{Agent: a, Epoch: epoch[a], N: n[a]})
			log = append(log, intentOf(a, epoch[a], n[a]))
		}
	}
	return log
}

// An agent that was frozen finds its own heartbeats missing as well, and takes
// nobody for dead.
func TestSilenceIsMeasuredByOwnBeats(t *testing.T) {
	var s silence
	s.init()
	other := event.EpochRef{Agent: "b", Epoch: 1}
	if s.of(other) != 0 {
		t.Error("silent before it was asked for")
	}
	for range 9 {
		s.beat()
	}
	if s.of(other) != 9 {
		t.Errorf("silent for %d", s.of(other))
	}
	s.heard(other)
	s.beat()
	if s.of(other) != 1 {
		t.Errorf("silent for %d", s.of(other))
	}
	s.keep(func(event.EpochRef) bool { return false })
	if len(s.seen) != 0 {
		t.Error("epochs are kept for ever")
	}
}

// The last heartbeat of a closed epoch leaves its FENCE to be read, since whoever
// opens next learns the stream's primary from it.
func TestLastHeartbeatLeavesTheFence(t *testing.T) {
	m := newMemlog()
	l := testLedger(t, GateRecorded, m)
	l.follow.view.pos = 9
	l.beat(t.Context())
	l.closedAt.Store(8)
	l.beat(t.Context())
	if h := m.beats[0]; h.Epoch != 7 || h.ScanFrom != 9 {
		t.Errorf("while open: %+v", h)
	}
	if h := m.beats[1]; h.Epoch != noEpoch || h.ScanFrom != 8 {
		t.Errorf("once closed: %+v", h)
	}
}
