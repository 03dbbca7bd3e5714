package schedule

import (
	"testing"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

// Lanes tell each other when nothing can run any more. While a barrier runs that
// must be so as well, or those that are free wake each other without end.
func TestNothingCanRunBesideABarrier(t *testing.T) {
	p := newTopic()
	epoch := p.fence("a")
	p.add(epoch, &event.Transaction{FirstChunk: -1, Barrier: true})
	p.add(epoch, &event.Transaction{FirstChunk: -1})
	s := New(Config{}, position.Position{}, nil)
	if err := feed(t, s, p.messages...); err != nil {
		t.Fatal(err)
	}
	barrier := s.Next()
	if barrier == nil || !barrier.Barrier {
		t.Fatalf("got %+v, want the barrier", barrier)
	}
	if g := s.Next(); g != nil || !s.Idle() {
		t.Fatalf("beside the barrier: group %+v, idle %v", g, s.Idle())
	}
	s.Applied(barrier)
	if g := s.Next(); g == nil {
		t.Fatal("what is behind the barrier does not run after it")
	}
}
