package topics_test

import (
	"context"
	"errors"
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
	p.Gather(names.Digests("orders"), atMost)
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
	p.Gather(cfg.Names().Ops("orders"), time.Hour)
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
