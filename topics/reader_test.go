package topics_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

func reader(t testing.TB, cfg topics.Config, topic string, from int64) *topics.Reader {
	t.Helper()
	r, err := topics.NewReader(t.Context(), cfg, topic, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestReaderReadsFromWhereItIsTold(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := config(t, c, orders)
		topic := cfg.Names().Ops("orders")
		p := producer(t, cfg)
		var a acks
		a.send(p, topic, 0, 10)
		testkit.Eventually(t, testkit.Patience, func() error { return a.ended(10) })
		middle, err := next(t, reader(t, cfg, topic, 5))
		if err != nil || middle.Offset != 5 || string(middle.Value) != "record 5" || string(middle.Key) != "orders" {
			t.Fatalf("%+v, %v", middle, err)
		}
		first, err := next(t, reader(t, cfg, topic, topics.Earliest))
		if err != nil || first.Offset != 0 {
			t.Fatalf("%+v, %v", first, err)
		}
		r := reader(t, cfg, topic, 10)
		if end, err := r.End(t.Context()); end != 10 || err != nil {
			t.Errorf("end %d, %v", end, err)
		}
		if start, err := r.Start(t.Context()); start != 0 || err != nil {
			t.Errorf("start %d, %v", start, err)
		}
		if at, err := r.OffsetAt(t.Context(), first.Timestamp); at != 0 || err != nil {
			t.Errorf("offset at the first record's time: %d, %v", at, err)
		}
		if at, err := r.OffsetAt(t.Context(), time.Now().Add(time.Hour)); at != 10 || err != nil {
			t.Errorf("offset in an hour: %d, %v", at, err)
		}
		a.send(p, topic, 10, 11)
		if m, err := next(t, r); err != nil || m.Offset != 10 {
			t.Errorf("%+v, %v", m, err)
		}
		if r.TopicID() == (topics.TopicID{}) {
			t.Error("no topic id")
		}
	})
}

// I6: what is not there any more is an error, never a jump to what is.
func TestReaderNeverResets(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := config(t, c, orders)
		topic := cfg.Names().Ops("orders")
		var a acks
		a.send(producer(t, cfg), topic, 0, 10)
		testkit.Eventually(t, testkit.Patience, func() error { return a.ended(10) })
		var removed kadm.Offsets
		removed.AddOffset(topic, 0, 4, -1)
		if _, err := admin(t, cfg).DeleteRecords(t.Context(), removed); err != nil {
			t.Fatal(err)
		}
		for _, from := range []int64{3, 11} {
			_, err := next(t, reader(t, cfg, topic, from))
			var out *topics.OffsetOutOfRangeError
			if !errors.As(err, &out) || out.Offset != from || out.Start != 4 || out.End != 10 {
				t.Errorf("from %d: %v", from, err)
			}
		}
		if m, err := next(t, reader(t, cfg, topic, 4)); err != nil || m.Offset != 4 {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

func TestReaderNeedsATopic(t *testing.T) {
	c := newEmbedded(t)
	_, err := topics.NewReader(t.Context(), topics.Config{Brokers: c.Brokers()}, "opmux.nothing.ops", 0)
	var missing *topics.MissingTopicsError
	if !errors.As(err, &missing) {
		t.Fatal(err)
	}
}

// I7: a record up to the bound passes through every default on the way.
func TestRecordsUpToTheBoundPass(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := config(t, c, orders)
		topic := cfg.Names().Ops("orders")
		p := producer(t, cfg)
		value := make([]byte, p.MaxRecordBytes()-len("orders"))
		done := make(chan error, 3)
		for range 3 {
			p.Produce(topic, []byte("orders"), value, nil, func(_ int64, err error) { done <- err })
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		r := reader(t, cfg, topic, 0)
		for i := range 3 {
			if m, err := next(t, r); err != nil || len(m.Value) != len(value) {
				t.Fatalf("record %d has %d bytes: %v", i, len(m.Value), err)
			}
		}
	})
}

func TestReadAllReadsEveryPartition(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	topic := cfg.Names().Digests("orders")
	if all, err := topics.ReadAll(t.Context(), cfg, topic); len(all) > 0 || err != nil {
		t.Fatalf("%d records in an empty topic, %v", len(all), err)
	}
	p := producer(t, cfg)
	for i := range 100 {
		p.Produce(topic, fmt.Appendf(nil, "key %d", i), []byte("x"), nil, func(int64, error) {})
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := topics.ReadAll(t.Context(), cfg, topic)
	if err != nil {
		t.Fatal(err)
	}
	partitions := map[int32]bool{}
	for _, m := range all {
		partitions[m.Partition] = true
	}
	if len(all) != 100 || len(partitions) < 2 {
		t.Errorf("%d records of %d partitions", len(all), len(partitions))
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	r := reader(t, cfg, cfg.Names().Ops("orders"), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
