package ops

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// operator is the writer of Marks that commands publish. They stand outside of
// every epoch: number 0, and no hash of a record before.
const operator = "operator"

// silentAfter is how old a heartbeat is whose program is taken for dead.
const silentAfter = 10 * time.Second

func alive(h topics.Heartbeat, now time.Time) bool { return now.Sub(h.Time) < silentAfter }

// publishMark appends a Mark to a source's topic and returns its offset.
func (k *kafka) publishMark(ctx context.Context, source string, m *event.Mark) (int64, error) {
	producer, err := topics.NewProducer(ctx, k.Config)
	if err != nil {
		return 0, err
	}
	defer func() { _ = producer.Close() }() // the record is acknowledged, or an error says more
	_, offset, err := k.produce(ctx, producer, source, &event.Record{Agent: operator, Body: m})
	if err != nil {
		return 0, fmt.Errorf("publishing a Mark: %w", err)
	}
	return offset, nil
}

// produce appends a record and returns its bytes and its offset.
func (k *kafka) produce(ctx context.Context, producer *topics.Producer, source string, rec *event.Record) ([]byte, int64, error) {
	value, err := k.codec.EncodeRecord(rec)
	if err != nil {
		return nil, 0, fmt.Errorf("encoding a record: %w", err)
	}
	type answer struct {
		offset int64
		err    error
	}
	done := make(chan answer, 1)
	producer.Produce(k.Names().Ops(source), []byte(source), value, nil, func(offset int64, err error) { done <- answer{offset, err} })
	select {
	case a := <-done:
		return value, a.offset, a.err
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("kafka at %v does not take records: %w", k.Brokers, ctx.Err())
	}
}

// behindCommits returns an offset of the source's topic below which everything is
// that was committed through live agents when it was called. Under gate recorded
// that is the topic's end: records come before commits. Under gate none agents
// answer a Mark behind their own records; one that falls silent meanwhile has
// nothing more to say, and its FENCE reports the loss.
func (k *kafka) behindCommits(ctx context.Context, source string) (int64, error) {
	beats, err := k.heartbeats(ctx)
	if err != nil {
		return 0, err
	}
	if len(askable(beats, source)) == 0 {
		b, err := k.bounds(ctx, source)
		return b.end, err
	}
	id := uuid.New()
	asked, err := k.publishMark(ctx, source, &event.Mark{ID: id, Phase: event.MarkAsk})
	if err != nil {
		return 0, err
	}
	return k.awaitAnswers(ctx, source, id, asked)
}

// askable lists the live agents of gate none of a source, by name; one that has
// closed its epoch (-1) has nothing more to say.
func askable(beats map[string]topics.Heartbeat, source string) map[string]bool {
	names := map[string]bool{}
	for _, h := range beats {
		if h.Role == topics.RoleAgent && h.Source == source && h.Gate == order.GateNone && h.Epoch >= 0 && alive(h, time.Now()) {
			names[h.Name] = true
		}
	}
	return names
}

func (k *kafka) awaitAnswers(ctx context.Context, source string, id [16]byte, asked int64) (int64, error) {
	r, err := topics.NewReader(ctx, k.Config, k.Names().Ops(source), asked)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	answered := map[string]bool{}
	end := asked + 1
	for {
		beats, err := k.heartbeats(ctx)
		if err != nil {
			return 0, err
		}
		missing := ""
		for name := range askable(beats, source) {
			if !answered[name] {
				missing = name
			}
		}
		if missing == "" {
			return end, nil
		}
		// A round of reading ends after a second, to look who is still alive.
		err = k.readAnswers(ctx, r, id, answered, &end)
		if ctx.Err() != nil {
			return 0, fmt.Errorf("agent %s has not answered a Mark in source %s: %w", missing, source, ctx.Err())
		}
		if err != nil {
			return 0, err
		}
	}
}

// readAnswers reads until one agent has answered, or a second has passed.
func (k *kafka) readAnswers(ctx context.Context, r *topics.Reader, id [16]byte, answered map[string]bool, end *int64) error {
	round, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for {
		m, err := r.Next(round)
		if round.Err() != nil {
			return nil // the round is over; the caller looks at its own context
		}
		if err != nil {
			return err
		}
		rec, err := k.decode(m)
		if err != nil {
			return err
		}
		if mark, ok := rec.Body.(*event.Mark); ok && mark.ID == id && mark.Phase == event.MarkAnswer {
			answered[rec.Agent] = true
			*end = max(*end, m.Offset+1)
			return nil
		}
	}
}
