package schedule

import (
	"errors"
	"testing"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

func feed(t *testing.T, s *Scheduler, list ...message) error {
	t.Helper()
	for _, m := range list {
		if err := s.Add(m.offset, 100, m.hash, m.record); err != nil {
			return err
		}
	}
	return nil
}

func TestI6BrokenChainsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(p *topic, epoch event.EpochRef){
		"gap":           func(p *topic, _ event.EpochRef) { p.messages[2].record.N++ },
		"hash":          func(p *topic, _ event.EpochRef) { p.messages[2].record.Prev = []byte{9} },
		"lost":          func(p *topic, _ event.EpochRef) { p.messages = append(p.messages[:1], p.messages[2:]...) },
		"unknown epoch": func(p *topic, _ event.EpochRef) { p.messages[1].record.Epoch = 7 },
		"numbered FENCE": func(p *topic, _ event.EpochRef) {
			p.append(&event.Record{Agent: "a", N: 3, Body: &event.Fence{}})
		},
		"outcome before its intent": func(p *topic, epoch event.EpochRef) {
			p.add(epoch, &event.Outcomes{List: []event.Outcome{{Ref: event.Ref{Agent: epoch.Agent, Epoch: epoch.Epoch, N: 99}}}})
		},
	} {
		p := newTopic()
		epoch := p.fence("a")
		p.add(epoch, &event.Void{})
		p.add(epoch, &event.Void{})
		spoil(p, epoch)
		var chain *ChainError
		if err := feed(t, New(Config{}, position.Position{}, nil), p.messages...); !errors.As(err, &chain) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEpochsFromBeforeTheOriginAreTakenUp(t *testing.T) {
	p := newTopic()
	epoch := p.fence("a")
	for range 5 {
		p.add(epoch, &event.Void{})
	}
	if err := feed(t, New(Config{}, position.Position{Low: 3, Origin: 3}, nil), p.messages[3:]...); err != nil {
		t.Fatal(err)
	}
	if err := feed(t, New(Config{}, position.Position{Low: 3}, nil), p.messages[3:]...); err == nil {
		t.Fatal("an epoch that nobody opened was taken up")
	}
}

func TestOperatorsMarksAreOutsideOfChains(t *testing.T) {
	p := newTopic()
	p.append(&event.Record{Agent: "operator", Body: &event.Mark{Phase: event.MarkAsk}})
	p.append(&event.Record{Agent: "operator", Body: &event.Mark{Phase: event.MarkAsk}})
	if err := feed(t, New(Config{}, position.Position{}, nil), p.messages...); err != nil {
		t.Fatal(err)
	}
}

func TestNewerFormatStops(t *testing.T) {
	p := newTopic()
	p.append(&event.Record{Agent: "a", Body: &event.Fence{LowestReader: event.ReaderVersion + 1}})
	var version *ReaderVersionError
	if err := feed(t, New(Config{}, position.Position{}, nil), p.messages...); !errors.As(err, &version) {
		t.Fatal(err)
	}
}

func TestI7EndedEpochsAreForgottenInTheEnd(t *testing.T) {
	p := newTopic()
	s := New(Config{}, position.Position{}, nil)
	last := p.fence("a")
	for range 3 * maxEnded {
		last = p.fence("a", last)
	}
	if err := feed(t, s, p.messages...); err != nil {
		t.Fatal(err)
	}
	if n := len(s.reading.heads); n != maxEnded+1 {
		t.Fatalf("%d heads are kept", n)
	}
	if n := len(s.Position(nil).Heads); n != maxEnded+1 {
		t.Fatalf("%d heads are stored", n)
	}
}

// TestI7WhatIsBehindALongOpenIntentTakesNoMemory: a hundred thousand records
// behind an intent that stays open are one run in the window.
func TestI7WhatIsBehindALongOpenIntentTakesNoMemory(t *testing.T) {
	p := newTopic()
	s := New(Config{}, position.Position{}, nil)
	epoch := p.fence("a")
	intent := &event.Transaction{Intent: true, FirstChunk: -1}
	ref, offset := p.add(epoch, intent)
	for range 100_000 {
		p.add(epoch, &event.Void{})
	}
	if err := feed(t, s, p.messages...); err != nil {
		t.Fatal(err)
	}
	if s.window.len > 2 || s.Full() || s.Low() != offset || s.done.Len() > 1 {
		t.Fatalf("%d entries, low %d, done %s", s.window.len, s.Low(), s.done.String())
	}
	before := s.Position(nil)
	if h := before.Heads[epoch]; h.N != 0 {
		t.Fatalf("the stored head is %d, though the position is at 1", h.N)
	}
	p.messages = nil
	p.add(epoch, &event.Outcomes{List: []event.Outcome{{Ref: ref, Committed: true}}})
	if err := feed(t, s, p.messages...); err != nil {
		t.Fatal(err)
	}
	g := s.Next()
	s.Applied(g)
	s.Finish(g.Transactions[0])
	if p := s.Position(nil); p.Low != s.Read() || p.Heads[epoch].N != 100_002 {
		t.Fatalf("position %d of %d, head %d", p.Low, s.Read(), p.Heads[epoch].N)
	}
}
