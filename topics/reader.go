package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Places to read from that are not offsets.
const (
	Earliest int64 = -2 // the first record that is left
	Latest   int64 = -1 // the first record to come
)

// Message is a record that was read.
type Message struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	Key       []byte
	Value     []byte
	Headers   []Header
}

// OffsetOutOfRangeError says that what should be read is not in the topic (any
// more). opmux never skips over it: a position below Start was overtaken by
// retention, one above End belongs to another topic of that name.
type OffsetOutOfRangeError struct {
	Topic              string
	Partition          int32
	Offset, Start, End int64
}

func (e *OffsetOutOfRangeError) Error() string {
	return fmt.Sprintf("topic %s, partition %d: offset %d was expected, and the topic has %d to %d: records were removed or the topic was made anew; take a new snapshot of the target", e.Topic, e.Partition, e.Offset, e.Start, e.End)
}

// TopicGoneError says that a topic was deleted, or deleted and made again,
// while it was in use.
type TopicGoneError struct{ Topic string }

func (e *TopicGoneError) Error() string {
	return fmt.Sprintf("topic %s was deleted or made anew while it was in use: what it has now does not continue what it had", e.Topic)
}

// Reader reads a topic's partitions without a consumer group. It reads from
// where it is told and nowhere else. Next is for one goroutine.
type Reader struct {
	topic  string
	id     TopicID
	at     map[int32]int64 // what is read next, by partition
	client *kgo.Client
	admin  *kadm.Client
	buffer []*kgo.Record
	pause  time.Duration
	busy   bool // the last poll brought records
}

// TopicID is Kafka's identity of a topic: a topic made again has another.
type TopicID [16]byte

func (id TopicID) String() string { return fmt.Sprintf("%x", id[:]) }

// NewReader reads partition 0 of a topic from an offset, Earliest or Latest. It
// fails with *MissingTopicsError where there is no such topic.
func NewReader(ctx context.Context, cfg Config, topic string, from int64) (*Reader, error) {
	return NewPartitionsReader(ctx, cfg, topic, map[int32]int64{0: from})
}

// NewPartitionsReader reads several partitions, each from its own offset.
func NewPartitionsReader(ctx context.Context, cfg Config, topic string, from map[int32]int64) (*Reader, error) {
	offsets := map[int32]kgo.Offset{}
	for p, o := range from {
		offsets[p] = kgo.NewOffset().At(o)
	}
	client, err := cfg.lastingClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(cfg.fetchBytes()),
		kgo.FetchMaxPartitionBytes(cfg.fetchBytes()),
		kgo.FetchMaxWait(time.Second),
		kgo.MaxDecompressBatchBytes(4*maxBatchBytes),
	)
	if err != nil {
		return nil, err
	}
	r := &Reader{topic: topic, at: maps.Clone(from), client: client, admin: kadm.NewClient(client), pause: cfg.FetchPause}
	if r.id, err = topicID(ctx, r.admin, topic); err != nil {
		client.Close()
		return nil, err
	}
	return r, nil
}

func topicID(ctx context.Context, admin *kadm.Client, topic string) (TopicID, error) {
	details, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return TopicID{}, fmt.Errorf("topic %s: asking Kafka for it: %w", topic, err)
	}
	d := details[topic]
	if errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
		return TopicID{}, &MissingTopicsError{Topics: []string{topic}}
	}
	if d.Err != nil {
		return TopicID{}, fmt.Errorf("topic %s: %w", topic, d.Err)
	}
	return TopicID(d.ID), nil
}

// TopicID returns the topic's id as of NewReader.
func (r *Reader) TopicID() TopicID { return r.id }

// Next returns the next record. It waits while Kafka is away.
func (r *Reader) Next(ctx context.Context) (Message, error) {
	for len(r.buffer) == 0 {
		if err := r.gather(ctx); err != nil {
			return Message{}, err
		}
		fetches := r.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return Message{}, ctx.Err()
		}
		if err := r.check(ctx, fetches); err != nil {
			return Message{}, err
		}
		r.buffer = append(r.buffer[:0], fetches.Records()...)
		r.busy = len(r.buffer) > 0
	}
	rec := r.buffer[0]
	r.buffer[0] = nil
	r.buffer = r.buffer[1:]
	r.at[rec.Partition] = rec.Offset + 1
	return message(rec), nil
}

// gather lets records gather where there were some just now.
func (r *Reader) gather(ctx context.Context) error {
	if r.pause == 0 || !r.busy {
		return nil
	}
	return sleep(ctx, r.pause)
}

// check turns what a fetch complains of into errors of this package.
func (r *Reader) check(ctx context.Context, fetches kgo.Fetches) error {
	for _, f := range fetches {
		for _, t := range f.Topics {
			if t.Topic == r.topic && t.TopicID != [16]byte{} && TopicID(t.TopicID) != r.id {
				return &TopicGoneError{Topic: r.topic}
			}
		}
	}
	var first error
	fetches.EachError(func(_ string, partition int32, err error) {
		if first == nil {
			first = r.explain(ctx, partition, err)
		}
	})
	return first
}

func (r *Reader) explain(ctx context.Context, partition int32, err error) error {
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange):
		e := &OffsetOutOfRangeError{Topic: r.topic, Partition: partition, Offset: r.at[partition]}
		if s, errS := r.admin.ListStartOffsets(ctx, r.topic); errS == nil {
			o, _ := s.Lookup(r.topic, partition)
			e.Start = o.Offset
		}
		if s, errE := r.admin.ListEndOffsets(ctx, r.topic); errE == nil {
			o, _ := s.Lookup(r.topic, partition)
			e.End = o.Offset
		}
		return e
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		return r.confirmGone(ctx)
	case errors.Is(err, kgo.ErrClientClosed):
		return fmt.Errorf("topic %s: the reader is closed", r.topic)
	case transient(err):
		return nil // kgo goes on by itself
	}
	return fmt.Errorf("topic %s, partition %d: reading: %w", r.topic, partition, err)
}

// confirmGone asks again, since a broker that has just started may not know of
// its topics yet; nil: the topic is there.
func (r *Reader) confirmGone(ctx context.Context) error {
	id, err := topicID(ctx, r.admin, r.topic)
	var missing *MissingTopicsError
	switch {
	case errors.As(err, &missing), err == nil && id != r.id:
		return &TopicGoneError{Topic: r.topic}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return nil // Kafka does not answer, or the topic is there: Next goes on
}

func message(rec *kgo.Record) Message {
	m := Message{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset,
		Timestamp: rec.Timestamp, Key: rec.Key, Value: rec.Value}
	for _, h := range rec.Headers {
		m.Headers = append(m.Headers, Header{Key: h.Key, Value: h.Value})
	}
	return m
}

// Start returns the offset of the first record that is left in partition 0.
func (r *Reader) Start(ctx context.Context) (int64, error) {
	return r.offset(r.admin.ListStartOffsets(ctx, r.topic))
}

// End returns the offset behind the last record of partition 0.
func (r *Reader) End(ctx context.Context) (int64, error) {
	return r.offset(r.admin.ListEndOffsets(ctx, r.topic))
}

// OffsetAt returns the offset of the first record of partition 0 with a
// timestamp at or after t, or the end.
func (r *Reader) OffsetAt(ctx context.Context, t time.Time) (int64, error) {
	return r.offset(r.admin.ListOffsetsAfterMilli(ctx, t.UnixMilli(), r.topic))
}

func (r *Reader) offset(list kadm.ListedOffsets, err error) (int64, error) {
	if err == nil {
		o, ok := list.Lookup(r.topic, 0)
		switch {
		case !ok:
			err = errors.New("kafka did not answer for partition 0")
		case o.Err != nil:
			err = o.Err
		default:
			return o.Offset, nil
		}
	}
	return 0, fmt.Errorf("topic %s: listing offsets: %w", r.topic, err)
}

// Close ends the reader. It may be called twice.
func (r *Reader) Close() error {
	r.client.Close()
	return nil
}

// ReadAll returns every record of a topic up to its end as of the call, by
// partition in order.
func ReadAll(ctx context.Context, cfg Config, topic string) ([]Message, error) {
	var all []Message
	err := ReadEach(ctx, cfg, topic, func(m Message) error {
		all = append(all, m)
		return nil
	})
	return all, err
}

// ReadEach calls f for every record of a topic up to its end as of the call.
func ReadEach(ctx context.Context, cfg Config, topic string, f func(Message) error) error {
	client, err := cfg.client()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := topicID(ctx, admin, topic); err != nil {
		return err
	}
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("topic %s: listing offsets: %w", topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("topic %s: listing offsets: %w", topic, err)
	}
	from, to := map[int32]int64{}, map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if s, ok := starts.Lookup(topic, o.Partition); ok && s.Offset < o.Offset {
			from[o.Partition], to[o.Partition] = s.Offset, o.Offset
		}
	})
	return readUntil(ctx, cfg, topic, from, to, f)
}

func readUntil(ctx context.Context, cfg Config, topic string, from, to map[int32]int64, f func(Message) error) error {
	if len(from) == 0 {
		return nil
	}
	r, err := NewPartitionsReader(ctx, cfg, topic, from)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it has no error to tell
	for len(to) > 0 {
		m, err := r.Next(ctx)
		if err != nil {
			return err
		}
		end, wanted := to[m.Partition]
		if !wanted || m.Offset >= end {
			delete(to, m.Partition)
			continue
		}
		if err := f(m); err != nil {
			return err
		}
		if m.Offset == end-1 {
			delete(to, m.Partition)
		}
	}
	return nil
}
