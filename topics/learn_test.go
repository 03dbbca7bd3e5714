package topics

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/opmux/opmux/internal/testkit"
)

// A topic that is made anew right after a producer's first record is known not to be
// the one that it wrote to, whenever a probe first comes by.
func TestI6LineKnowsItsTopicFromTheFirstRecordOn(t *testing.T) {
	cfg := Config{Brokers: testkit.Kfake(t), Prefix: "opmux"}
	if _, err := Create(t.Context(), cfg, Want{Sources: []string{"orders"}, Targets: []string{"standby"}, Config: "agent.yaml"}); err != nil {
		t.Fatal(err)
	}
	topic := cfg.Names().Ops("orders")
	l, err := newLine(cfg, topic, making{}, true) // without a Producer, whose probes would tell it
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	failed := make(chan error, 1)
	l.append(entry{&kgo.Record{Topic: topic, Value: []byte("first")}, func(_ int64, err error) { failed <- err }})
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if err := l.identify(TopicID{1}); err == nil {
		t.Error("another topic passes for the one that has the first record")
	}
}
