package topics_test

import (
	"sync/atomic"
	"testing"

	"github.com/opmux/opmux/internal/testkit"
)

// What goes with records is asked for when there are some to send, and goes behind
// them: what it adds itself is no reason to send again.
func TestWhatAccompaniesIsNotSentAlone(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	topic := cfg.Names().Ops("orders")
	p := producer(t, cfg)
	var with acks
	var calls atomic.Int64
	p.BeforeSending(topic, func() {
		n := int(calls.Add(1))
		with.send(p, topic, n, n+1)
	})
	var sent acks
	const records = 20
	for i := range records {
		sent.send(p, topic, i, i+1)
		testkit.Eventually(t, testkit.Patience, func() error { return sent.ended(i + 1) })
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if n := calls.Load(); n != records {
		t.Errorf("asked %d times for what goes with %d records", n, records)
	}
	if err := with.ended(records); err != nil {
		t.Error(err)
	}
}
