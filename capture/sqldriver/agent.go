package sqldriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/opmux/opmux/internal/admin"
	"github.com/opmux/opmux/internal/agent"
	"github.com/opmux/opmux/internal/config"
)

// ErrClosed is what Err says of an agent that Close has ended.
var ErrClosed = errors.New("sqldriver: the agent was closed")

// Agent is a capture agent inside this program. Its methods may be called by
// several goroutines.
type Agent struct {
	cfg     Config
	door    *door
	metrics *prometheus.Registry
	ready   atomic.Pointer[func() error]
	stop    context.CancelFunc
	closing atomic.Bool
	done    chan struct{}
	err     error // why it has ended; set before done is closed

	dialing sync.Mutex
	dials   *socket // of DialContext, once it was called
}

// Option changes how Start starts an agent.
type Option func(*options)

type options struct{ log *zap.Logger }

// WithLogger has the agent log. Without it nothing is logged anywhere.
func WithLogger(log *zap.Logger) Option { return func(o *options) { o.log = log } }

// Start starts an agent and returns when connections can be made through it: it
// has opened its epoch, and settled what an earlier process of its name left
// open. It waits for Kafka and the primary for as long as ctx lasts; once it has
// returned, ctx means nothing to the agent. The program calls Close before it ends.
func Start(ctx context.Context, cfg *Config, opts ...Option) (*Agent, error) {
	if err := config.CheckEmbedded(cfg); err != nil {
		return nil, err
	}
	o := options{log: zap.NewNop()}
	for _, option := range opts {
		option(&o)
	}
	a := &Agent{cfg: *cfg, metrics: prometheus.NewRegistry(), done: make(chan struct{})}
	var err error
	if a.door, err = newDoor(portOf(cfg.Upstream.Address)); err != nil {
		return nil, err
	}
	var running context.Context
	running, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	go a.run(running, o.log)
	select {
	case <-a.door.opened:
		return a, nil
	case <-a.done:
		return nil, fmt.Errorf("sqldriver: %w", a.err)
	case <-ctx.Done():
		why := cmp.Or(a.Ready(), admin.ErrStarting)
		a.stop()
		<-a.done
		return nil, fmt.Errorf("sqldriver: the agent was not ready in time: %w: %w", ctx.Err(), why)
	}
}

// run is the agent's life; it ends with done.
func (a *Agent) run(ctx context.Context, log *zap.Logger) {
	defer close(a.done)
	err := agent.Run(ctx, &a.cfg, agent.Surroundings{
		Log: log,
		// Agents of one program have metrics of the same names.
		Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"source": a.cfg.Source, "agent": a.cfg.Agent}, a.metrics),
		Ready:   func(ready func() error) { a.ready.Store(&ready) },
		Door:    a.door,
	})
	err = errors.Join(err, a.door.remove())
	if err == nil {
		err = ErrClosed
	}
	a.err = err
}

// Ready returns nil where the agent can capture, and otherwise why not: Kafka
// cannot be reached, for example, or it ends or has ended. Connections wait or
// fail meanwhile, as the gate says.
func (a *Agent) Ready() error {
	if err := a.alive(); err != nil {
		return err
	}
	if ready := a.ready.Load(); ready != nil {
		return (*ready)()
	}
	return admin.ErrStarting
}

// Done is closed when the agent has ended: after Close, or by itself, because it
// was replaced by another process of its name or cannot go on. No connection can
// be made from then on.
func (a *Agent) Done() <-chan struct{} { return a.done }

// Err tells why the agent has ended, ErrClosed after Close; nil while it runs.
func (a *Agent) Err() error {
	select {
	case <-a.done:
		return a.err
	default:
		return nil
	}
}

// Close ends the agent as SIGTERM ends capture-agent: connections outside of a
// transaction end at once, the others when theirs is over, or
// listen.drain_timeout later, and the epoch ends cleanly. When ctx ends before
// that, all connections are cut, Close returns, and Done tells when the agent is
// through. Close may be called twice. Its error is why the agent ended, where
// that was not by Close.
func (a *Agent) Close(ctx context.Context) error {
	a.closing.Store(true)
	a.stop()
	select {
	case <-a.done:
	case <-ctx.Done():
		a.door.hangUp()
		return fmt.Errorf("sqldriver: connections of agent %q were cut, since it was not closed in time: %w", a.cfg.Agent, ctx.Err())
	}
	if errors.Is(a.err, ErrClosed) {
		return nil
	}
	return a.err
}

// Metrics are the agent's for Prometheus (docs/metrics.md), labelled with its
// source and its name, so that those of several agents can be gathered together.
func (a *Agent) Metrics() prometheus.Gatherer { return a.metrics }

// Handler serves what a capture-agent serves on admin.address: /metrics, /healthz
// and /readyz.
func (a *Agent) Handler() http.Handler { return admin.Handler(a.metrics, a.Ready) }

// alive is nil unless connections can no longer be made.
func (a *Agent) alive() error {
	if err := a.Err(); err != nil {
		return a.ended(err)
	}
	if a.closing.Load() {
		return a.ended(ErrClosed)
	}
	return nil
}

func (a *Agent) ended(why error) error {
	return fmt.Errorf("sqldriver: agent %q of source %q has ended, and nothing is written around it: %w", a.cfg.Agent, a.cfg.Source, why)
}
