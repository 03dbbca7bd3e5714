package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Header is a record header.
type Header struct {
	Key   string
	Value []byte
}

// Producer appends records in the order of the calls. A record is tried until
// Kafka has it on all in-sync replicas or refuses it for good: there is no
// timeout, so whoever waits bounds the waiting and not the record (DESIGN §4.3).
//
// I1, I3: after a record of a topic failed for good, every later one of that
// topic fails as well, so that a topic never has a gap; Reset begins anew.
type Producer struct {
	cfg    Config
	health *health

	mu     sync.Mutex
	lines  map[string]*line  // by topic
	making map[string]making // by topic
	closed bool

	beatsMu sync.Mutex
	beats   map[string]bool // keys with a heartbeat on its way
}

// ErrProducerClosed is what records get that were not acknowledged when the
// producer was closed or reset. They may be in the topic or not.
var ErrProducerClosed = errors.New("the producer was closed before Kafka acknowledged the record")

// NewProducer returns a producer. It does not wait for Kafka: Up says whether
// Kafka was reached. ctx is for values only; Close ends the producer.
func NewProducer(ctx context.Context, cfg Config) (*Producer, error) {
	probes, err := cfg.lastingClient()
	if err != nil {
		return nil, err
	}
	p := &Producer{cfg: cfg, lines: map[string]*line{}, making: map[string]making{}, beats: map[string]bool{}}
	p.health = startHealth(context.WithoutCancel(ctx), p, probes)
	return p, nil
}

// Produce appends a record and returns at once. done is called in another
// goroutine, in the order of the calls, with the record's offset, or with the
// error that refused it for good; it must not block.
func (p *Producer) Produce(topic string, key, value []byte, headers []Header, done func(offset int64, err error)) {
	r := &kgo.Record{Topic: topic, Key: key, Value: value}
	for _, h := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	p.produce(r, true, done)
}

func (p *Producer) produce(r *kgo.Record, sticky bool, done func(int64, error)) {
	e := entry{r, func(offset int64, err error) {
		if err == nil {
			p.health.taken()
		}
		done(offset, err)
	}}
	p.mu.Lock()
	l := p.lines[r.Topic]
	var err error
	switch {
	case p.closed:
		err = ErrProducerClosed
	case l == nil:
		if l, err = newLine(p.cfg, r.Topic, p.making[r.Topic], sticky); err == nil {
			p.lines[r.Topic] = l
		}
	}
	p.mu.Unlock()
	if err != nil {
		go e.done(-1, err) // never in the caller's goroutine, which may hold locks
		return
	}
	l.append(e)
}

// Up says whether Kafka takes records, as far as is known: it turns false
// within two seconds of the end of a broker that is needed, idle or not, and
// true with the first success.
func (p *Producer) Up() bool { return p.health.err() == nil }

// LastError says why Up is false; nil while it is true.
func (p *Producer) LastError() error { return p.health.err() }

// MaxRecordBytes bounds key and value of a record together.
func (p *Producer) MaxRecordBytes() int { return MaxRecordBytes }

// Flush waits until every record handed over so far has ended.
func (p *Producer) Flush(ctx context.Context) error {
	for _, l := range p.all() {
		if err := l.wait(ctx); err != nil {
			return fmt.Errorf("topic %s: records are not acknowledged yet: %w", l.topic, err)
		}
	}
	return nil
}

func (p *Producer) all() []*line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.lines))
}

// Renew begins a topic anew one of whose records was refused for good, for who takes
// up again what failed with it. A topic that takes records is left as it is.
func (p *Producer) Renew(topic string) {
	p.mu.Lock()
	l := p.lines[topic]
	if l == nil || l.err() == nil {
		p.mu.Unlock()
		return
	}
	delete(p.lines, topic)
	p.mu.Unlock()
	l.close()
}

// Reset begins anew after a failure: records that are not acknowledged end with
// ErrProducerClosed (they may be in the topic or not), no failure sticks any more.
func (p *Producer) Reset() error {
	p.mu.Lock()
	old, closed := p.lines, p.closed
	p.lines = map[string]*line{}
	p.mu.Unlock()
	for _, l := range old {
		l.close()
	}
	if closed {
		return ErrProducerClosed
	}
	return nil
}

// Close ends the producer without waiting for records, which end with
// ErrProducerClosed. It may be called twice.
func (p *Producer) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	p.health.close()
	_ = p.Reset() // which says no more than that the producer is closed
	return nil
}
