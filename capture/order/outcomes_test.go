package order

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/opmux/opmux/event"
)

// commits takes a transaction from its ticket to its commit.
func commits(t *testing.T, l *Ledger, m *memlog, tx *event.Transaction) {
	t.Helper()
	ticket, err := l.Ticket(tx)
	if err != nil {
		t.Fatal(err)
	}
	m.release()
	if err := ticket.Recorded(t.Context()); err != nil {
		t.Fatal(err)
	}
	ticket.Committed()
}

// Outcomes go with intents that clients wait for, which do not wait for the digests of
// transactions that have ended: to take the constants out of their statements is dear.
func TestIntentsDoNotWaitForDigests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemlog()
		l := testLedger(t, GateRecorded, m)
		normalised := make(chan struct{})
		l.digests.normalise = func(sql string) string {
			<-normalised
			return sql
		}
		commits(t, l, m, write(1))
		l.Accompany()
		if n := len(m.records(t)); n != 1 {
			t.Errorf("%d records: an outcome has a record of its own before others could join it", n)
		}
		time.Sleep(l.cfg.OutcomeDelay / 2)
		accompanied := make(chan struct{})
		go func() {
			l.Accompany()
			close(accompanied)
		}()
		synctest.Wait()
		select {
		case <-accompanied:
		default:
			t.Error("what goes with intents waits for digests")
		}
		if n := len(m.records(t)); n != 2 {
			t.Errorf("%d records, want the intent and its outcome", n)
		}
		close(normalised)
		l.outcomes.flush() // as Close does: behind it the digests are on their way
		if n := len(m.topics[testNames.Digests("orders")]); n != 1 {
			t.Errorf("%d digest records", n)
		}
	})
}

// A standalone command has its place at its outcome, which must not wait while another
// agent runs the next one.
func TestI3OutcomesOfStandaloneCommandsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemlog()
		l := testLedger(t, GateRecorded, m)
		tx := write(1)
		tx.Standalone = true
		commits(t, l, m, tx)
		if n := len(m.records(t)); n != 2 {
			t.Errorf("%d records, want the intent and its outcome", n)
		}
	})
}
