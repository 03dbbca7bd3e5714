package ops

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// kafkaTimeout bounds questions to Kafka that are answered at once when it is there.
const kafkaTimeout = 15 * time.Second

// kafka is a command's way to the topics.
type kafka struct {
	topics.Config
	codec *avro.Codec
}

func openKafka(ctx context.Context, f *config.File) (*kafka, error) {
	cfg, err := f.Topics()
	if err != nil {
		return nil, exit.AsUsage(err)
	}
	ctx, cancel := context.WithTimeout(ctx, kafkaTimeout)
	defer cancel()
	codec, err := f.Kafka().Codec(ctx)
	if err != nil {
		return nil, err
	}
	return &kafka{Config: cfg, codec: codec}, nil
}

// unreachable says whose fault it is when a question ran out of time.
func (k *kafka) unreachable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("kafka at %v does not answer within %s; is it running, and is kafka.brokers right?", k.Brokers, kafkaTimeout)
	}
	return err
}

// bounds are the first offset of an ops topic and the one behind its last.
type bounds struct {
	start, end int64
	id         string
}

func (k *kafka) bounds(ctx context.Context, source string) (bounds, error) {
	ctx, cancel := context.WithTimeout(ctx, kafkaTimeout)
	defer cancel()
	r, err := topics.NewReader(ctx, k.Config, k.Names().Ops(source), topics.Latest)
	if err != nil {
		return bounds{}, k.unreachable(err)
	}
	defer func() { _ = r.Close() }()
	b := bounds{id: r.TopicID().String()}
	if b.start, err = r.Start(ctx); err != nil {
		return b, k.unreachable(err)
	}
	if b.end, err = r.End(ctx); err != nil {
		return b, k.unreachable(err)
	}
	return b, nil
}

// heartbeats reads the last heartbeat of every program.
func (k *kafka) heartbeats(ctx context.Context) (map[string]topics.Heartbeat, error) {
	ctx, cancel := context.WithTimeout(ctx, kafkaTimeout)
	defer cancel()
	all, err := topics.ReadHeartbeats(ctx, k.Config)
	return all, k.unreachable(err)
}

// errStop ends each from within.
var errStop = errors.New("stop")

// each calls f for every record of a source's ops topic in [from, to). f may
// return errStop to end early.
func (k *kafka) each(ctx context.Context, source string, from, to int64, f func(topics.Message, *event.Record) error) error {
	if from >= to {
		return nil
	}
	r, err := topics.NewReader(ctx, k.Config, k.Names().Ops(source), from)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	for {
		m, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if m.Offset >= to {
			return nil
		}
		rec, err := k.decode(m)
		if err != nil {
			return err
		}
		switch err := f(m, rec); {
		case errors.Is(err, errStop):
			return nil
		case err != nil:
			return err
		}
		if m.Offset == to-1 {
			return nil
		}
	}
}

func (k *kafka) decode(m topics.Message) (*event.Record, error) {
	rec, err := k.codec.DecodeRecord(m.Value)
	if err != nil {
		return nil, fmt.Errorf("topic %s, offset %d: %w", m.Topic, m.Offset, err)
	}
	return rec, nil
}

// place is where a command begins to read: beginning, an offset or a time.
type place struct {
	offset int64 // -1: see time
	time   time.Time
}

var beginning = place{offset: topics.Earliest}

func parsePlace(text string) (place, error) {
	if text == "" || text == "beginning" {
		return beginning, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return place{offset: n}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return place{offset: -1, time: t}, nil
	}
	return place{}, fmt.Errorf("expected beginning, an offset such as 1200, or a time such as 2026-01-31T12:00:00Z, got %q", text)
}

// resolve turns a place into an offset of a source's topic.
func (k *kafka) resolve(ctx context.Context, source string, p place, b bounds) (int64, error) {
	switch {
	case p.offset == topics.Earliest:
		return b.start, nil
	case p.offset >= 0:
		if p.offset < b.start || p.offset > b.end {
			return 0, exit.Usagef("--from %d: topic %s has offsets %d to %d", p.offset, k.Names().Ops(source), b.start, b.end-1)
		}
		return p.offset, nil
	}
	ctx, cancel := context.WithTimeout(ctx, kafkaTimeout)
	defer cancel()
	r, err := topics.NewReader(ctx, k.Config, k.Names().Ops(source), topics.Latest)
	if err != nil {
		return 0, k.unreachable(err)
	}
	defer func() { _ = r.Close() }()
	offset, err := r.OffsetAt(ctx, p.time)
	return offset, k.unreachable(err)
}
