package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// Deps are what a Verifier works with.
type Deps struct {
	Topics  topics.Config
	Codec   *avro.Codec
	Log     *zap.Logger
	Metrics prometheus.Registerer // nil: none
	// Normalise takes the constants out of a statement's text (classify.Normalise);
	// nil leaves looked-up statements out of findings.
	Normalise func(sql string) string
}

// Verifier compares what the targets of its sources did with what their primaries
// did. It shares the work with the other verifiers of its prefix.
type Verifier struct {
	cfg      Config
	deps     Deps
	sources  map[string]Source // by digests topic
	verdicts string
	metrics  *metrics
	reporter *reporter
	tracker  *tracker
	producer *topics.Producer

	mu         sync.Mutex
	group      *topics.Group
	partitions int   // of ours
	state      error // why it is not ready; nil while it works
}

// partitionsExpected is how many partitions share the memory where fewer are ours.
const partitionsExpected = 8

// minMemory is the least that a partition gets, in bytes.
const minMemory = 1 << 20

// fetchBytes bounds what each partition's reader fetches at once, compressed. Digests
// are so alike that they take twenty times that once they are read, there is a
// reader for each partition, and each fetches ahead (I7).
const fetchBytes = 128 << 10

const (
	retryFirst = time.Second
	retryMost  = 15 * time.Second
	beatEvery  = time.Second
)

var errStarting = errors.New("starting: not in the consumer group yet")

// New checks the configuration; it reaches for nothing.
func New(cfg Config, deps Deps) (*Verifier, error) {
	if cfg.Level.Rank() < 0 {
		return nil, fmt.Errorf("level: expected code, count or full, got %q", cfg.Level)
	}
	if cfg.Timeout <= 0 {
		return nil, fmt.Errorf("timeout: expected more than 0, got %s", cfg.Timeout)
	}
	if cfg.Memory <= 0 {
		cfg.Memory = 64 << 20
	}
	if deps.Topics.FetchBytes == 0 {
		deps.Topics.FetchBytes = fetchBytes
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("verifier: registering metrics: %w", err)
	}
	v := &Verifier{
		cfg: cfg, deps: deps, metrics: m, sources: map[string]Source{}, state: errStarting,
		verdicts: deps.Topics.Names().Verdicts(), tracker: newTracker(deps.Topics, deps.Codec),
	}
	for _, s := range cfg.Sources {
		v.sources[deps.Topics.Names().Digests(s.Name)] = s
	}
	var hook *webhook
	if cfg.Webhook.URL != "" {
		hook = newWebhook(cfg.Webhook, cfg.Name, deps.Log, m)
	}
	v.reporter = newReporter(deps.Log, m, hook)
	return v, nil
}

// Ready returns nil while the verifier works, and otherwise why it does not.
func (v *Verifier) Ready() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

func (v *Verifier) setState(err error) {
	v.mu.Lock()
	v.state = err
	v.mu.Unlock()
}

// Run verifies until ctx ends and returns nil then. Missing or wrong topics end it
// at once. While Kafka is away it tries again; on what waiting cannot mend it
// stays up, not ready, until ctx ends, and returns the reason.
func (v *Verifier) Run(ctx context.Context) error {
	producer, err := topics.NewProducer(ctx, v.deps.Topics)
	if err != nil {
		return err
	}
	v.producer = producer
	defer func() { _ = producer.Close() }() // what it did not publish is said again
	var beside sync.WaitGroup
	defer beside.Wait()
	besideCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	beside.Go(func() { v.beat(besideCtx) })
	if v.reporter.webhook != nil {
		beside.Go(func() { v.reporter.webhook.run(besideCtx) })
	}
	pause := retryFirst
	for {
		began := time.Now()
		err := v.attempt(ctx)
		if ctx.Err() != nil {
			return nil
		}
		v.setState(err)
		switch {
		case ends(err):
			return err
		case isFinal(err):
			v.deps.Log.Error("verification has stopped: mend the cause and start the verify-worker again", zap.Error(err))
			<-ctx.Done()
			return err
		}
		if time.Since(began) > time.Minute {
			pause = retryFirst
		}
		v.deps.Log.Warn("verification was interrupted and begins again", zap.Duration("after", pause), zap.Error(err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, retryMost)
		if err := producer.Reset(); err != nil {
			return err
		}
	}
}

// attempt takes part in the group until something fails or ctx ends.
func (v *Verifier) attempt(ctx context.Context) error {
	var names, list []string
	for topic, s := range v.sources {
		names, list = append(names, s.Name), append(list, topic)
	}
	slices.Sort(list)
	problems, err := topics.Require(ctx, v.deps.Topics, topics.Want{Sources: names})
	if err != nil {
		return err
	}
	for _, p := range problems {
		v.deps.Log.Warn("topic settings", zap.Stringer("problem", p))
	}
	group, err := topics.NewGroup(ctx, v.deps.Topics, v.deps.Topics.Names().VerifyGroup(), v.cfg.Name, list, topics.Hooks{
		Assigned: func(string, int32) { v.assigned(1) },
		Lost:     func(string, int32) { v.assigned(-1) },
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.group, v.partitions, v.state = group, 0, nil
	v.mu.Unlock()
	return group.Run(ctx, v.work)
}

func (v *Verifier) assigned(n int) {
	v.mu.Lock()
	v.partitions += n
	v.mu.Unlock()
}

func (v *Verifier) partitionCount() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.partitions
}

// work is the group's handler of one partition.
func (v *Verifier) work(ctx context.Context, topic string, id int32, next func(context.Context) (topics.Message, error)) error {
	source, ok := v.sources[topic]
	if !ok {
		return fmt.Errorf("topic %s was assigned, which is of no source here", topic)
	}
	p := &partition{v: v, source: source, topic: topic, id: id, gauge: pendingGauge{m: v.metrics, source: source.Name}}
	return p.run(ctx, next)
}

// memory is one partition's share.
func (v *Verifier) memory() int64 {
	return max(minMemory, v.cfg.Memory/int64(max(v.partitionCount(), partitionsExpected*len(v.sources))))
}

func (v *Verifier) commit(topic string, id int32, offset int64) {
	v.mu.Lock()
	group := v.group
	v.mu.Unlock()
	group.Commit(topic, id, offset)
}

func (v *Verifier) report(rec *event.VerdictRecord) { v.reporter.report(rec) }

func (v *Verifier) evidence(ctx context.Context, source string, oldest int64) (*evidence, error) {
	return v.tracker.evidence(ctx, source, oldest, time.Now())
}

// beat says each second on the status topic how the verifier is.
func (v *Verifier) beat(ctx context.Context) {
	h := topics.Heartbeat{Role: topics.RoleVerifier, Name: v.cfg.Name, Instance: uuid.NewString()}
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		h.Time, h.LastError = time.Now(), ""
		err := v.Ready()
		if h.Ready = err == nil; err != nil && !errors.Is(err, errStarting) {
			h.LastError = err.Error()
		}
		if err := v.producer.PublishHeartbeat(h); err != nil {
			v.deps.Log.Warn("heartbeat", zap.Error(err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			v.producer.RemoveHeartbeat(h.Key())
			flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatEvery)
			_ = v.producer.Flush(flush) // an old heartbeat does no harm
			cancel()
			return
		}
	}
}

// ends says that the process is of no use.
func ends(err error) bool {
	var missing *topics.MissingTopicsError
	var wrong *topics.WrongTopicsError
	var replaced *topics.ReplacedError
	return errors.As(err, &missing) || errors.As(err, &wrong) || errors.As(err, &replaced)
}

// isFinal says that trying again would not help.
func isFinal(err error) bool {
	var gone *topics.TopicGoneError
	var out *topics.OffsetOutOfRangeError
	var unknown *avro.UnknownSchemaError
	return errors.As(err, &gone) || errors.As(err, &out) || errors.As(err, &unknown)
}
