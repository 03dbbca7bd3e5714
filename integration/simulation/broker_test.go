package simulation

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/topics"
)

// broker is Kafka: topics of one partition whose records are visible once they are
// on all in-sync replicas. world.mu guards it.
type broker struct {
	w      *world
	topics map[string]*partition
	down   bool
	flying int // requests for the ops topic under way, those of dead producers included
}

type partition struct {
	log   []topics.Message
	grown chan struct{} // closed when a record was appended
}

func newBroker(w *world) *broker { return &broker{w: w, topics: map[string]*partition{}} }

// topic returns a topic; w.mu is held.
func (b *broker) topic(name string) *partition {
	p := b.topics[name]
	if p == nil {
		p = &partition{grown: make(chan struct{})}
		b.topics[name] = p
	}
	return p
}

// append puts a batch into a topic and returns its first offset; w.mu is held.
func (b *broker) append(name string, batch []flight) int64 {
	p := b.topic(name)
	first := int64(len(p.log))
	for i := range batch {
		p.log = append(p.log, topics.Message{Topic: name, Offset: first + int64(i), Key: batch[i].key, Value: batch[i].value})
	}
	close(p.grown)
	p.grown = make(chan struct{})
	return first
}

// reachable says whether a process gets through to Kafka; w.mu is held.
func (b *broker) reachable(p *process) bool { return !b.down && !p.cut }

// feed is one process's way to read topics.
type feed struct {
	p   *process
	rng *rand.Rand
}

// Heartbeats returns the last heartbeat of everybody.
func (f *feed) Heartbeats(ctx context.Context) (map[string]topics.Heartbeat, error) {
	if err := f.arrive(ctx); err != nil {
		return nil, err
	}
	w := f.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]topics.Heartbeat{}
	for _, m := range w.broker.topic(names.Status()).log {
		if len(m.Value) == 0 {
			delete(all, string(m.Key))
			continue
		}
		var h topics.Heartbeat
		if err := json.Unmarshal(m.Value, &h); err != nil {
			return nil, err
		}
		all[string(m.Key)] = h
	}
	return all, nil
}

// arrive waits until a request is at the broker.
func (f *feed) arrive(ctx context.Context) error {
	w := f.p.w
	for {
		if err := f.p.pause(ctx, latency(f.rng)); err != nil {
			return err
		}
		w.mu.Lock()
		ok := w.broker.reachable(f.p)
		w.mu.Unlock()
		if ok {
			return nil
		}
		if err := f.p.pause(ctx, between(f.rng, 10*time.Millisecond, 60*time.Millisecond)); err != nil {
			return err
		}
	}
}

// Open reads a topic from an offset or its end.
func (f *feed) Open(ctx context.Context, topic string, from int64) (order.Reader, error) {
	if err := f.arrive(ctx); err != nil {
		return nil, err
	}
	r := &reader{feed: f, topic: topic, at: from}
	if from == topics.Latest {
		f.p.w.mu.Lock()
		r.at = int64(len(f.p.w.broker.topic(topic).log))
		f.p.w.mu.Unlock()
	}
	return r, nil
}

// reader reads one topic.
type reader struct {
	*feed
	topic  string
	at     int64
	buffer []topics.Message
}

// Next returns the next record, some time after it was appended.
func (r *reader) Next(ctx context.Context) (topics.Message, error) {
	for len(r.buffer) == 0 {
		w := r.p.w
		w.mu.Lock()
		part := w.broker.topic(r.topic)
		grown, end := part.grown, int64(len(part.log))
		w.mu.Unlock()
		if r.at >= end {
			select {
			case <-ctx.Done():
				return topics.Message{}, ctx.Err()
			case <-r.p.ctx.Done():
				return topics.Message{}, errKilled
			case <-grown:
			}
		}
		if err := r.arrive(ctx); err != nil {
			return topics.Message{}, err
		}
		w.mu.Lock()
		log := w.broker.topic(r.topic).log
		r.buffer = append(r.buffer, log[min(r.at, int64(len(log))):]...)
		w.mu.Unlock()
	}
	m := r.buffer[0]
	r.buffer = r.buffer[1:]
	r.at = m.Offset + 1
	return m, nil
}

// Start returns the offset of the first record: retention removes none here.
func (r *reader) Start(ctx context.Context) (int64, error) { return 0, r.arrive(ctx) }

// End returns the offset behind the last record.
func (r *reader) End(ctx context.Context) (int64, error) {
	if err := r.arrive(ctx); err != nil {
		return 0, err
	}
	r.p.w.mu.Lock()
	defer r.p.w.mu.Unlock()
	return int64(len(r.p.w.broker.topic(r.topic).log)), nil
}

func (r *reader) Close() error { return nil }
