package order

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/crashpoint"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// Producer appends records and heartbeats; *topics.Producer is one.
type Producer interface {
	Produce(topic string, key, value []byte, headers []topics.Header, done func(offset int64, err error))
	PublishHeartbeat(h topics.Heartbeat) error
	RemoveHeartbeat(key string)
	Up() bool
	LastError() error
	Flush(ctx context.Context) error
	Reset() error
}

// Settler asks the primary; *settle.Server is one.
type Settler interface {
	Identify(ctx context.Context) (settle.Identity, error)
	Settle(ctx context.Context, i settle.Intent) (settle.Verdict, error)
	loser
}

// Deps are the parts that a ledger works with. They outlive it.
type Deps struct {
	Producer Producer
	Topics   topics.Config
	Codec    *avro.Codec
	Settler  Settler
	// DSN is the catalogue login's, for the lock on the primary.
	DSN string
	// Feed is where the topics are read; nil: Kafka, by Topics.
	Feed Feed
	// Lock takes the lock on the primary; nil: over a connection by DSN.
	Lock LockFunc
	// Normalise takes the constants out of a statement, for digests; nil leaves
	// statements out.
	Normalise func(sql string) string
	// Status says whether the agent is ready, and its last error, for heartbeats;
	// nil: ready as long as the ledger is.
	Status func() (ready bool, lastError string)
	// Expected counts the transactions that may come; nil: nobody asks.
	Expected *Expected
	Log      *zap.Logger
	Metrics  *Metrics // nil: none
}

// withDefaults fills what Open's callers leave to it.
func (d Deps) withDefaults() Deps {
	if d.Feed == nil {
		d.Feed = kafka{d.Topics}
	}
	if d.Lock == nil {
		d.Lock = primaryLock(d.DSN)
	}
	return d
}

// Open opens an epoch. It waits for Kafka and the primary only as long as ctx
// allows; an error that is not Permanent may be gone at the next call.
func Open(ctx context.Context, cfg Config, deps Deps) (*Ledger, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l := newLedger(cfg, deps.withDefaults(), func(value []byte, done func(int64, error)) {
		deps.Producer.Produce(deps.Topics.Names().Ops(cfg.Source), []byte(cfg.Source), value, nil, done)
	})
	if err := l.open(ctx); err != nil {
		l.release()
		return nil, fmt.Errorf("opening an epoch of source %s: %w", cfg.Source, err)
	}
	return l, nil
}

func (l *Ledger) open(ctx context.Context) error {
	id, err := l.deps.Settler.Identify(ctx)
	if err != nil {
		return err
	}
	l.setPrimary(id)
	if err := l.takeLock(ctx); err != nil {
		return err
	}
	beats, err := l.deps.Feed.Heartbeats(ctx)
	if err != nil {
		return err
	}
	if err := l.catchUp(ctx, beats); err != nil {
		return err
	}
	if err := l.checkStream(ctx); err != nil {
		return err
	}
	lost, err := l.lostInCrash(ctx, id)
	if err != nil {
		return err
	}
	if err := l.fence(ctx, lost); err != nil {
		return err
	}
	if l.cfg.Gate == GateNone { // no other agent lives: what they were is remembered here
		for key, h := range beats {
			if agentOf(h, l.cfg.Source) && h.Name != l.cfg.Agent {
				l.deps.Producer.RemoveHeartbeat(key)
			}
		}
	}
	l.metrics.epochs.Inc()
	l.log.Info("an epoch is open", zap.Int64("epoch", l.line.epoch), zap.String("gate", l.cfg.Gate))
	return nil
}

// checkStream refuses a primary that is not the one of the stream so far.
func (l *Ledger) checkStream(ctx context.Context) error {
	v := l.follow.view
	if err := v.findPrimary(ctx, l.deps.Feed, l.opsTopic(), l.deps.Codec); err != nil {
		return err
	}
	if v.primary != nil && !samePrimary(*v.primary, l.primary) {
		return &PrimaryChangedError{Have: l.primary, Want: *v.primary}
	}
	return nil
}

func (l *Ledger) setPrimary(id settle.Identity) {
	l.started = id.Started
	l.primary = id.Primary
	l.primary.Started = id.Postmaster
}

// takeLock takes the source's lock on the primary: alone under gate none, whose
// order has one writer (I3), else shared.
func (l *Ledger) takeLock(ctx context.Context) error {
	lock, err := l.deps.Lock(ctx, l.cfg.Source, l.cfg.Gate != GateNone)
	if errors.Is(err, settle.ErrLocked) {
		return &SecondAgentError{Source: l.cfg.Source, Gate: l.cfg.Gate}
	}
	if err != nil {
		return err
	}
	l.lockMu.Lock()
	l.lock = lock
	l.lockMu.Unlock()
	return nil
}

func agentOf(h topics.Heartbeat, source string) bool {
	return h.Role == topics.RoleAgent && h.Source == source
}

// catchUp reads what the source's topic and the heartbeats say up to now.
func (l *Ledger) catchUp(ctx context.Context, beats map[string]topics.Heartbeat) error {
	from := int64(0)
	for _, h := range beats {
		if agentOf(h, l.cfg.Source) {
			from = max(from, h.ScanFrom)
		}
	}
	v := newView(from)
	l.follow.view = v
	for _, h := range beats {
		if agentOf(h, l.cfg.Source) {
			l.inherit(v, h)
		}
	}
	names := l.deps.Topics.Names()
	var err error
	if l.readers.status, err = l.deps.Feed.Open(ctx, names.Status(), topics.Latest); err != nil {
		return err
	}
	if l.readers.ops, err = l.deps.Feed.Open(ctx, names.Ops(l.cfg.Source), from); err != nil {
		return err
	}
	end, err := l.readers.ops.End(ctx)
	if err != nil {
		return err
	}
	if from > end {
		return fmt.Errorf("heartbeats know topic %s up to offset %d, and it ends at %d: it was made anew or has lost records; begin a new stream under another kafka.prefix",
			names.Ops(l.cfg.Source), from, end)
	}
	for v.pos < end {
		m, err := l.readers.ops.Next(ctx)
		if err != nil {
			return err
		}
		if err := l.read(m); err != nil {
			return err
		}
	}
	return nil
}

// inherit takes from a heartbeat what is remembered there alone.
func (l *Ledger) inherit(v *view, h topics.Heartbeat) {
	for _, d := range h.Diverged {
		l.follow.diverged = addDiverged(l.follow.diverged, d)
	}
	for _, ref := range h.Suspect {
		v.suspect[ref] = true
	}
	if h.Epoch == noEpoch {
		return
	}
	e := v.epochOf(event.EpochRef{Agent: h.Name, Epoch: h.Epoch})
	e.gate = h.Gate
}

// fence opens the epoch: it ends the agent's former ones, under gate none those of
// every agent, since the lock says that none lives. Those of gate none that were
// not closed may have lost their tail (I1), and the primary has lost that of those
// in lost.
func (l *Ledger) fence(ctx context.Context, lost []event.EpochRef) error {
	v := l.follow.view
	f := l.newFence(l.cfg.Gate)
	f.Suspect = lost
	for _, e := range v.epochs {
		own := e.Agent == l.cfg.Agent
		if e.clean || e.ended && !own || !own && l.cfg.Gate != GateNone {
			continue
		}
		gate, err := l.gateOf(ctx, e)
		if err != nil {
			return err
		}
		f.Ended = append(f.Ended, e.EpochRef)
		if gate == GateNone && !slices.Contains(f.Suspect, e.EpochRef) {
			f.Suspect = append(f.Suspect, e.EpochRef)
			l.log.Error("an epoch under gate none was not closed: its last transactions may be lost, the source is suspect",
				zap.String("agent", e.Agent), zap.Int64("epoch", e.Epoch))
		}
	}
	sortEpochs(f.Ended)
	sortEpochs(f.Suspect)
	if err := l.writeFence(ctx, f); err != nil {
		return err
	}
	for _, ref := range f.Suspect {
		v.suspect[ref] = true
	}
	return nil
}

// newFence is a FENCE on the present start of the primary.
func (l *Ledger) newFence(gate string) *event.Fence {
	f := &event.Fence{Instance: l.instance, Gate: gate, LowestReader: event.ReaderVersion, Primary: l.primary, RecoveryLSN: l.recovery}
	f.Primary.Started = l.started
	return f
}

// writeFence writes the opening FENCE, whose offset becomes the epoch's number.
func (l *Ledger) writeFence(ctx context.Context, f *event.Fence) error {
	value, err := l.deps.Codec.EncodeRecord(&event.Record{Agent: l.cfg.Agent, Body: f})
	if err != nil {
		return err
	}
	crashpoint.At(crashpoint.FenceBefore)
	acked := make(chan error, 1)
	var epoch int64 // written before acked is
	l.line.produce(value, func(offset int64, err error) {
		epoch = offset
		acked <- err
	})
	select {
	case err = <-acked:
		if err != nil { // refused for good, as would be every later record until then
			err = errors.Join(err, l.deps.Producer.Reset())
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("writing the FENCE: %w", err)
	}
	crashpoint.At(crashpoint.FenceAfter)
	l.line.start(epoch, value)
	l.opened = true
	return nil
}

// gateOf returns an epoch's gate, from its FENCE where nothing else tells.
func (l *Ledger) gateOf(ctx context.Context, e *epoch) (string, error) {
	if e.fence == nil && e.gate == "" {
		var err error
		if e.fence, err = l.fenceAt(ctx, e.EpochRef); err != nil {
			return "", err
		}
	}
	return e.gateKnown(), nil
}
