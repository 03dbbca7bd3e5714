package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// OnErrorStop is the policy on errors of the target that are not transient: the
// stream stops there, the worker stays up and says so.
const OnErrorStop = "stop"

// Config is what a worker does.
type Config struct {
	Target  string
	Name    string // of this worker among those of the target, lasting
	DSN     string // of the target
	Sources []string
	// Parallelism is the number of lanes, target sessions, per source.
	Parallelism int
	OnError     string // OnErrorStop, also where it is empty
	// Memory bounds the records that are held per source and wait to be applied,
	// in bytes; 0: 64 MiB.
	Memory int64
	// Group bounds the transactions of one target transaction; 0: 200, with sets 2,000.
	Group int
	// NoSets runs operations one by one.
	NoSets bool
}

// Rewriter changes operations between being read and being executed: the door
// for the rewrite chain.
type Rewriter interface {
	// Rewrite returns what the target executes in the place of op, which it may
	// change and return.
	Rewrite(ctx context.Context, source string, tx *event.Transaction, op *event.Operation) (*event.Operation, error)
}

// Deps is what a worker needs of others.
type Deps struct {
	Topics  topics.Config
	Codec   *avro.Codec
	Log     *zap.Logger
	Metrics prometheus.Registerer
	// Normalise takes the constants out of a statement; nil leaves statements out
	// of messages.
	Normalise func(sql string) string
	// Shape says what a statement does to one row; nil: operations run one by one.
	Shape execute.ShapeFunc
	// Definition says which relations a definition has to do with.
	Definition execute.DefinitionFunc
	Rewriter   Rewriter // nil: operations are executed as they are
}

// Worker applies the sources that its consumer group gives it to one target.
type Worker struct {
	cfg      Config
	deps     Deps
	metrics  *metrics
	lasting  string // its name in the consumer group; "" where it was given none
	instance string
	status   status
	producer *topics.Producer // of a run
	kafka    atomic.Pointer[topics.Producer]
}

// groupOfSets is how many transactions one of the target's has with sets: the more,
// the longer the sets.
const groupOfSets = 2_000

// New checks a configuration and returns a worker for it.
func New(cfg Config, deps Deps) (*Worker, error) {
	if cfg.OnError == "" {
		cfg.OnError = OnErrorStop
	}
	if cfg.OnError != OnErrorStop {
		return nil, fmt.Errorf("on_error: expected %s, got %q, which is not built yet", OnErrorStop, cfg.OnError)
	}
	if cfg.Target == "" || len(cfg.Sources) == 0 {
		return nil, errors.New("a worker needs a target and at least one source")
	}
	if _, err := execute.ParseDSN(cfg.DSN, "opmux"); err != nil {
		return nil, err
	}
	cfg.Parallelism = max(cfg.Parallelism, 1)
	if cfg.Group == 0 && !cfg.NoSets {
		cfg.Group = groupOfSets
	}
	lasting := cfg.Name
	if cfg.Name == "" {
		cfg.Name = "worker"
	}
	if deps.Log == nil {
		deps.Log = zap.NewNop()
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, err
	}
	return &Worker{
		cfg: cfg, deps: deps, metrics: m, lasting: lasting, instance: uuid.NewString(),
		status: status{streams: map[string]*streamStatus{}},
	}, nil
}

// rejoin is the pause before the group is joined again after it was left on an
// error.
const rejoin = time.Second

// Run applies until ctx ends. A stream that stops on an error does not end it:
// Ready and the heartbeat say so.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	defer func() { _ = w.producer.Close() }() // digests that are not acknowledged are skipped at take-over
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return w.beat(ctx) })
	tasks.Go(func() error { return w.consume(ctx) })
	err := tasks.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (w *Worker) open(ctx context.Context) error {
	producer, err := topics.NewProducer(ctx, w.deps.Topics)
	if err != nil {
		return err
	}
	w.producer = producer
	w.kafka.Store(producer)
	return nil
}

// consume is a member of the target's group, again and again.
func (w *Worker) consume(ctx context.Context) error {
	for {
		err := w.member(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var missing *topics.MissingTopicsError
		var replaced *topics.ReplacedError
		if errors.As(err, &missing) || errors.As(err, &replaced) {
			return err
		}
		w.status.trouble(err)
		w.deps.Log.Warn("left the consumer group; joining again", zap.Error(err))
		if err := pause(ctx, rejoin); err != nil {
			return err
		}
	}
}

// member joins the group once and works until ctx ends or an error.
func (w *Worker) member(ctx context.Context) error {
	names := w.deps.Topics.Names()
	bySource := map[string]string{}
	for _, s := range w.cfg.Sources {
		bySource[names.Ops(s)] = s
	}
	if err := w.requireTopics(ctx); err != nil {
		return err
	}
	streams := newStreams(w, bySource)
	group, err := topics.NewGroup(ctx, w.deps.Topics, names.ApplyGroup(w.cfg.Target), w.lasting, slices.Collect(mapKeys(bySource)), topics.Hooks{
		Start: streams.start,
		Lost:  func(topic string, _ int32) { w.status.remove(bySource[topic]) },
	})
	if err != nil {
		return err
	}
	streams.commit = func(topic string, offset int64) { group.Commit(topic, 0, offset) }
	streams.committed = func(ctx context.Context, topic string) (int64, error) { return group.Committed(ctx, topic, 0) }
	w.status.joined()
	return group.Run(ctx, streams.handle)
}

// requireTopics fails with *topics.MissingTopicsError where topics are missing.
func (w *Worker) requireTopics(ctx context.Context) error {
	for _, s := range w.cfg.Sources {
		for _, topic := range []string{w.deps.Topics.Names().Ops(s), w.deps.Topics.Names().Digests(s)} {
			r, err := topics.NewReader(ctx, w.deps.Topics, topic, topics.Latest)
			if err != nil {
				return err
			}
			if err := r.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

func mapKeys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Ready returns nil while everything that this worker was given is applied, and
// else why not.
func (w *Worker) Ready() error {
	if p := w.kafka.Load(); p != nil && p.LastError() != nil {
		return p.LastError()
	}
	return w.status.ready()
}

// RunUntil applies every source up to an offset of its topic, without being a
// member of the group, and returns when everything below it that has an outcome
// there is applied. A worker that is running is fenced.
func (w *Worker) RunUntil(ctx context.Context, until map[string]int64) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	defer func() { _ = w.producer.Close() }() // every digest is acknowledged, or an error says more
	if err := w.requireTopics(ctx); err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	for _, source := range w.cfg.Sources {
		end, ok := until[source]
		if !ok {
			continue
		}
		tasks.Go(func() error { return w.once(ctx, source, end) })
	}
	return tasks.Wait()
}

// once applies one source up to an offset.
func (w *Worker) once(ctx context.Context, source string, until int64) error {
	st := newStream(w, source)
	defer w.status.remove(source)
	held, err := st.takeOver(ctx)
	if err != nil {
		return err
	}
	reader, err := topics.NewReader(ctx, w.deps.Topics, st.topic, held.Low)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }() // it only reads
	return st.run(ctx, held, reader.Next, until)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
