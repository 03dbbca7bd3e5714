package order

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

func TestEpochFromFenceToFence(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateRecorded)
	ticket := a.commit(1)
	x := w.begin(2)
	rolled := a.ticket(x.Transaction)
	rolled.Aborted()
	if err := a.Marks(t.Context(), []event.Operation{{Kind: event.OpSequence, Sequences: []event.SequenceMark{{Schema: "public", Name: "s", Value: 9}}}}); err != nil {
		t.Fatal(err)
	}
	a.close()
	a.close()
	records := w.records()
	first, last := records[0], records[len(records)-1]
	fence := first.Body.(*event.Fence)
	if first.N != 0 || fence.Clean || fence.Gate != GateRecorded || fence.Primary.Database != w.db || len(fence.Ended) != 0 {
		t.Errorf("first record: %+v %+v", first, fence)
	}
	if f, ok := last.Body.(*event.Fence); !ok || !f.Clean || last.Epoch != 0 {
		t.Errorf("last record: %+v %+v", last, last.Body)
	}
	w.awaitOutcome(a.ref(ticket), true, "")
	w.awaitOutcome(a.ref(rolled), false, "")
	if s := w.scan(); s.Oldest != s.End || s.End != int64(len(records)) {
		t.Errorf("scan: %+v", s)
	}
	w.heartbeat("a1", func(h topics.Heartbeat) bool { return h.Epoch == noEpoch && !h.Ready })
	digests, err := topics.ReadAll(t.Context(), w.kafka, w.kafka.Names().Digests("orders"))
	if err != nil || len(digests) != 1 {
		t.Fatalf("%d digests, %v", len(digests), err)
	}
	d, err := testCodec.DecodeDigest(digests[0].Value)
	if err != nil || d.Offset != 1 || len(d.Operations) != 1 || d.Operations[0].Affected != 1 || d.Operations[0].Statement == "" {
		t.Errorf("digest: %+v, %v", d, err)
	}
}

// I1, I2: an agent dies with intents in every state; its successor settles them by
// what the primary says.
func TestI1_I2_SuccessorSettlesAfterACrash(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateRecorded)
	told := a.commit(1)
	w.awaitOutcome(a.ref(told), true, "")
	committed, open, rolledBack := w.begin(2), w.begin(3), w.begin(4)
	t1, t2, t3 := a.ticket(committed.Transaction), a.ticket(open.Transaction), a.ticket(rolledBack.Transaction)
	if err := committed.commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := rolledBack.conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	a.crash()
	if s := w.scan(); len(s.Open) != 3 || s.Oldest != s.Open[0].Offset || s.Open[0].Ended {
		t.Fatalf("scan: %+v", s)
	}
	b := w.agent("a1", GateRecorded)
	w.awaitOutcome(a.ref(t1), true, "xid status")
	w.awaitOutcome(a.ref(t2), false, "xid status")
	w.awaitOutcome(a.ref(t3), false, "xid status")
	if err := open.commit(); err == nil {
		t.Error("it committed although it was settled as aborted")
	}
	b.close()
	digests, err := topics.ReadAll(t.Context(), w.kafka, w.kafka.Names().Digests("orders"))
	if err != nil || len(digests) != 2 {
		t.Errorf("%d digests of 2 commits, %v", len(digests), err)
	}
}

// An agent falls silent; another ends its epoch and settles. The silent one, when
// it comes back, reads its own end, grants nothing more, and what it reports late
// agrees.
func TestI2_SilentAgentIsEndedAndComesBack(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a1", GateRecorded)
	cfg.Beat = time.Hour // it never beats again after the first time
	a, err := w.open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	inside, done := w.begin(1), w.begin(2)
	t1, t2 := a.ticket(inside.Transaction), a.ticket(done.Transaction)
	if err := done.commit(); err != nil {
		t.Fatal(err)
	}
	b := w.agent("a2", GateRecorded)
	w.awaitOutcome(a.ref(t1), false, "xid status")
	w.awaitOutcome(a.ref(t2), true, "xid status")

	var end *EndedError
	if err := a.awaitEnd(); !errors.As(err, &end) || !strings.HasPrefix(end.By, "ender-a2-") || end.Replaced || Permanent(err) {
		t.Fatalf("ended by %v", err)
	}
	_, err = a.Ticket(write(3))
	mustRefuse(t, err)
	if err := inside.commit(); err == nil {
		t.Error("it committed although it was settled as aborted")
	}
	t1.Unknown()
	t2.Committed()
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := w.agent("a1", GateRecorded)
	again.commit(5)
	again.close()
	b.close()
	w.awaitNoneOpen()
}

// Two settlers may find the same intent at once: the same outcome twice is harmless.
func TestTwoSettlersAgree(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a0", GateRecorded)
	var tickets []*Ticket
	for i := range 20 {
		x := w.begin(i)
		tickets = append(tickets, a.ticket(x.Transaction))
		if i%2 == 0 {
			if err := x.commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.crash()
	b, c := w.agent("a1", GateRecorded), w.agent("a2", GateRecorded)
	for i, ticket := range tickets {
		w.awaitOutcome(a.ref(ticket), i%2 == 0, "xid status")
	}
	for _, other := range []*agent{b, c} {
		if err := other.Err(); err != nil {
			t.Error(err)
		}
	}
}

// I2: different outcomes of one intent stop everybody.
func TestI2_ConflictingOutcomesStop(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateRecorded)
	ticket := a.commit(1)
	w.awaitOutcome(a.ref(ticket), true, "")
	b := w.agent("a2", GateRecorded)
	b.outcomes.put(concluded{Outcome: event.Outcome{Ref: a.ref(ticket), Committed: false}})
	var conflict *ConflictError
	if err := a.awaitEnd(); !errors.As(err, &conflict) || conflict.Ref != a.ref(ticket) || !Permanent(err) {
		t.Errorf("ended by %v", err)
	}
}

// Two processes of one name: the one that was there stops.
func TestReplacedAgentStops(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateRecorded)
	b := w.agent("a1", GateRecorded)
	if err := a.awaitEnd(); !Permanent(err) {
		t.Errorf("ended by %v", err)
	}
	b.commit(1)
	b.close()
}

func TestUnknownIsSettledByItsOwnAgent(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateRecorded)
	committed, open := w.begin(1), w.begin(2)
	t1, t2 := a.ticket(committed.Transaction), a.ticket(open.Transaction)
	if err := committed.commit(); err != nil {
		t.Fatal(err)
	}
	t1.Unknown()
	t2.Unknown()
	a.close() // which waits for them
	w.awaitOutcome(a.ref(t1), true, "xid status")
	w.awaitOutcome(a.ref(t2), false, "xid status")
	if last := w.records(); last[len(last)-1].Body.Kind() != event.KindFence {
		t.Error("an outcome came behind the clean FENCE")
	}
}

// What an agent cannot settle is listed, and an operator settles it.
func TestOperatorSettlesWhatIsInDoubt(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateRecorded)
	x := w.begin(1)
	x.Postgres.XID = 0 // as of a standalone command
	ticket := a.ticket(x.Transaction)
	settleAs := func(committed bool) error {
		p, err := topics.NewProducer(t.Context(), w.kafka)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		return Settle(t.Context(), p, w.kafka, testCodec, "orders", a.ref(ticket), committed)
	}
	if err := settleAs(true); err == nil {
		t.Error("an operator settled what a live agent works on")
	}
	ticket.Unknown()
	h := w.heartbeat("a1", func(h topics.Heartbeat) bool { return len(h.InDoubt) == 1 })
	if d := h.InDoubt[0]; d.N != ticket.N || d.Reason == "" || d.Offset != w.scan().Open[0].Offset {
		t.Errorf("in doubt: %+v", d)
	}
	if s := w.scan(); len(s.Open) != 1 || s.Open[0].InDoubt == "" {
		t.Errorf("scan: %+v", s)
	}
	if err := settleAs(true); err != nil {
		t.Fatal(err)
	}
	w.awaitOutcome(a.ref(ticket), true, "operator")
	if err := settleAs(false); err == nil {
		t.Error("it was settled twice")
	}
	w.heartbeat("a1", func(h topics.Heartbeat) bool { return len(h.InDoubt) == 0 && h.Open == 0 })
	all, err := topics.ReadHeartbeats(t.Context(), w.kafka)
	if err != nil || len(all) != 1 {
		t.Errorf("heartbeats: %+v, %v", all, err)
	}
	a.close()
}

// A restart reads from where the newest heartbeat says that all below is settled,
// and still knows what lies there.
func TestRestartScansFromTheHeartbeat(t *testing.T) {
	w := newWorld(t)
	a := w.agent("a1", GateRecorded)
	for i := range 20 {
		a.commit(i)
	}
	open := w.begin(100)
	ticket := a.ticket(open.Transaction)
	a.commit(101)
	w.heartbeat("a1", func(h topics.Heartbeat) bool { return h.Open == 1 && h.ScanFrom == ticket.place() })
	a.crash()
	b, err := w.open(w.config("a2", GateRecorded)) // the FENCE of a1 lies below
	if err != nil {
		t.Fatal(err)
	}
	w.awaitOutcome(a.ref(ticket), false, "xid status")
	b.close()
}

// An agent that has to read the topic from its beginning acts on nothing that was
// said before it.
func TestOpenActsOnNothingOld(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		a := w.agent("a1", GateRecorded)
		a.commit(int(a.Epoch()))
		a.producer.RemoveHeartbeat("agent/orders/a1")
		w.ask(a, event.Mark{Phase: event.MarkAsk})
		a.crash()
	}
	before := len(w.records())
	a := w.agent("a1", GateRecorded)
	a.commit(1000)
	a.close()
	if a.Epoch() < int64(before) {
		t.Errorf("the epoch opened at %d, before %d", a.Epoch(), before)
	}
	for _, r := range w.records()[a.Epoch():] {
		if r.Body.Kind() == event.KindMark {
			t.Error("an old Mark was answered")
		}
	}
	w.mustBeChained()
}

func TestManySessionsOfTwoAgents(t *testing.T) {
	w := newWorld(t)
	agents := []*agent{w.agent("a1", GateRecorded), w.agent("a2", GateRecorded)}
	var all sync.WaitGroup
	for _, a := range agents {
		for s := range 4 {
			all.Go(func() {
				for i := range 25 {
					ticket, err := a.Ticket(write(byte(s)))
					if err == nil {
						err = ticket.Recorded(context.Background())
					}
					if err != nil {
						t.Error(err)
						return
					}
					if i%5 == 0 {
						ticket.Aborted()
					} else {
						ticket.Committed()
					}
				}
			})
		}
	}
	all.Wait()
	for _, a := range agents {
		a.close()
	}
	count := 0
	for ref, list := range w.outcomes() {
		if len(list) != 1 {
			t.Errorf("%+v: %+v", ref, list)
		}
		count++
	}
	if count != 200 {
		t.Errorf("%d outcomes", count)
	}
	w.awaitNoneOpen()
}

// The primary crashes and comes back: the epoch ends, the next one's FENCE says
// where recovery ended, and the lost transaction is aborted although its id was
// drawn again and committed.
func TestI2_PrimaryCrashes(t *testing.T) {
	w := newWorld(t).ownPrimary()
	a := w.agent("a1", GateRecorded)
	kept := w.begin(1)
	t1 := a.ticket(kept.Transaction)
	if err := kept.commit(); err != nil {
		t.Fatal(err)
	}
	lost := w.begin(2)
	if _, err := lost.conn.Exec(t.Context(), "SET LOCAL synchronous_commit = off"); err != nil {
		t.Fatal(err)
	}
	t2 := a.ticket(lost.Transaction)
	if err := lost.commit(); err != nil {
		t.Fatal(err)
	}
	w.pg.Kill(t)
	t1.Unknown()
	t2.Unknown()
	w.pg.Start(t)
	if err := a.awaitEnd(); !errors.Is(err, ErrRestarted) || Permanent(err) {
		t.Fatalf("ended by %v", err)
	}
	for { // the lost id, drawn again
		again := w.begin(3)
		if err := again.commit(); err != nil {
			t.Fatal(err)
		}
		w.pg.Exec(t, w.db, "DELETE FROM t WHERE id = 3")
		if again.Postgres.XID >= lost.Postgres.XID {
			break
		}
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := w.agent("a1", GateRecorded)
	w.awaitOutcome(a.ref(t1), true, "xid status")
	w.awaitOutcome(a.ref(t2), false, "end of recovery")
	b.close()
	rec := w.records()[b.Epoch()]
	if f := rec.Body.(*event.Fence); f.RecoveryLSN == 0 || f.Primary.Started <= a.primary.Started {
		t.Errorf("the FENCE after the crash: %+v", f)
	}
}

func TestAnotherServerIsRefused(t *testing.T) {
	w := newWorld(t)
	w.agent("a1", GateRecorded).close()
	w.db = w.pg.CreateDB(t)
	_, err := w.open(w.config("a1", GateRecorded))
	var changed *PrimaryChangedError
	if !errors.As(err, &changed) || !Permanent(err) {
		t.Errorf("got %v", err)
	}
}

func TestMissingTopicsAreNamed(t *testing.T) {
	w := &world{t: t, kafka: topics.Config{Brokers: testkit.Kfake(t)}, pg: testkit.SharedPostgres(t), db: "postgres"}
	_, err := w.open(w.config("a1", GateRecorded))
	var missing *topics.MissingTopicsError
	if !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
}
