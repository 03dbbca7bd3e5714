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

// I6: what runs beside an operation that declares a divergence would not know of it.
func TestDivergencesAreBarriers(t *testing.T) {
	p := newTopic()
	epoch := p.fence("a")
	p.add(epoch, &event.Transaction{FirstChunk: -1})
	p.add(epoch, &event.Transaction{FirstChunk: -1, Operations: []event.Operation{{Diverged: []string{"public.t"}}}})
	p.add(epoch, &event.Transaction{FirstChunk: -1})
	s := New(Config{}, position.Position{}, nil)
	if err := feed(t, s, p.messages...); err != nil {
		t.Fatal(err)
	}
	for i, barrier := range []bool{false, true, false} {
		g := s.Next()
		if g == nil || g.Barrier != barrier || len(g.Transactions) != 1 || s.Next() != nil {
			t.Fatalf("group %d is %+v, want one transaction alone (a barrier: %v)", i, g, barrier)
		}
		s.Applied(g)
		s.Finish(g.Transactions[0])
	}
}

// I6: a reader that goes back over records outside of every chain is noticed as well.
func TestReaderThatGoesBackIsRefused(t *testing.T) {
	p := newTopic()
	for range 2 {
		p.append(&event.Record{Agent: "operator", Body: &event.Mark{Phase: event.MarkAsk}})
	}
	s := New(Config{}, position.Position{}, nil)
	if err := feed(t, s, p.messages[1], p.messages[0]); err == nil {
		t.Fatal("a record was taken that lies below one before it")
	}
}
