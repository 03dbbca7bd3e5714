package topics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

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
// topic fails as well, so that a topic never has a gap that the caller was told
// of; Reset begins anew.
type Producer struct {
	cfg    Config
	health *health

	mu     sync.Mutex
	client *kgo.Client
	states map[string]*topicState
	closed bool

	beatsMu sync.Mutex
	beats   map[string]bool // keys with a heartbeat on its way
}

// topicState is what the producer knows of a topic since the last Reset.
type topicState struct {
	ctx   context.Context // ended by the first definite failure
	fail  context.CancelCauseFunc
	id    TopicID // zero until a probe saw it
	beats bool    // heartbeats: a failure does not stick
}

// ErrProducerClosed is what records get that were not acknowledged when the
// producer was closed or reset. They may be in the topic or not.
var ErrProducerClosed = errors.New("the producer was closed before Kafka acknowledged the record")

// NewProducer returns a producer. It does not wait for Kafka: Up says whether
// Kafka was reached. ctx is for values only; Close ends the producer.
func NewProducer(ctx context.Context, cfg Config) (*Producer, error) {
	p := &Producer{cfg: cfg, states: map[string]*topicState{}, beats: map[string]bool{}}
	client, err := p.newClient()
	if err != nil {
		return nil, err
	}
	p.client = client
	p.health = startHealth(context.WithoutCancel(ctx), p)
	return p, nil
}

func (p *Producer) newClient() (*kgo.Client, error) {
	return p.cfg.client(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), // kgo waits 10 ms; a commit must not
		// Records wait in the caller's bounded buffer, never in a blocked call.
		kgo.MaxBufferedRecords(math.MaxInt32),
		kgo.ProducerBatchMaxBytes(maxBatchBytes),
		kgo.ProduceRequestTimeout(5*time.Second),
		// No retry limit, no delivery timeout: kgo's defaults, which a limit would
		// turn into lost records. A topic that does not exist is the exception.
		kgo.UnknownTopicRetries(20),
		kgo.StopProducerOnDataLossDetected(),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
	)
}

// Produce appends a record and returns at once. done is called in another
// goroutine, in the order of the calls, with the record's offset, or with the
// error that refused it for good; it must not block.
func (p *Producer) Produce(topic string, key, value []byte, headers []Header, done func(offset int64, err error)) {
	p.produce(topic, key, value, headers, false, done)
}

func (p *Producer) produce(topic string, key, value []byte, headers []Header, beat bool, done func(int64, error)) {
	r := &kgo.Record{Topic: topic, Key: key, Value: value}
	for _, h := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	p.mu.Lock()
	client, st := p.client, p.state(topic, beat)
	// The lock spans the hand-over: it makes the order of calls the order of
	// records, also while a Reset runs.
	defer p.mu.Unlock()
	p.health.sent()
	client.Produce(st.ctx, r, func(r *kgo.Record, err error) {
		p.health.finished(err)
		if err == nil {
			done(r.Offset, nil)
			return
		}
		done(-1, p.failed(topic, st, err))
	})
}

// failed makes the first definite failure of a topic stick, and returns what
// the record's owner is told.
func (p *Producer) failed(topic string, st *topicState, err error) error {
	if errors.Is(err, kgo.ErrClientClosed) {
		return ErrProducerClosed
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("an earlier record failed: %w", context.Cause(st.ctx))
	}
	err = fmt.Errorf("topic %s: %w", topic, err)
	if !st.beats {
		st.fail(err)
	}
	return err
}

// state returns the state of a topic; p.mu is held.
func (p *Producer) state(topic string, beat bool) *topicState {
	st := p.states[topic]
	if st == nil {
		st = &topicState{beats: beat}
		st.ctx, st.fail = context.WithCancelCause(context.Background())
		p.states[topic] = st
	}
	return st
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
	p.mu.Lock()
	client := p.client
	p.mu.Unlock()
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("kafka: records are not acknowledged yet: %w", err)
	}
	return nil
}

// Reset begins anew after a failure: records that are not acknowledged end with
// ErrProducerClosed (they may be in the topic or not), no failure sticks any more.
func (p *Producer) Reset() error {
	client, err := p.newClient()
	if err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		client.Close()
		return ErrProducerClosed
	}
	old := p.client
	p.client, p.states = client, map[string]*topicState{}
	p.mu.Unlock()
	old.Close()
	return nil
}

// Close ends the producer without waiting for records. It may be called twice.
func (p *Producer) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	client := p.client
	p.mu.Unlock()
	p.health.close()
	client.Close()
	return nil
}
