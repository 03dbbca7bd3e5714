package order

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

func TestNoneTakesOneAgent(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateNone)
	for _, gate := range []string{GateNone, GateRecorded} {
		_, err := w.open(w.config("a2", gate))
		var second *SecondAgentError
		if !errors.As(err, &second) || !Permanent(err) {
			t.Errorf("gate %s: %v", gate, err)
		}
	}
	a.commit(1)
	a.close()
	w.agent("a2", GateNone).close()
}

func TestLostLockRefusesWrites(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateNone)
	w.pg.Exec(t, w.db, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
	if err := a.awaitEnd(); !errors.Is(err, ErrLockLost) || Permanent(err) {
		t.Fatalf("ended by %v", err)
	}
	mustRefuse(t, a.Admit())
	_, err := a.Ticket(write(1))
	mustRefuse(t, err)
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.agent("a1", GateNone).close()
}

// I1: under gate none the loss of a killed agent's tail is reported, and only then.
func TestI1_LostTailIsSuspect(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateNone)
	a.commit(1)
	a.close()
	b := w.agent("a1", GateNone)
	if f := w.records()[b.Epoch()].Body.(*event.Fence); len(f.Suspect) != 0 {
		t.Fatalf("after a clean end: %+v", f)
	}
	b.commit(2)
	b.crash()
	suspect := event.EpochRef{Agent: "a1", Epoch: b.Epoch()}
	for _, name := range []string{"a1", "a2"} { // it stays suspect, whoever follows
		c := w.agent(name, GateNone)
		f := w.records()[c.Epoch()].Body.(*event.Fence)
		if name == "a1" && fmt.Sprint(f.Suspect, f.Ended) != fmt.Sprint([]event.EpochRef{suspect}, []event.EpochRef{suspect}) {
			t.Errorf("FENCE: %+v", f)
		}
		if name == "a2" && len(f.Suspect) != 0 {
			t.Errorf("FENCE of a2: %+v", f)
		}
		w.heartbeat(name, func(h topics.Heartbeat) bool { return len(h.Suspect) == 1 && h.Suspect[0] == suspect })
		c.close()
	}
}

func TestNoneSettlesUnknownBeforeWhatFollows(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateNone)
	committed, open := w.begin(1), w.begin(2)
	t1, t2 := a.ticket(committed.Transaction), a.ticket(open.Transaction)
	t3 := a.commit(3)
	if err := committed.commit(); err != nil {
		t.Fatal(err)
	}
	if n := len(w.records()); n != 1 {
		t.Errorf("%d records although the first place is empty", n)
	}
	t1.Unknown()
	t2.Unknown()
	a.close()
	kinds := map[int64]event.Kind{}
	for _, r := range w.records()[1:] {
		kinds[r.N] = r.Body.Kind()
	}
	if kinds[t1.N] != event.KindTransaction || kinds[t2.N] != event.KindVoid || kinds[t3.N] != event.KindTransaction || kinds[4] != event.KindFence {
		t.Errorf("kinds: %v", kinds)
	}
}

// A transaction that may have committed and cannot be told of makes the epoch
// suspect; those behind it go on.
func TestI1_NoneReportsWhatItCannotSettle(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateNone)
	x := w.begin(1)
	x.Postgres.XID = 0
	a.ticket(x.Transaction).Unknown()
	a.commit(2)
	w.heartbeat("a1", func(h topics.Heartbeat) bool {
		return len(h.Suspect) == 1 && h.Suspect[0] == event.EpochRef{Agent: "a1", Epoch: a.Epoch()}
	})
	a.close()
	records := w.records()
	if records[1].Body.Kind() != event.KindVoid || records[2].Body.Kind() != event.KindTransaction || len(records) != 3 {
		t.Errorf("records: %+v", records)
	}
	b := w.agent("a1", GateNone)
	if f := w.records()[b.Epoch()].Body.(*event.Fence); len(f.Suspect) != 1 {
		t.Errorf("FENCE: %+v", f)
	}
	b.close()
}

// The primary crashes under gate none: unknown transactions are settled after its
// recovery, while the ledger closes, and nothing is suspect.
func TestI1_NoneSurvivesACrashOfThePrimary(t *testing.T) {
	w := newWorld(t).ownPrimary()
	a := w.agent("a1", GateNone)
	x, y := w.begin(1), w.begin(2)
	t1, t2 := a.ticket(x.Transaction), a.ticket(y.Transaction)
	if err := x.commit(); err != nil {
		t.Fatal(err)
	}
	w.pg.Kill(t)
	t1.Unknown()
	t2.Unknown()
	a.awaitEnd()
	w.pg.Start(t)
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var kinds []event.Kind
	for _, r := range w.records() {
		kinds = append(kinds, r.Body.Kind())
	}
	if fmt.Sprint(kinds) != "[fence transaction void fence]" {
		t.Errorf("records: %v", kinds)
	}
	b := w.agent("a1", GateNone)
	if f := w.records()[b.Epoch()].Body.(*event.Fence); len(f.Suspect) != 0 {
		t.Errorf("FENCE: %+v", f)
	}
	b.close()
}

// Marks are answered behind everything that has a ticket.
func TestMarksAreAnsweredBehindTickets(t *testing.T) {
	for _, gate := range []string{GateNone, GateRecorded} {
		t.Run(gate, func(t *testing.T) {
			w := newWorld(t)
			a := w.agent("a1", gate)
			x := w.begin(1)
			ticket := a.ticket(x.Transaction)
			ask := event.Mark{ID: uuid.New(), Phase: event.MarkAsk}
			taken := a.High()
			w.ask(a, ask)
			testkit.Eventually(t, testkit.Patience, func() error {
				if a.High() == taken {
					return errors.New("no answer")
				}
				return nil
			})
			ticket.Committed()
			a.close()
			place, answered := -1, -1
			for i, r := range w.records() {
				switch b := r.Body.(type) {
				case *event.Transaction:
					place = i
				case *event.Mark:
					if b.Phase == event.MarkAnswer && b.ID == ask.ID {
						answered = i
					}
				}
			}
			if answered < place || place < 0 {
				t.Errorf("the transaction is record %d, the answer %d", place, answered)
			}
		})
	}
}

func TestDivergenceIsRemembered(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateRecorded)
	for range 3 {
		a.Diverge([]string{"public.t"}, "user trigger", "UPDATE t")
	}
	a.crash()
	b := w.agent("a1", GateRecorded)
	w.heartbeat("a1", func(h topics.Heartbeat) bool {
		return h.Epoch == b.Epoch() && len(h.Diverged) <= 1
	})
	b.Diverge([]string{"public.u"}, "user trigger", "UPDATE u")
	w.heartbeat("a1", func(h topics.Heartbeat) bool { return len(h.Diverged) >= 1 })
	b.close()
	c := w.agent("a1", GateRecorded)
	w.heartbeat("a1", func(h topics.Heartbeat) bool { return h.Epoch == c.Epoch() && len(h.Diverged) >= 1 })
	c.close()
}

func TestChunksAreAcknowledgedInOrder(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateRecorded)
	x := w.begin(1)
	x.Chunks = 2
	part := func(i int32) int64 {
		c, err := a.Chunk(&event.Chunk{Tx: x.ID, Index: i, Operations: write(1).Operations})
		if err != nil {
			t.Fatal(err)
		}
		offset, err := c.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return offset
	}
	x.FirstChunk = part(0)
	if second := part(1); second <= x.FirstChunk {
		t.Errorf("chunks at %d and %d", x.FirstChunk, second)
	}
	ticket := a.ticket(x.Transaction)
	if err := x.commit(); err != nil {
		t.Fatal(err)
	}
	ticket.Committed()
	a.close()
	digests, err := topics.ReadAll(t.Context(), w.kafka, w.kafka.Names().Digests("orders"))
	if err != nil || len(digests) != 1 {
		t.Fatalf("%d digests, %v", len(digests), err)
	}
	d, err := testCodec.DecodeDigest(digests[0].Value)
	if err != nil || d.Count != 3 || len(d.Operations) != 3 || d.Operations[2].Index != 2 {
		t.Errorf("digest: %+v, %v", d, err)
	}
}
