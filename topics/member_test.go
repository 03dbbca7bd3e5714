package topics_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// soon is well below the time after which a group misses a dead member.
const soon = 6 * time.Second

// A member that ends for another reason finds out as well that it was replaced.
func TestMemberThatLeavesSaysThatItWasReplaced(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := config(t, c, orders)
		topic := cfg.Names().Digests("orders")
		first := joinAs(t, "w1", cfg, topic, nil)
		testkit.Eventually(t, testkit.Patience, func() error { return split(8, first) })
		second := joinAs(t, "w1", cfg, topic, nil)
		testkit.Eventually(t, soon, func() error { return split(8, second) })
		first.cancel()
		var replaced *topics.ReplacedError
		err := <-first.ended
		first.ended <- nil
		if !errors.As(err, &replaced) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// Kafka sees the successor of a killed process as a second one of its name.
func TestMemberOfTheSameNameTakesThePlaceAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := config(t, c, orders)
		topic := cfg.Names().Digests("orders")
		first := joinAs(t, "host:9464", cfg, topic, nil)
		testkit.Eventually(t, testkit.Patience, func() error { return split(8, first) })
		second := joinAs(t, "host:9464", cfg, topic, nil)
		testkit.Eventually(t, soon, func() error { return split(8, second) })
		var replaced *topics.ReplacedError
		err := <-first.ended
		first.ended <- nil
		if !errors.As(err, &replaced) || replaced.Member != "host:9464" {
			t.Errorf("the one that was replaced ended with %v", err)
		}
		// It has left, and its successor has not.
		fill(t, producer(t, cfg), topic, 100)
		testkit.Eventually(t, testkit.Patience, func() error {
			second.mu.Lock()
			defer second.mu.Unlock()
			if got := total(second.seen); got != 100 {
				return fmt.Errorf("at %d of 100", got)
			}
			return nil
		})
	})
}

func TestMemberWithANameThatLeavesIsNotWaitedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := config(t, c, orders)
		topic := cfg.Names().Digests("orders")
		first := joinAs(t, "w1", cfg, topic, nil)
		testkit.Eventually(t, testkit.Patience, func() error { return split(8, first) })
		second := joinAs(t, "w2", cfg, topic, nil)
		testkit.Eventually(t, testkit.Patience, func() error { return split(8, first, second) })
		first.leave(t)
		testkit.Eventually(t, soon, func() error { return split(8, second) })
	})
}
