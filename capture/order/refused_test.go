package order

import (
	"errors"
	"testing"
)

// refusing is a producer that refuses everything until it is reset.
type refusing struct {
	*memlog
	resets int
}

func (r *refusing) Reset() error { r.resets++; return nil }

// A FENCE that Kafka refuses for good (an ACL, say) would make the producer refuse
// every later one as well, and the agent could not open an epoch until it is
// started anew.
func TestARefusedFenceDoesNotStick(t *testing.T) {
	r := &refusing{memlog: newMemlog()}
	l := testLedger(t, GateRecorded, r.memlog)
	l.deps.Producer = r
	no := errors.New("not authorised")
	l.line.produce = func(_ []byte, done func(int64, error)) { go done(-1, no) }
	if err := l.writeFence(t.Context(), l.newFence(GateRecorded)); !errors.Is(err, no) {
		t.Fatalf("got %v, want %v", err, no)
	}
	if r.resets != 1 {
		t.Fatalf("the producer was reset %d times", r.resets)
	}
}
