package topics_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

func admin(t testing.TB, cfg topics.Config) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

func deleteTopic(t testing.TB, cfg topics.Config, topic string) {
	t.Helper()
	if _, err := admin(t, cfg).DeleteTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
}

// failed waits until n records have failed and returns the first error.
func (a *acks) failed(t testing.TB, n int) error {
	t.Helper()
	testkit.Eventually(t, testkit.Patience, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.errs) < n {
			return errors.New("records hang")
		}
		return nil
	})
	return a.errs[0]
}

// anyFailed is nil once a record has failed.
func (a *acks) anyFailed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.errs) == 0 {
		return errors.New("no record has failed yet")
	}
	return nil
}

// A topic that is deleted is an error and not a wait, and it sticks until Reset.
func TestProducerSeesADeletedTopic(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := config(t, c, orders)
		topic := cfg.Names().Ops("orders")
		p := producer(t, cfg)
		var before, after, again acks
		before.send(p, topic, 0, 10)
		testkit.Eventually(t, testkit.Patience, func() error { return before.ended(10) })
		deleteTopic(t, cfg, topic)
		// A deletion takes a while to reach the broker that has the partition, which
		// accepts records until then.
		n := 10
		testkit.Eventually(t, testkit.Patience, func() error {
			after.send(p, topic, n, n+1)
			n++
			return after.anyFailed()
		})
		if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
			t.Fatal(err)
		}
		again.send(p, topic, 20, 21)
		again.failed(t, 1)
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		var fresh acks
		fresh.send(p, topic, 0, 10)
		testkit.Eventually(t, testkit.Patience, func() error { return fresh.ended(10) })
		fresh.mustBeOrdered(t, cfg, topic, 10)
	})
}

// A topic that was made anew behind an idle producer is not written to.
func TestProducerSeesATopicMadeAnew(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	topic := cfg.Names().Ops("orders")
	p := producer(t, cfg)
	var before, after acks
	before.send(p, topic, 0, 10)
	testkit.Eventually(t, testkit.Patience, func() error { return before.ended(10) })
	testkit.Eventually(t, testkit.Patience, p.LastError)
	deleteTopic(t, cfg, topic)
	if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.Patience, func() error {
		if p.Up() {
			return errors.New("not noticed")
		}
		return nil
	})
	after.send(p, topic, 10, 20)
	t.Log(after.failed(t, 10))
}

func next(t testing.TB, r *topics.Reader) (topics.Message, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return r.Next(ctx)
}

// A reader never goes on in another topic of the same name, and does not hang.
func TestReaderSeesADeletedTopic(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		t.Run("gone", func(t *testing.T) { readDeleted(t, c, false) })
		t.Run("made anew", func(t *testing.T) { readDeleted(t, c, true) })
	})
}

func readDeleted(t *testing.T, c cluster, remake bool) {
	cfg := config(t, c, orders)
	topic := cfg.Names().Ops("orders")
	p := producer(t, cfg)
	var a acks
	a.send(p, topic, 0, 10)
	testkit.Eventually(t, testkit.Patience, func() error { return a.ended(10) })
	r, err := topics.NewReader(t.Context(), cfg, topic, 9)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if m, err := next(t, r); err != nil || m.Offset != 9 {
		t.Fatalf("offset %d: %v", m.Offset, err)
	}
	deleteTopic(t, cfg, topic)
	if remake {
		testkit.Eventually(t, testkit.Patience, func() error {
			_, err := topics.Create(t.Context(), cfg, orders)
			return err
		})
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		var b acks
		b.send(p, topic, 0, 20)
		testkit.Eventually(t, testkit.Patience, func() error { return b.ended(20) })
	}
	began := time.Now()
	m, err := next(t, r)
	var gone *topics.TopicGoneError
	if !errors.As(err, &gone) {
		t.Errorf("got %+v, %v", m, err)
	}
	t.Logf("after %s: %v", time.Since(began), err)
}

// One topic begins anew after a refusal, and is left alone while there is none.
func TestProducerRenewsATopic(t *testing.T) {
	cfg := topics.Config{Brokers: testkit.Kfake(t), Prefix: "opmux"}
	if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
		t.Fatal(err)
	}
	topic := cfg.Names().Ops("orders")
	p := producer(t, cfg)
	var before, refused, fresh acks
	before.send(p, topic, 0, 10)
	p.Renew(topic) // with records on their way
	testkit.Eventually(t, testkit.Patience, func() error { return before.ended(10) })
	before.mustBeOrdered(t, cfg, topic, 10)
	deleteTopic(t, cfg, topic)
	n := 10
	testkit.Eventually(t, testkit.Patience, func() error {
		refused.send(p, topic, n, n+1)
		n++
		return refused.anyFailed()
	})
	if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
		t.Fatal(err)
	}
	p.Renew(topic)
	fresh.send(p, topic, 0, 10)
	testkit.Eventually(t, testkit.Patience, func() error { return fresh.ended(10) })
	fresh.mustBeOrdered(t, cfg, topic, 10)
}
