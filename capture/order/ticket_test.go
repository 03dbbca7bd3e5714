package order

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/opmux/opmux/event"
)

func TestTicketWaitsForTheAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemlog()
		l := testLedger(t, GateRecorded, m)
		ticket, err := l.Ticket(write(1))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(100 * time.Millisecond) // of the test's own clock
			m.release()
		}()
		began := time.Now()
		if err := ticket.Recorded(t.Context()); err != nil || time.Since(began) != 100*time.Millisecond {
			t.Fatalf("granted after %s: %v", time.Since(began), err)
		}
		ticket.Committed()
		time.Sleep(l.cfg.OutcomeDelay)
		synctest.Wait()
		m.mustBeChained(t)
		out := m.records(t)[1].Body.(*event.Outcomes).List
		if len(out) != 1 || out[0].Ref != (event.Ref{Agent: "a1", Epoch: 7, N: 1}) || !out[0].Committed {
			t.Errorf("outcomes: %+v", out)
		}
		if n := len(m.topics[testNames.Digests("orders")]); n != 1 {
			t.Errorf("%d digest records", n)
		}
	})
}

// I2: what timed out is aborted, however late its record is acknowledged, and
// whatever the session says.
func TestI2_TimedOutTicketNeverCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemlog()
		l := testLedger(t, GateRecorded, m)
		late, err := l.Ticket(write(1))
		if err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, late.Recorded(t.Context()))
		m.release()
		mustRefuse(t, late.Recorded(t.Context()))
		late.Aborted()
		late.Committed() // counts no more
		liar, err := l.Ticket(write(2))
		if err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, liar.Recorded(t.Context()))
		liar.Committed()
		time.Sleep(l.cfg.OutcomeDelay)
		synctest.Wait()
		var outcomes []event.Outcome
		for _, r := range m.records(t) {
			if o, ok := r.Body.(*event.Outcomes); ok {
				outcomes = append(outcomes, o.List...)
			}
		}
		if len(outcomes) != 1 || outcomes[0].N != late.N || outcomes[0].Committed {
			t.Errorf("outcomes: %+v", outcomes)
		}
		if len(l.settling.unknown) != 1 {
			t.Error("a commit in spite of a refusal is not looked up at the primary")
		}
		if len(m.topics[testNames.Digests("orders")]) != 0 {
			t.Error("an aborted transaction has digests")
		}
	})
}

// An agent that was frozen past the gate's timeout must not forward COMMIT although
// the acknowledgement is there: others may have settled the transaction.
func TestI2_FrozenTicketIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemlog()
		l := testLedger(t, GateRecorded, m)
		ticket, err := l.Ticket(write(1))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * l.cfg.Timeout)
		m.release()
		mustRefuse(t, ticket.Recorded(t.Context()))
	})
}

func TestEndedEpochGrantsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemlog()
		l := testLedger(t, GateRecorded, m)
		granted, _ := l.Ticket(write(1))
		m.release()
		if err := granted.Recorded(t.Context()); err != nil {
			t.Fatal(err)
		}
		acked, _ := l.Ticket(write(2))
		m.release()
		waiting, _ := l.Ticket(write(3))
		cause := &EndedError{By: "a2", Offset: 9}
		go l.end(cause)
		mustRefuse(t, waiting.Recorded(t.Context()))
		mustRefuse(t, acked.Recorded(t.Context()))
		if _, err := l.Ticket(write(4)); !errors.Is(err, cause) {
			t.Errorf("a ticket of an ended epoch: %v", err)
		}
		mustRefuse(t, l.Admit())
		// The COMMIT that was forwarded before has an end, which is told.
		granted.Committed()
		acked.Aborted()
		waiting.Aborted()
		time.Sleep(l.cfg.OutcomeDelay)
		synctest.Wait()
		records := m.records(t)
		last := records[len(records)-1].Body.(*event.Outcomes).List
		if len(last) != 3 || !last[0].Committed || last[1].Committed || last[2].Committed {
			t.Errorf("outcomes: %+v", last)
		}
	})
}

// Property: whatever the order of acknowledgements, timeouts, ends of the epoch and
// words of the sessions, records are chained, every intent has exactly one outcome,
// it is committed only where COMMIT was allowed, and nothing is allowed that was
// not acknowledged in time.
func TestI1_I2_TicketsUnderAnyInterleaving(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		sessions := rapid.IntRange(1, 12).Draw(rt, "sessions")
		ends := rapid.Bool().Draw(rt, "ends")
		synctest.Test(t, func(t *testing.T) { interleave(t, seed, sessions, ends) })
	})
}

func interleave(t *testing.T, seed uint64, sessions int, ends bool) {
	m := newMemlog()
	l := testLedger(t, GateRecorded, m)
	rng := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	said := map[int64]bool{} // n → committed
	var all sync.WaitGroup
	for i := range sessions {
		waits := []time.Duration{rtime(rng), rtime(rng), rtime(rng)}
		gone := rng.IntN(4) == 0
		all.Go(func() {
			time.Sleep(waits[0])
			ticket, err := l.Ticket(write(byte(i)))
			if err != nil {
				return
			}
			time.Sleep(waits[1])
			err = ticket.Recorded(t.Context())
			if err == nil && time.Since(ticket.taken) > l.cfg.Timeout {
				t.Error("granted after the timeout")
			}
			time.Sleep(waits[2])
			mu.Lock()
			said[ticket.N] = err == nil && !gone
			mu.Unlock()
			if err == nil && !gone {
				ticket.Committed()
			} else {
				ticket.Aborted()
			}
		})
	}
	stop := make(chan struct{})
	pauses := []time.Duration{rtime(rng), rtime(rng), rtime(rng), rtime(rng), rtime(rng), rtime(rng)}
	all.Go(func() {
		for _, pause := range pauses {
			time.Sleep(pause)
			m.release()
		}
	})
	if ends {
		time.Sleep(rtime(rng))
		l.end(errors.New("ended"))
	}
	all.Wait()
	close(stop)
	time.Sleep(l.cfg.OutcomeDelay)
	synctest.Wait()
	m.mustBeChained(t)
	outcomes := map[int64]bool{}
	for _, r := range m.records(t) {
		if o, ok := r.Body.(*event.Outcomes); ok {
			for _, one := range o.List {
				if _, twice := outcomes[one.N]; twice {
					t.Errorf("intent %d has two outcomes", one.N)
				}
				outcomes[one.N] = one.Committed
			}
		}
	}
	if fmt.Sprint(outcomes) != fmt.Sprint(said) {
		t.Errorf("outcomes %v, sessions said %v", outcomes, said)
	}
}

func rtime(rng *rand.Rand) time.Duration {
	return time.Duration(rng.IntN(700)) * time.Millisecond
}

// I1 under gate none: records follow the order of tickets, not of commits, and
// those that did not commit leave a Void.
func TestI3_NoneKeepsTheOrderOfTickets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMemlog()
		l := testLedger(t, GateNone, m)
		var open []*Ticket
		fate := map[int64]bool{}
		finish := func(i int, committed bool) {
			ticket := open[i]
			open = append(open[:i], open[i+1:]...)
			fate[ticket.N] = committed
			if committed {
				ticket.Committed()
			} else {
				ticket.Aborted()
			}
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch {
			case len(open) == 0 || rapid.Bool().Draw(rt, "new"):
				ticket, err := l.Ticket(write(1))
				if err != nil {
					rt.Fatal(err)
				}
				if err := ticket.Recorded(t.Context()); err != nil {
					rt.Fatal(err)
				}
				open = append(open, ticket)
			case rapid.IntRange(0, 5).Draw(rt, "chunk") == 0:
				if _, err := l.Chunk(&event.Chunk{}); err != nil {
					rt.Fatal(err)
				}
			default:
				finish(rapid.IntRange(0, len(open)-1).Draw(rt, "which"), rapid.Bool().Draw(rt, "committed"))
			}
		}
		for len(open) > 0 {
			finish(len(open)-1, true)
		}
		m.mustBeChained(t)
		records := m.records(t)
		if int64(len(records)) != l.High() {
			rt.Fatalf("%d records of %d tickets", len(records), l.High())
		}
		for _, r := range records {
			committed, isTicket := fate[r.N]
			if isTicket && committed != (r.Body.Kind() == event.KindTransaction) {
				rt.Errorf("record %d is a %s, committed: %v", r.N, r.Body.Kind(), committed)
			}
		}
		m.release()
		if left := l.line.bytes.Load(); left != 0 {
			rt.Errorf("%d bytes are counted and not there", left)
		}
	})
}

func TestTicketsOfManySessionsAreChained(t *testing.T) {
	m := newMemlog()
	l := testLedger(t, GateRecorded, m)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 100 {
				before := l.High()
				ticket, err := l.Ticket(write(byte(i)))
				if err != nil || ticket.N <= before {
					t.Errorf("ticket %+v, high before %d: %v", ticket, before, err)
					return
				}
				m.release()
				if err := ticket.Recorded(t.Context()); err != nil {
					t.Error(err)
				}
				ticket.Committed()
			}
		})
	}
	all.Wait()
	l.outcomes.flush()
	m.mustBeChained(t)
}
