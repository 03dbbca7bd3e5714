package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/opmux/opmux/topics"
)

// nextFunc returns a partition's records in order.
type nextFunc func(context.Context) (topics.Message, error)

// pump reads ahead in a goroutine of its own, so that the one that joins can
// also heed the time. It holds one record beside what its reader holds.
type pump struct {
	out    chan topics.Message
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid once out is closed
}

// startPump begins to read; stop ends it, and end is called then.
func startPump(ctx context.Context, next nextFunc, end func()) *pump {
	ctx, cancel := context.WithCancel(ctx)
	p := &pump{out: make(chan topics.Message), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer end()
		defer close(p.out)
		for {
			m, err := next(ctx)
			if err != nil {
				p.err = err
				return
			}
			select {
			case p.out <- m:
			case <-ctx.Done():
				p.err = ctx.Err()
				return
			}
		}
	}()
	return p
}

func (p *pump) stop() {
	p.cancel()
	<-p.ended
}

// openAt opens a reader of one partition at an offset, or at the first record
// that is left where retention has taken what is before it.
func openAt(ctx context.Context, cfg topics.Config, topic string, partition int32, from int64) (*topics.Reader, topics.Message, error) {
	for range 2 {
		r, err := topics.NewPartitionsReader(ctx, cfg, topic, map[int32]int64{partition: from})
		if err != nil {
			return nil, topics.Message{}, err
		}
		m, err := r.Next(ctx)
		if err == nil {
			return r, m, nil
		}
		err = errors.Join(err, r.Close())
		var out *topics.OffsetOutOfRangeError
		if !errors.As(err, &out) || from >= out.Start {
			return nil, topics.Message{}, err
		}
		from = out.Start
	}
	return nil, topics.Message{}, fmt.Errorf("topic %s, partition %d: its start moves faster than it can be read", topic, partition)
}

// partitionEnd returns the offset behind a partition's last record.
func partitionEnd(ctx context.Context, cfg topics.Config, topic string, partition int32) (end int64, err error) {
	// A reader beyond every end is told where the end is.
	const beyond = 1 << 60
	r, err := topics.NewPartitionsReader(ctx, cfg, topic, map[int32]int64{partition: beyond})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, err = r.Next(ctx)
	var out *topics.OffsetOutOfRangeError
	if errors.As(err, &out) && out.End >= 0 {
		return out.End, nil
	}
	return 0, fmt.Errorf("topic %s, partition %d: asking for its end: %w", topic, partition, err)
}
