package topics_test

import (
	"errors"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

var orders = topics.Want{Sources: []string{"orders"}, Targets: []string{"standby"}}

// I1, I3: what was acknowledged is in the topic, once, in the order of the
// calls, also when the broker is killed in the middle.
func TestProducerKeepsOrderThroughAKilledBroker(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := config(t, c, orders)
		topic := cfg.Names().Ops("orders")
		p := producer(t, cfg)
		var a acks
		a.send(p, topic, 0, 2000)
		testkit.Eventually(t, testkit.Patience, func() error { return a.ended(2000) })
		if !p.Up() {
			t.Errorf("up: %v", p.LastError())
		}
		a.send(p, topic, 2000, 3000)
		c.Kill(t)
		a.send(p, topic, 3000, 4000)
		c.Start(t)
		a.send(p, topic, 4000, 5000)
		testkit.Eventually(t, testkit.Patience, func() error { return a.ended(5000) })
		a.mustBeOrdered(t, cfg, topic, 5000)
	})
}

// First writes are refused while Kafka is known to be down, so Up must turn
// within two seconds on an idle producer, and back by itself.
func TestUpFollowsTheBroker(t *testing.T) {
	e := newEmbedded(t)
	t.Run("killed", func(t *testing.T) { upFollows(t, e, e.Kill, e.Start) })
	t.Run("frozen", func(t *testing.T) { upFollows(t, e, e.Freeze, e.Thaw) })
	t.Run("frozen kafka", func(t *testing.T) {
		k := kafka(t)
		upFollows(t, k, k.Freeze, k.Thaw)
	})
}

func upFollows(t *testing.T, c cluster, harm, mend func(testing.TB)) {
	cfg := config(t, c, orders)
	p := producer(t, cfg)
	var a acks
	a.send(p, cfg.Names().Ops("orders"), 0, 1)
	testkit.Eventually(t, testkit.Patience, p.LastError)
	harm(t)
	began := time.Now()
	testkit.Eventually(t, testkit.Patience, func() error {
		if p.Up() {
			return errors.New("still up")
		}
		return nil
	})
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("down only after %s", d)
	}
	t.Logf("down after %s: %v", time.Since(began), p.LastError())
	mend(t)
	testkit.Eventually(t, testkit.Patience, p.LastError)
}

// A producer that is made while Kafka is away delivers when it comes.
func TestProducerWaitsForKafka(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	c.Kill(t)
	p := producer(t, cfg)
	topic := cfg.Names().Ops("orders")
	var a acks
	a.send(p, topic, 0, 100)
	testkit.Eventually(t, testkit.Patience, func() error {
		if p.Up() {
			return errors.New("up without a broker")
		}
		return nil
	})
	if err := a.ended(0); err != nil {
		t.Fatal(err)
	}
	c.Start(t)
	testkit.Eventually(t, testkit.Patience, func() error { return a.ended(100) })
	a.mustBeOrdered(t, cfg, topic, 100)
}
