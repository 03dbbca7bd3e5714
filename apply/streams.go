package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/topics"
)

// forever is an offset that no topic reaches.
const forever = int64(1) << 62

// streams are the streams of one membership in the group.
type streams struct {
	*Worker
	bySource map[string]string // source by topic
	commit   func(topic string, offset int64)
	// committed is the offset that the target's workers have told the group of.
	committed func(ctx context.Context, topic string) (int64, error)

	mu   sync.Mutex
	open map[string]*started // by topic
}

// started is a stream that was taken over and is about to be read.
type started struct {
	stream *stream
	held   *position.Held
	err    error // it cannot be applied
}

func newStreams(w *Worker, bySource map[string]string) *streams {
	return &streams{Worker: w, bySource: bySource, open: map[string]*started{}}
}

// start takes a stream over and says where its position is.
func (s *streams) start(ctx context.Context, topic string, _ int32) (int64, bool, error) {
	// What it stopped on before may have been Kafka, with digests.
	s.producer.Renew(s.deps.Topics.Names().Digests(s.bySource[topic]))
	st := newStream(s.Worker, s.bySource[topic])
	st.commit = func(offset int64) { s.commit(topic, offset) }
	st.committed = func(ctx context.Context) (int64, error) { return s.committed(ctx, topic) }
	held, err := st.takeOver(ctx)
	if err != nil && ctx.Err() != nil {
		return 0, false, err
	}
	s.mu.Lock()
	s.open[topic] = &started{st, held, err}
	s.mu.Unlock()
	from := topics.Earliest // handle stops on the error
	if held != nil {
		from = held.Low
	}
	return from, true, nil
}

// handle applies a stream for as long as it is this worker's.
func (s *streams) handle(ctx context.Context, topic string, _ int32, next func(context.Context) (topics.Message, error)) error {
	s.mu.Lock()
	begun := s.open[topic]
	delete(s.open, topic)
	s.mu.Unlock()
	err := begun.err
	if err == nil {
		err = begun.stream.run(ctx, begun.held, next, forever)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var fenced *position.FencedError
	if errors.As(err, &fenced) {
		return err // the group says who has it now
	}
	// I6: the stream stands still until somebody looks; the partition is kept, so
	// that no other worker runs into the same.
	s.metrics.errors.WithLabelValues(begun.stream.source).Inc()
	s.deps.Log.Error("stopped", zap.String("source", begun.stream.source), zap.Error(err))
	begun.stream.status.stop(err)
	return begun.stream.standStill(ctx, begun.held)
}

// lookAgain is how often a stream that stands still, or has nothing to do, looks at its
// position on the target.
const lookAgain = 2 * time.Second

// standStill waits until the stream is given away, or until its position was set
// anew on the target (by opmux snapshot or replay): then it is taken over again.
// Its lag goes on growing meanwhile, in status and metrics.
func (st *stream) standStill(ctx context.Context, held *position.Held) error {
	if st.scheduler != nil {
		observing, stop := context.WithCancel(ctx)
		over := make(chan struct{})
		go func() {
			defer close(over)
			_ = st.observe(observing) // ends with ctx
		}()
		defer func() { stop(); <-over }()
	}
	known := int64(-1)
	if held != nil {
		known = held.Fence
	}
	for {
		if err := pause(ctx, lookAgain); err != nil {
			return err
		}
		fence, err := st.fence(ctx)
		switch {
		case err != nil: // the target may be away; the next look tells
		case known < 0:
			known = fence
		case fence != known:
			return &position.FencedError{Source: st.source, Fence: known}
		}
	}
}

// fence reads the stream's fence on the target.
func (st *stream) fence(ctx context.Context) (int64, error) {
	conn, err := st.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer closeConn(conn)
	return position.Fence(ctx, conn, st.source)
}

// takeOver makes this worker the one that applies the stream; it tries until it
// succeeds, ctx ends, or the position does not fit the topic.
func (st *stream) takeOver(ctx context.Context) (*position.Held, error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		held, err := st.tryTakeOver(ctx)
		if err == nil {
			st.status.over()
			return held, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var topic *position.TopicError
		var lost *lostError
		if errors.As(err, &topic) || errors.As(err, &lost) {
			return nil, err
		}
		st.status.trouble(err)
		st.log.Warn("cannot take the stream over yet", zap.Error(err))
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

func (st *stream) tryTakeOver(ctx context.Context) (*position.Held, error) {
	reader, err := topics.NewReader(ctx, st.deps.Topics, st.topic, topics.Latest)
	if err != nil {
		return nil, err
	}
	id := reader.TopicID().String()
	if err := reader.Close(); err != nil {
		return nil, err
	}
	conn, err := st.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	if err := position.EnsureSchema(ctx, conn); err != nil {
		return nil, err
	}
	if err := st.notLost(ctx, conn); err != nil {
		return nil, err
	}
	held, err := position.TakeOver(ctx, conn, st.source, id, st.cfg.Parallelism)
	if err != nil {
		return nil, err
	}
	st.log.Info("took the stream over", zap.Int64("offset", held.Low), zap.Int64("fence", held.Fence))
	return held, nil
}

// connect opens a session that belongs to the stream.
func (st *stream) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(st.cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("dsn of the target: %w", err)
	}
	low, err := execute.ParseDSN(st.cfg.DSN, position.Application(st.source))
	if err != nil {
		return nil, err
	}
	cfg.Config = *low
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting to the target: %w", err)
	}
	return conn, nil
}
