package topics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker's death is noticed by a probe within probeEvery + probeTimeout. A
// cluster that answers but does not take records (too few replicas in sync) is
// noticed by records that wait for stalledAfter.
const (
	probeEvery   = 300 * time.Millisecond
	probeTimeout = time.Second
	stalledAfter = 3 * time.Second
)

// health watches whether Kafka takes the producer's records.
type health struct {
	cancel context.CancelFunc
	ended  chan struct{}

	mu    sync.Mutex
	down  error     // why Kafka is considered down
	acked time.Time // when Kafka last took a record
}

// unreachableError is a probe's failure to reach a broker. A record that was
// taken meanwhile disproves it, which it does not with what a broker answers.
type unreachableError struct{ error }

func (e unreachableError) Unwrap() error { return e.error }

var errNotReached = unreachableError{errors.New("kafka was not reached yet")}

func startHealth(ctx context.Context, p *Producer, client *kgo.Client) *health {
	ctx, cancel := context.WithCancel(ctx)
	h := &health{cancel: cancel, ended: make(chan struct{}), down: errNotReached}
	go h.run(ctx, p, client)
	return h
}

func (h *health) close() {
	h.cancel()
	<-h.ended
}

// taken notes that Kafka took a record.
func (h *health) taken() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked = time.Now()
	if errors.As(h.down, new(unreachableError)) {
		h.down = nil
	}
}

func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down
}

func (h *health) run(ctx context.Context, p *Producer, client *kgo.Client) {
	defer close(h.ended)
	defer client.Close()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		began := time.Now()
		err := p.probe(ctx, client)
		if err == nil {
			err = p.stalled()
		}
		h.mu.Lock()
		if !errors.As(err, new(unreachableError)) || h.acked.Before(began) {
			h.down = err
		}
		h.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// stalled says which topic's records are not taken.
func (p *Producer) stalled() error {
	for _, l := range p.watched() {
		if d := l.stalled(); d > stalledAfter {
			return fmt.Errorf("topic %s: Kafka has not acknowledged a record for %s: are enough replicas in sync?", l.topic, d.Round(time.Second))
		}
	}
	return nil
}

// watched are the lines that count: a program works on without heartbeats.
func (p *Producer) watched() []*line {
	return slices.DeleteFunc(p.all(), func(l *line) bool { return !l.sticky })
}

// probe asks for the topics' leaders, and every leader whether it is there.
func (p *Producer) probe(ctx context.Context, client *kgo.Client) error {
	lines := map[string]*line{}
	var names []string
	for _, l := range p.watched() {
		lines[l.topic] = l
		names = append(names, l.topic)
	}
	req := metadata(names...)
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return unreachableError{fmt.Errorf("kafka at %v does not answer: %w", p.cfg.Brokers, err)}
	}
	leaders := map[int32]bool{}
	for _, t := range resp.Topics {
		if t.Topic == nil || lines[*t.Topic] == nil {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
		if err := lines[*t.Topic].identify(t.TopicID); err != nil {
			return err
		}
		for _, part := range t.Partitions {
			if part.Leader < 0 {
				return fmt.Errorf("topic %s, partition %d: no broker leads it", *t.Topic, part.Partition)
			}
			leaders[part.Leader] = true
		}
	}
	return pingAll(ctx, client, leaders)
}

// metadata asks about topics.
func metadata(names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none, where nil would mean all
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return req
}

func pingAll(ctx context.Context, client *kgo.Client, brokers map[int32]bool) error {
	for id := range brokers {
		if _, err := client.Broker(int(id)).Request(ctx, kmsg.NewPtrApiVersionsRequest()); err != nil {
			return unreachableError{fmt.Errorf("kafka broker %d does not answer: %w", id, err)}
		}
	}
	return nil
}
