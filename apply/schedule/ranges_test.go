package schedule

import (
	"testing"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

// decided appends intents that committed, each with its outcome behind it, and what
// a session of another kind writes in between.
func (p *topic) decided(epoch event.EpochRef, count int) (offsets []int64) {
	for range count {
		ref, offset := p.add(epoch, &event.Transaction{Intent: true, FirstChunk: -1})
		p.add(epoch, &event.Void{})
		p.add(epoch, &event.Outcomes{List: []event.Outcome{{Ref: ref, Committed: true}}})
		offsets = append(offsets, offset)
	}
	return offsets
}

// TestI4RecordsBetweenTransactionsTakeNoRangesOfTheirOwn: what runs in a row is one
// range, and a worker that takes over there runs what is missing and nothing else.
func TestI4RecordsBetweenTransactionsTakeNoRangesOfTheirOwn(t *testing.T) {
	p := newTopic()
	epoch := p.fence("a")
	ref, first := p.add(epoch, &event.Transaction{Intent: true, FirstChunk: -1})
	p.decided(epoch, 50)
	_, open := p.add(epoch, &event.Transaction{Intent: true, FirstChunk: -1})
	p.decided(epoch, 50)
	s := New(Config{}, position.Position{}, nil)
	if err := feed(t, s, p.messages...); err != nil {
		t.Fatal(err)
	}
	g := s.Next()
	if g == nil || len(g.Transactions) != 100 {
		t.Fatalf("got group %+v, want the hundred that committed", g)
	}
	stored := s.Position(g)
	if stored.Low != first || stored.Done.Len() != 2 || stored.Done.Has(first) || stored.Done.Has(open) {
		t.Fatalf("low %d, done %s, with open intents at %d and %d", stored.Low, stored.Done.String(), first, open)
	}
	s = New(Config{}, stored, nil)
	p.add(epoch, &event.Outcomes{List: []event.Outcome{
		{Ref: ref, Committed: true}, {Ref: event.Ref{Agent: ref.Agent, Epoch: ref.Epoch, N: open - first + ref.N}, Committed: true},
	}})
	if err := feed(t, s, p.messages[first:]...); err != nil {
		t.Fatal(err)
	}
	g = s.Next()
	if g == nil || len(g.Transactions) != 2 || g.Transactions[0].Offset != first || g.Transactions[1].Offset != open {
		t.Fatalf("after the take-over: group %+v, want the two that were open", g)
	}
}

// TestWhatWaitsForRangesRunsOnceThereAreFewer: a position that is full of ranges holds
// back all but the first, and finishing what lies between two of them lets it go on.
func TestWhatWaitsForRangesRunsOnceThereAreFewer(t *testing.T) {
	p := newTopic()
	epoch := p.fence("a")
	p.add(epoch, &event.Transaction{Intent: true, FirstChunk: -1})
	var between []event.Ref
	for range 3 {
		p.decided(epoch, 1)
		ref, _ := p.add(epoch, &event.Transaction{Intent: true, FirstChunk: -1})
		between = append(between, ref)
	}
	s := New(Config{Ranges: 3}, position.Position{}, nil)
	feedNow := func() {
		t.Helper()
		if err := feed(t, s, p.messages...); err != nil {
			t.Fatal(err)
		}
		p.messages = nil
	}
	feedNow()
	s.Applied(s.Next())
	p.decided(epoch, 1)
	feedNow()
	if g := s.Next(); g != nil || !s.Idle() {
		t.Fatalf("with %s done: group %+v, idle %v", s.done.String(), g, s.Idle())
	}
	p.add(epoch, &event.Outcomes{List: []event.Outcome{{Ref: between[0]}}})
	feedNow()
	if g := s.Next(); g == nil {
		t.Fatalf("with %s done nothing runs", s.done.String())
	}
}

// TestI7ReadingWaitsForWhatRunsAndNotForMore: while a group runs, a few groups are read
// ahead; when nothing runs, reading goes on, since what is needed may lie further on.
func TestI7ReadingWaitsForWhatRunsAndNotForMore(t *testing.T) {
	p := newTopic()
	epoch := p.fence("a")
	p.decided(epoch, 10)
	s := New(Config{GroupTransactions: 2}, position.Position{}, nil)
	if err := feed(t, s, p.messages...); err != nil {
		t.Fatal(err)
	}
	if s.Full() {
		t.Fatal("full though nothing runs")
	}
	for left := 8; left > 0; left -= 2 {
		g := s.Next()
		if want := left >= 8; s.Full() != want {
			t.Fatalf("with %d behind the group that runs: full is %v", left, s.Full())
		}
		s.Applied(g)
		if s.Full() {
			t.Fatal("full though nothing runs")
		}
	}
}
