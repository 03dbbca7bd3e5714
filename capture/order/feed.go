package order

import (
	"context"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/topics"
)

// Feed is where a ledger reads what agents have written. It is Kafka; the
// simulation of the protocol has another.
type Feed interface {
	Heartbeats(ctx context.Context) (map[string]topics.Heartbeat, error)
	// Open reads a topic from an offset, or topics.Latest.
	Open(ctx context.Context, topic string, from int64) (Reader, error)
}

// Reader reads one topic in order; *topics.Reader is one.
type Reader interface {
	Next(ctx context.Context) (topics.Message, error)
	Start(ctx context.Context) (int64, error)
	End(ctx context.Context) (int64, error)
	Close() error
}

// kafka is the Feed of Kafka's topics.
type kafka struct{ cfg topics.Config }

func (k kafka) Heartbeats(ctx context.Context) (map[string]topics.Heartbeat, error) {
	return topics.ReadHeartbeats(ctx, k.cfg)
}

func (k kafka) Open(ctx context.Context, topic string, from int64) (Reader, error) {
	r, err := topics.NewReader(ctx, k.cfg, topic, from)
	if err != nil {
		return nil, err // not a Reader that is a nil *topics.Reader
	}
	return r, nil
}

// Lock is the source's lock on the primary; *settle.Lock is one.
type Lock interface {
	Lost() <-chan struct{}
	Close() error
}

// LockFunc takes the source's lock, shared or alone. settle.ErrLocked: others hold
// it in a way that excludes this agent.
type LockFunc func(ctx context.Context, source string, shared bool) (Lock, error)

// primaryLock takes the lock with the catalogue login.
func primaryLock(dsn string) LockFunc {
	return func(ctx context.Context, source string, shared bool) (Lock, error) {
		lock, err := settle.Acquire(ctx, dsn, source, shared)
		if err != nil {
			return nil, err
		}
		return lock, nil
	}
}
