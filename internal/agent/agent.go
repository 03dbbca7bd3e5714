// Package agent wires the parts of the capture agent and keeps them going: the
// catalogue and the producer for its whole life, an epoch of the ledger for as
// long as it lasts, and the listener once everything is there.
package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// retryPause is the time between attempts to reach Kafka or the primary.
const retryPause = time.Second

// What nobody waits for may gather, so that many transactions share a request:
// what the agent reads of the stream that it writes itself, and digests, which
// wait for those of the backup anyway.
const (
	followPause = 10 * time.Millisecond
	digestPause = 20 * time.Millisecond
	// Under gate none no client waits for its record. What a crash of the host can
	// lose grows by that much.
	recordPause = 5 * time.Millisecond
)

// severalCommits is how many other transactions must have written and not ended for a
// commit to wait for theirs: one or two would come later than the request takes.
const severalCommits = 3

// agent is a running capture agent.
type agent struct {
	cfg      *config.Agent
	log      *zap.Logger
	door     Door
	topics   topics.Config
	codec    *avro.Codec
	producer *topics.Producer
	settler  *settle.Server
	catalog  *catalog.Catalog
	prepared *prepared.Store
	listener *session.Listener
	metrics  *order.Metrics
	sessions *session.Metrics

	normaliser classify.Normaliser

	expected order.Expected
	ledger   atomic.Pointer[order.Ledger]
	state    atomic.Pointer[string] // why it is not ready, nil when it is
}

// Run runs a capture agent until ctx ends.
func Run(ctx context.Context, cfg *config.Agent, in Surroundings) error {
	a := &agent{cfg: cfg, log: in.Log, door: in.Door, metrics: order.NewMetrics(in.Metrics), sessions: session.NewMetrics(in.Metrics)}
	a.unready("starting")
	in.Ready(a.ready)
	defer a.disconnect()
	if err := a.connect(ctx); err != nil {
		return err
	}
	ln, err := a.listen(ctx)
	if err != nil {
		return err
	}
	return a.serve(ctx, ln)
}

// unready notes why the agent is not ready; "" says that it is.
func (a *agent) unready(why string) {
	if why == "" {
		a.state.Store(nil)
		return
	}
	a.state.Store(&why)
}

// ready is what /readyz asks.
func (a *agent) ready() error {
	if why := a.state.Load(); why != nil {
		return errors.New(*why)
	}
	if err := a.producer.LastError(); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	return nil
}

// connect opens what lives as long as the agent, waiting for what is away.
func (a *agent) connect(ctx context.Context) (err error) {
	if a.topics, err = a.cfg.Topics(); err != nil {
		return err
	}
	a.topics.FetchPause = followPause
	if a.producer, err = topics.NewProducer(ctx, a.topics); err != nil {
		return err
	}
	a.producer.Gather(a.topics.Names().Digests(a.cfg.Source), topics.Gathering{AtMost: digestPause})
	ops := a.topics.Names().Ops(a.cfg.Source)
	a.producer.Gather(ops, a.gathering())
	a.producer.BeforeSending(ops, a.accompany)
	if a.settler, err = settle.Open(a.cfg.Catalog.DSN); err != nil {
		return err
	}
	if err := a.keepTrying(ctx, "topics", a.requireTopics); err != nil {
		return err
	}
	if err := a.keepTrying(ctx, "schema registry", func(ctx context.Context) (err error) {
		a.codec, err = a.cfg.Kafka.Codec(ctx)
		return err
	}); err != nil {
		return err
	}
	return a.keepTrying(ctx, "catalogue of the primary", func(ctx context.Context) (err error) {
		a.catalog, err = catalog.Open(ctx, catalog.Config{DSN: a.cfg.Catalog.DSN, Log: a.log, Triggers: a.cfg.Capture.Triggers,
			OnRestart: func(event.Primary) { a.log.Warn("the primary has started anew") }})
		return err
	})
}

// gathering is how records of the ops topic share requests. Under gate none nobody
// waits for them; else a commit waits a little for those of other transactions.
func (a *agent) gathering() topics.Gathering {
	if a.cfg.Gate.Mode == order.GateNone {
		return topics.Gathering{AtMost: recordPause}
	}
	return topics.Gathering{AtMost: a.cfg.Gate.Gather, Several: severalCommits, Expected: &a.expected}
}

// accompany adds the outcomes that wait to what is about to be sent.
func (a *agent) accompany() {
	if l := a.ledger.Load(); l != nil {
		l.Accompany()
	}
}

// disconnect closes what connect has opened, if only some: a program that has the
// agent in it goes on.
func (a *agent) disconnect() {
	var errs []error
	if a.catalog != nil {
		errs = append(errs, a.catalog.Close())
	}
	if a.settler != nil {
		errs = append(errs, a.settler.Close())
	}
	if a.producer != nil {
		errs = append(errs, a.producer.Close())
	}
	if err := errors.Join(errs...); err != nil {
		a.log.Debug("closing", zap.Error(err))
	}
}

// requireTopics checks that the topics exist with the settings that they need.
func (a *agent) requireTopics(ctx context.Context) error {
	problems, err := topics.Require(ctx, a.topics, topics.Want{Sources: []string{a.cfg.Source}, Config: a.cfg.Path})
	for _, p := range problems {
		if !p.Fatal {
			a.log.Warn("topic setting", zap.String("topic", p.Topic), zap.String("setting", p.Setting),
				zap.String("have", p.Have), zap.String("want", p.Want))
		}
	}
	return err
}

// keepTrying runs an attempt until it succeeds, ctx ends, or it fails for good.
func (a *agent) keepTrying(ctx context.Context, what string, attempt func(context.Context) error) error {
	last := ""
	for {
		err := attempt(ctx)
		if err == nil || permanent(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.unready(what + ": " + err.Error())
		if err.Error() != last {
			last = err.Error()
			a.log.Warn("waiting for "+what, zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

// permanent tells errors that trying again cannot mend.
func permanent(err error) bool {
	var missing *topics.MissingTopicsError
	var wrong *topics.WrongTopicsError
	return errors.As(err, &missing) || errors.As(err, &wrong) || order.Permanent(err)
}

// listen opens the first epoch and then the door, in this order: clients that
// could not be served are not kept waiting.
func (a *agent) listen(ctx context.Context) (net.Listener, error) {
	if err := a.buildListener(); err != nil {
		return nil, err
	}
	if err := a.door.Free(ctx); err != nil {
		return nil, err
	}
	if err := a.keepTrying(ctx, "epoch", a.openEpoch); err != nil {
		return nil, err
	}
	ln, err := a.door.Open(ctx)
	if err != nil {
		return nil, errors.Join(err, a.ledger.Load().Close(ctx))
	}
	a.log.Info("listening", zap.String("address", ln.Addr().String()), zap.String("source", a.cfg.Source),
		zap.String("agent", a.cfg.Agent), zap.String("gate", a.cfg.Gate.Mode))
	return ln, nil
}

func (a *agent) buildListener() error {
	cfg, deps, err := sessionParts(a.cfg)
	if err != nil {
		return err
	}
	deps.Classifier, deps.Catalog = Classifier(a.cfg, a.catalog), a.catalog
	a.prepared = prepared.New(a.catalog.Prepared(), a.log)
	deps.Prepared = a.prepared
	deps.Ledger, deps.Log, deps.Metrics = a.ledger.Load, a.log, a.sessions
	a.listener = session.NewListener(cfg, deps, sessionLimits(a.cfg))
	return nil
}

// openEpoch opens an epoch of the ledger.
func (a *agent) openEpoch(ctx context.Context) error {
	l, err := order.Open(ctx, order.Config{
		Source: a.cfg.Source, Agent: a.cfg.Agent, Gate: a.cfg.Gate.Mode, Timeout: a.cfg.Gate.Timeout,
		BufferBytes: int64(a.cfg.Capture.Buffer), RecordBytes: a.producer.MaxRecordBytes(), Level: event.Level(a.cfg.Digest.Level),
	}, order.Deps{
		Producer: a.producer, Topics: a.topics, Codec: a.codec, Settler: a.settler, DSN: a.cfg.Catalog.DSN,
		Normalise: a.normaliser.Normalise, Log: a.log, Metrics: a.metrics, Expected: &a.expected,
		Status: func() (bool, string) {
			if err := a.ready(); err != nil {
				return false, err.Error()
			}
			return true, ""
		},
	})
	if err != nil {
		return err
	}
	if err := a.prepared.Open(ctx); err != nil {
		return errors.Join(err, l.Close(ctx))
	}
	a.ledger.Store(l)
	a.unready("")
	return nil
}

// serve runs the listener and the catalogue beside one epoch after another.
func (a *agent) serve(ctx context.Context, ln net.Listener) error {
	g, gctx := errgroup.WithContext(ctx)
	ledgers, stopLedgers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLedgers()
	g.Go(func() error { return a.catalog.Run(gctx) })
	g.Go(func() error {
		defer stopLedgers()
		err := a.listener.Run(gctx, ln)
		return errors.Join(err, a.closeEpoch())
	})
	g.Go(func() error { return a.epochs(gctx, ledgers) })
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// closeEpoch writes a clean FENCE, once sessions have ended.
func (a *agent) closeEpoch() error {
	a.unready("stopping")
	l := a.ledger.Load()
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.Listen.DrainTimeout)
	defer cancel()
	return l.Close(ctx)
}

// epochs runs the current epoch; when it ends by itself, sessions are closed and
// another is opened.
func (a *agent) epochs(ctx, ledgers context.Context) error {
	for {
		l := a.ledger.Load()
		err := l.Run(ledgers)
		if ctx.Err() != nil || ledgers.Err() != nil {
			return nil //nolint:nilerr // the agent is stopping, and closeEpoch tells what went wrong
		}
		a.unready("the epoch has ended")
		a.ledger.Store(nil)
		a.listener.CloseSessions()
		if err != nil && permanent(err) {
			return err
		}
		a.log.Warn("epoch ended; another one is opened", zap.Error(err))
		a.endEpoch(ctx, l)
		if err := a.keepTrying(ctx, "epoch", a.openEpoch); err != nil {
			return err
		}
	}
}

// endEpoch closes an epoch that has ended by itself. Under gate none what is
// still on its way is committed and recorded nowhere else, so it is waited for
// without a bound; under recorded the next epoch settles what is open.
func (a *agent) endEpoch(ctx context.Context, l *order.Ledger) {
	if a.cfg.Gate.Mode != order.GateNone {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.cfg.Gate.Timeout)
		defer cancel()
	}
	if err := l.Close(ctx); err != nil {
		a.log.Info("an ended epoch was not closed cleanly", zap.Error(err))
	}
}
