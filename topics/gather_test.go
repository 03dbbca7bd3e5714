package topics_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// Records of a topic that may gather go out together, in order, and no earlier
// than was said; those of other topics do not wait.
func TestGatheredRecordsShareALot(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	names := cfg.Names()
	const atMost = 300 * time.Millisecond
	p := producer(t, cfg)
	p.Gather(names.Digests("orders"), topics.Gathering{AtMost: atMost})
	began := time.Now()
	var digests, ops acks
	digests.send(p, names.Digests("orders"), 0, 100)
	ops.send(p, names.Ops("orders"), 0, 1)
	testkit.Eventually(t, testkit.Patience, func() error { return ops.ended(1) })
	opsTook := time.Since(began)
	digests.send(p, names.Digests("orders"), 100, 200)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if err := digests.ended(200); err != nil {
		t.Fatal(err)
	}
	if took < atMost {
		t.Errorf("digests took %v, and were to gather for %v", took, atMost)
	}
	t.Logf("ops took %v, digests %v", opsTook, took)
	for i, n := range digests.order {
		if n != i {
			t.Fatalf("acknowledgement %d was of record %d", i, n)
		}
	}
}

func TestCloseDoesNotWaitForWhatGathers(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	p := producer(t, cfg)
	p.Gather(cfg.Names().Ops("orders"), topics.Gathering{AtMost: time.Hour})
	var a acks
	a.send(p, cfg.Names().Ops("orders"), 0, 10)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.failed(t, 10); !errors.Is(err, topics.ErrProducerClosed) {
		t.Error(err)
	}
}

// A reader that lets records gather does not wait at rest, nor between records
// that it has, and ends with its context while it waits.
func TestReaderPausesBetweenFetches(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	topic := cfg.Names().Ops("orders")
	p := producer(t, cfg)
	var a acks
	a.send(p, topic, 0, 2)
	testkit.Eventually(t, testkit.Patience, func() error { return a.ended(2) })
	cfg.FetchPause = time.Hour
	r := reader(t, cfg, topic, 0)
	for range 2 {
		if _, err := next(t, r); err != nil {
			t.Fatal(err)
		}
	}
	a.send(p, topic, 2, 3)
	testkit.Eventually(t, testkit.Patience, func() error { return a.ended(3) })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if m, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the third record came without a pause: %+v, %v", m, err)
	}
}

// expected counts who comes, and how often it was asked.
type expected struct{ coming, asked atomic.Int64 }

func (e *expected) Coming() int {
	e.asked.Add(1)
	return int(e.coming.Load())
}

func (e *expected) Came() int64 { return 3 - e.coming.Load() }

// A lot waits while others are coming, and goes with the last of them.
func TestLotWaitsForThoseThatAreComing(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	ops := cfg.Names().Ops("orders")
	p := producer(t, cfg)
	var others expected
	var lots atomic.Int64
	others.coming.Store(3)
	p.Gather(ops, topics.Gathering{AtMost: time.Hour, Several: 2, Expected: &others})
	p.BeforeSending(ops, func() { lots.Add(1) })
	var a acks
	for n := range 3 {
		others.coming.Add(-1)
		a.send(p, ops, n, n+1)
		if n == 0 {
			testkit.Eventually(t, testkit.Patience, func() error {
				if others.asked.Load() < 2 {
					return errors.New("the lot does not wait")
				}
				return nil
			})
		}
	}
	testkit.Eventually(t, testkit.Patience, func() error { return a.ended(3) })
	if lots.Load() != 1 {
		t.Errorf("three records that came together made %d lots", lots.Load())
	}
	others.coming.Store(1)
	a.send(p, ops, 3, 4) // not several: it does not wait an hour
	testkit.Eventually(t, testkit.Patience, func() error { return a.ended(4) })
}
