package order

import (
	"slices"
	"testing"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// I6: a commit that the primary told of and forgot in a crash is on the targets
// alone. The next epoch finds out and says so.
func TestI6_CommitLostInACrashIsSuspect(t *testing.T) {
	w := newWorld(t).ownPrimary()
	a := w.agent("a1", GateRecorded)
	a.commit(1)
	lost := w.begin(2)
	ticket := a.ticket(lost.Transaction)
	if _, err := lost.conn.Exec(t.Context(), "SET LOCAL synchronous_commit = off"); err != nil {
		t.Fatal(err)
	}
	if err := lost.commit(); err != nil {
		t.Fatal(err)
	}
	ticket.Committed()
	w.awaitOutcome(a.ref(ticket), true, "")
	w.pg.Kill(t)
	w.pg.Start(t)
	if rows := w.pg.Query(t, w.db, "SELECT id FROM t"); len(rows) != 1 {
		t.Fatalf("the primary has %v: nothing was lost, so that there is nothing to show", rows)
	}
	if err := a.awaitEnd(); Permanent(err) {
		t.Fatal(err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := w.agent("a1", GateRecorded)
	want := event.EpochRef{Agent: "a1", Epoch: a.Epoch()}
	if f, ok := w.records()[b.Epoch()].Body.(*event.Fence); !ok || !slices.Contains(f.Suspect, want) {
		t.Errorf("the FENCE after the crash: %+v, want %+v among the suspect", f, want)
	}
	w.heartbeat("a1", func(h topics.Heartbeat) bool { return slices.Contains(h.Suspect, want) })
	b.close()
	c := w.agent("a1", GateRecorded) // once is enough
	if f, ok := w.records()[c.Epoch()].Body.(*event.Fence); !ok || len(f.Suspect) > 0 {
		t.Errorf("the FENCE after that: %+v, want nothing suspect that was not before", f)
	}
	c.close()
}
