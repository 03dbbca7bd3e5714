package order

import (
	"testing"

	"github.com/opmux/opmux/topics"
)

// nowhere acknowledges at once, in another goroutine.
type nowhere struct {
	*memlog
	acks chan func(int64, error)
}

func (n *nowhere) Produce(_ string, _, _ []byte, _ []topics.Header, done func(int64, error)) {
	n.acks <- done
}

// BenchmarkTicket is the hot path of a commit: place, encoding, chain, outcome.
func BenchmarkTicket(b *testing.B) {
	n := &nowhere{memlog: newMemlog(), acks: make(chan func(int64, error), 1024)}
	go func() {
		for done := range n.acks {
			done(1, nil)
		}
	}()
	l := testLedger(b, GateRecorded, n.memlog)
	l.deps.Producer = n
	l.line.produce = func(value []byte, done func(int64, error)) { n.Produce("", nil, value, nil, done) }
	tx := write(1)
	b.ReportAllocs()
	for b.Loop() {
		ticket, err := l.Ticket(tx)
		if err == nil {
			err = ticket.Recorded(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
		ticket.Committed()
	}
}
