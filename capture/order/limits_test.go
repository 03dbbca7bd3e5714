package order

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opmux/opmux/event"
)

// The size of a record is checked before its number is taken, since a number can
// not be given back.
func TestTooLargeTransactionTakesNoNumber(t *testing.T) {
	for _, gate := range []string{GateNone, GateRecorded} {
		m := newMemlog()
		l := testLedger(t, gate, m)
		l.cfg.RecordBytes = 1000
		tx := write(1)
		tx.Operations[0].Text = strings.Repeat("x", 2000)
		_, err := l.Ticket(tx)
		mustRefuse(t, err)
		if l.High() != 0 || l.out != 0 {
			t.Errorf("%s: high %d, %d tickets out", gate, l.High(), l.out)
		}
	}
}

func TestI7_FullBufferRefusesFirstWrites(t *testing.T) {
	for _, gate := range []string{GateNone, GateRecorded} {
		m := newMemlog()
		l := testLedger(t, gate, m)
		l.cfg.BufferBytes = 1000
		for n := 0; l.Admit() == nil; n++ {
			if n > 100 {
				t.Fatalf("%s: never full", gate)
			}
			ticket, err := l.Ticket(write(1))
			if err != nil {
				t.Fatal(err)
			}
			ticket.Aborted()
			if gate == GateNone {
				ticket, err = l.Ticket(write(1))
				if err != nil {
					t.Fatal(err)
				}
				defer ticket.Committed()
			}
		}
		mustRefuse(t, l.Admit())
	}
}

func TestRecordedRefusesFirstWritesWhileKafkaIsAway(t *testing.T) {
	m := newMemlog()
	m.down = errors.New("no broker answers")
	mustRefuse(t, testLedger(t, GateRecorded, m).Admit())
	if err := testLedger(t, GateNone, m).Admit(); err != nil {
		t.Errorf("gate none buffers: %v", err)
	}
}

func TestRefusedTransactionOfAFailedProducer(t *testing.T) {
	m := newMemlog()
	l := testLedger(t, GateRecorded, m)
	l.line.produce = func(_ []byte, done func(int64, error)) { done(0, errors.New("data loss")) }
	ticket, err := l.Ticket(write(1))
	if err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, ticket.Recorded(context.Background()))
	if l.Err() == nil || !l.unclean.Load() {
		t.Error("the epoch goes on without a record of its chain")
	}
	ticket.Aborted()
}

// I3: a transaction that may run beside none before it depends on all of them, those
// that got their numbers after it looked too.
func TestI3_BehindAllIsBehindTheLastNumber(t *testing.T) {
	for _, gate := range []string{GateRecorded, GateNone} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemlog()
			l := testLedger(t, gate, m)
			for n := range 3 {
				tx := write(byte(n))
				tx.DependsOn = event.BehindAll
				commits(t, l, m, tx)
				if before := l.High() - 1; tx.DependsOn != before {
					t.Errorf("gate %s: the record behind %d depends on %d", gate, before, tx.DependsOn)
				}
			}
			time.Sleep(l.cfg.OutcomeDelay)
			synctest.Wait()
			m.mustBeChained(t)
		})
	}
}
