package topics

import (
	"context"
	"errors"
	"fmt"
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

	mu      sync.Mutex
	down    error     // the last probe's failure
	pending int       // records handed over and not ended
	waiting time.Time // since when pending is above 0 without progress
	acked   time.Time // of the last record that Kafka took
}

var errNotReached = errors.New("kafka was not reached yet")

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

func (h *health) sent() {
	h.mu.Lock()
	if h.pending == 0 {
		h.waiting = time.Now()
	}
	h.pending++
	h.mu.Unlock()
}

func (h *health) finished(err error) {
	h.mu.Lock()
	h.pending--
	h.waiting = time.Now()
	if err == nil {
		h.acked, h.down = h.waiting, nil
	}
	h.mu.Unlock()
}

func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down == nil && h.pending > 0 {
		if d := time.Since(h.waiting); d > stalledAfter {
			return fmt.Errorf("kafka has not acknowledged a record for %s: are enough replicas in sync?", d.Round(time.Second))
		}
	}
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
		h.mu.Lock()
		if err == nil || h.acked.Before(began) { // a record that was taken meanwhile proves more
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

// probe asks for the topics' leaders, and every leader whether it is there.
func (p *Producer) probe(ctx context.Context, client *kgo.Client) error {
	lines := map[string]*line{}
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none, where nil would mean all
	for _, l := range p.all() {
		lines[l.topic] = l
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(l.topic)
		req.Topics = append(req.Topics, t)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("kafka at %v does not answer: %w", p.cfg.Brokers, err)
	}
	leaders := map[int32]bool{}
	for _, t := range resp.Topics {
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

func pingAll(ctx context.Context, client *kgo.Client, brokers map[int32]bool) error {
	for id := range brokers {
		if _, err := client.Broker(int(id)).Request(ctx, kmsg.NewPtrApiVersionsRequest()); err != nil {
			return fmt.Errorf("kafka broker %d does not answer: %w", id, err)
		}
	}
	return nil
}
