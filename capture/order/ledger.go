// Package order gives every transaction of an agent its place, and makes sure
// that its fate is known.
//
// A Ledger is one epoch of one agent on the ops topic of its source: it numbers
// and chains the records (line), takes tickets before COMMIT is forwarded and
// grants them when the gate allows it (Ticket), tells how intents ended
// (outcomes), follows the topic and the other agents' heartbeats (view, silence),
// ends epochs that fell silent, and settles open intents of ended epochs at the
// primary (package settle). It knows nothing of SQL or of the wire.
package order

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/opmux/opmux/event"
)

// Ledger is one open epoch. Its methods are safe for concurrent use.
type Ledger struct {
	cfg     Config
	deps    Deps
	log     *zap.Logger
	metrics *Metrics

	instance [16]byte
	primary  event.Primary // of the whole epoch
	line     line
	outcomes outcomes
	digests  digestBook
	follow   follower
	settling settling

	draining atomic.Bool
	ended    chan struct{} // closed when the epoch is over
	endMu    sync.Mutex
	endErr   error // guarded by endMu
	unclean  atomic.Bool
	closedAt atomic.Int64 // offset of the clean FENCE; 0 without one

	outMu   sync.Mutex
	out     int           // tickets without an end
	drained chan struct{} // closed when draining and out is 0; nil while nobody waits

	closeMu  sync.Mutex
	closed   bool
	closeErr error

	opened  bool // the FENCE is written; set before Run
	quiet   bool // without heartbeats: an operator's
	readers readers
	started int64 // since when the primary runs: Identity.Started
	// recovery is where the primary's recovery at that start ended, 0 if unknown.
	recovery uint64
	lockMu   sync.Mutex
	lock     Lock // nil in tests of the pure parts
	runMu    sync.Mutex
	runOver  chan struct{} // closed at the end of Run; nil where it was not called
}

// newLedger makes the parts that need neither Kafka nor a primary; produce hands
// a value of the ops topic to the producer.
func newLedger(cfg Config, deps Deps, produce func([]byte, func(int64, error))) *Ledger {
	l := &Ledger{cfg: cfg, deps: deps, log: deps.Log, metrics: deps.Metrics, ended: make(chan struct{})}
	if l.log == nil {
		l.log = zap.NewNop()
	}
	if l.metrics == nil {
		l.metrics = NewMetrics(nil)
	}
	if l.deps.Expected == nil {
		l.deps.Expected = &Expected{}
	}
	l.instance = uuid.New()
	l.line.agent, l.line.encode, l.line.produce = cfg.Agent, deps.Codec.EncodeRecord, produce
	l.line.broken = func(err error) {
		l.unclean.Store(true)
		l.end(fmt.Errorf("the epoch's chain is broken: %w", err))
	}
	l.outcomes.init(l)
	l.digests.init(deps.Normalise)
	l.follow.init(cfg)
	l.settling.init()
	return l
}

// Epoch is the offset of the FENCE that opened the epoch.
func (l *Ledger) Epoch() int64 { return l.line.epoch }

// Primary is the server that the epoch's transactions run on. A session whose
// connection leads elsewhere, or to a later start of it, must not write.
func (l *Ledger) Primary() event.Primary { return l.primary }

// High is the highest n taken so far: a transaction whose last response has just
// arrived depends on no record of this epoch above it.
func (l *Ledger) High() int64 { return l.line.high.Load() }

// Admit is asked before the first write of a transaction, so that locks are not
// held while Kafka cannot be reached: nil or *RefusedError.
func (l *Ledger) Admit() error {
	if err := l.refuse(); err != nil {
		return err
	}
	if l.draining.Load() {
		return &RefusedError{Reason: "the agent is shutting down"}
	}
	if l.cfg.Gate == GateRecorded && !l.deps.Producer.Up() {
		return &RefusedError{Reason: "Kafka cannot be reached", Err: l.deps.Producer.LastError()}
	}
	if l.line.bytes.Load() > l.cfg.BufferBytes { // I7
		return &RefusedError{Reason: fmt.Sprintf("more than %d bytes wait for Kafka", l.cfg.BufferBytes)}
	}
	return nil
}

// refuse returns *RefusedError where nothing more may be taken.
func (l *Ledger) refuse() error {
	if l.Err() != nil {
		return l.refuseEnded()
	}
	return nil
}

func (l *Ledger) refuseEnded() *RefusedError {
	return &RefusedError{Reason: "the agent's epoch has ended", Err: l.Err()}
}

// enter counts a ticket that is being taken.
func (l *Ledger) enter() error {
	if err := l.refuse(); err != nil {
		return err
	}
	if l.line.bytes.Load() > l.cfg.BufferBytes+l.cfg.BufferBytes/4 { // I7: admitted before the buffer was full
		return &RefusedError{Reason: fmt.Sprintf("more than %d bytes wait for Kafka", l.cfg.BufferBytes)}
	}
	l.outMu.Lock()
	defer l.outMu.Unlock()
	if l.drained != nil && l.out == 0 {
		return &RefusedError{Reason: "the agent is shutting down"}
	}
	l.out++
	return nil
}

// leave counts a ticket that has ended.
func (l *Ledger) leave() {
	l.outMu.Lock()
	defer l.outMu.Unlock()
	l.out--
	if l.out == 0 && l.drained != nil {
		close(l.drained)
	}
}

// conclude tells how a ticket ended.
func (l *Ledger) conclude(t *Ticket, committed bool) {
	defer l.leave()
	if l.cfg.Gate != GateNone {
		l.outcomes.add(t, committed, "")
		return
	}
	acknowledged := func(n, offset int64, err error) {
		l.acknowledged(n, offset, err)
		if err == nil {
			l.publishDigest(t.tx, offset)
		}
		t.told()
	}
	switch {
	case committed && t.tx.Standalone:
		if _, err := l.line.put(t.tx, 0, acknowledged); err != nil {
			l.line.fail(err) // it ran, and is not in the stream
			t.told()
		}
	case committed:
		l.line.fill(t.N, t.tx, acknowledged)
	case t.tx.Standalone:
		l.digests.take(t.tx.ID)
		t.told()
	default:
		l.digests.take(t.tx.ID)
		l.line.fill(t.N, &event.Void{}, l.acknowledged)
	}
}

// acknowledged takes the offset of a record of this epoch that opens no intent.
func (l *Ledger) acknowledged(_, offset int64, err error) {
	if err == nil {
		l.own(offset, ownRecord{})
	}
}

// Marks publishes sequence marks that no transaction carries, as after a rollback:
// sequences have moved all the same. It does not wait for Kafka.
func (l *Ledger) Marks(_ context.Context, ops []event.Operation) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("order: %w", err)
	}
	if err := l.refuse(); err != nil {
		return err
	}
	tx := &event.Transaction{ID: event.TxID(id), DependsOn: l.High(), FirstChunk: -1, Operations: ops}
	if _, err := l.line.put(tx, l.cfg.RecordBytes, l.acknowledged); err != nil {
		return &RefusedError{Reason: "sequence marks cannot be recorded", Err: err}
	}
	return nil
}

// Done is closed when the epoch is over; Err then says why. Sessions must be
// closed, then the ledger, and another one opened unless Permanent(Err()).
func (l *Ledger) Done() <-chan struct{} { return l.ended }

// Err returns why the epoch is over, nil while it is not.
func (l *Ledger) Err() error {
	select {
	case <-l.ended:
		l.endMu.Lock()
		defer l.endMu.Unlock()
		return l.endErr
	default:
		return nil
	}
}

// end ends the epoch for this process: nothing more is granted. Outcomes of what
// was granted before are still written.
func (l *Ledger) end(err error) {
	l.endMu.Lock()
	defer l.endMu.Unlock()
	if l.endErr != nil {
		return
	}
	l.endErr = err
	close(l.ended)
}
