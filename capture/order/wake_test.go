package order

import (
	"testing"

	"github.com/opmux/opmux/event"
)

// What an agent's own FENCE has ended is settled when it is read back, and not at
// the next round of the clock: the backups wait for it.
func TestOwnFenceWakesSettling(t *testing.T) {
	l := testLedger(t, GateRecorded, newMemlog())
	l.follow.view = newView(0)
	l.opened = true
	fence := func(offset int64) {
		t.Helper()
		if err := l.readRecord(offset, &event.Record{Agent: "a1", Body: &event.Fence{Gate: GateRecorded}}); err != nil {
			t.Fatal(err)
		}
	}
	fence(3) // of a former epoch
	if len(l.settling.wakeup) != 0 {
		t.Error("a FENCE of the past woke it")
	}
	fence(7)
	if len(l.settling.wakeup) != 1 {
		t.Error("the epoch's own FENCE did not wake it")
	}
}
