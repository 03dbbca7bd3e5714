package order

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// maxDiverged bounds the divergences that heartbeats carry; a table is named once.
const maxDiverged = 1000

// Diverge remembers, for heartbeats, that no target can follow these tables from
// here on. The operations that say so to the targets travel in transactions.
func (l *Ledger) Diverge(tables []string, reason, statement string) {
	f := &l.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, table := range tables {
		f.diverged = addDiverged(f.diverged, topics.Diverged{Table: table, Reason: reason, Statement: statement, Offset: f.view.pos})
	}
}

func addDiverged(list []topics.Diverged, d topics.Diverged) []topics.Diverged {
	for _, known := range list {
		if known.Table == d.Table {
			return list
		}
	}
	if len(list) == maxDiverged {
		return list
	}
	return append(list, d)
}

// enderPrefix begins the agent names of epochs that do nothing but end others.
const enderPrefix = "ender-"

// beats publishes a heartbeat each Beat and ends epochs that have none.
func (l *Ledger) beats(ctx context.Context) error {
	ticker := time.NewTicker(l.cfg.Beat)
	defer ticker.Stop()
	for {
		l.beat(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		l.endSilent()
	}
}

// noEpoch is the Epoch of the last heartbeat of an agent that has closed its epoch.
const noEpoch = -1

func (l *Ledger) beat(ctx context.Context) {
	h := topics.Heartbeat{Role: topics.RoleAgent, Source: l.cfg.Source, Name: l.cfg.Agent,
		Instance: fmt.Sprintf("%x", l.instance), Epoch: l.line.epoch, N: l.High(), Gate: l.cfg.Gate, Time: time.Now().UTC(),
		InDoubt: l.settling.doubts()}
	h.Ready, h.LastError = l.ready()
	f := &l.follow
	f.mu.Lock()
	h.ScanFrom, h.Open = f.view.scanFrom(), len(f.view.open)
	h.Diverged = append(h.Diverged, f.diverged...)
	for ref := range f.view.suspect {
		h.Suspect = append(h.Suspect, ref)
	}
	f.mu.Unlock()
	if at := l.closedAt.Load(); at > 0 {
		// Whoever opens next finds the clean FENCE there, and the primary that it names.
		h.Epoch, h.ScanFrom = noEpoch, min(h.ScanFrom, at)
	}
	if l.unclean.Load() && l.cfg.Gate == GateNone {
		h.Suspect = append(h.Suspect, event.EpochRef{Agent: l.cfg.Agent, Epoch: l.line.epoch})
	}
	sortEpochs(h.Suspect)
	l.metrics.open.Set(float64(h.Open))
	l.metrics.inDoubt.Set(float64(len(h.InDoubt)))
	l.metrics.bytes.Set(float64(l.line.bytes.Load()))
	if err := l.deps.Producer.PublishHeartbeat(h); err != nil && ctx.Err() == nil {
		l.log.Warn("the heartbeat could not be published", zap.Error(err))
	}
}

// ready is what heartbeats say of the agent.
func (l *Ledger) ready() (bool, string) {
	if err := l.Err(); err != nil {
		return false, err.Error()
	}
	if err := l.deps.Producer.LastError(); err != nil {
		return false, err.Error()
	}
	if l.deps.Status != nil {
		return l.deps.Status()
	}
	return !l.draining.Load(), ""
}

// endSilent ends epochs that have an open intent and were not heard of for too long.
func (l *Ledger) endSilent() {
	f := &l.follow
	f.mu.Lock()
	var silent []event.EpochRef
	for _, e := range f.view.unended(l.cfg.Agent) {
		if e.open > 0 && f.silence.of(e.EpochRef) >= int64(l.cfg.SilentBeats) {
			silent = append(silent, e.EpochRef)
		}
	}
	f.silence.keep(func(ref event.EpochRef) bool { return f.view.epochs[ref] != nil })
	f.mu.Unlock()
	if len(silent) == 0 || l.Err() != nil {
		return
	}
	for _, ref := range silent {
		l.settling.first(ref)
		f.mu.Lock()
		f.silence.heard(ref) // the FENCE is read back before it is silent again
		f.mu.Unlock()
		l.log.Warn("an epoch with open intents is silent and ends", zap.String("agent", ref.Agent), zap.Int64("epoch", ref.Epoch))
	}
	if err := l.writeEnd(silent); err != nil {
		l.log.Error("a silent epoch could not be ended", zap.Error(err))
	}
}

// writeEnd ends epochs of others by the FENCE of a short epoch of its own: a FENCE
// opens or closes its writer's epoch, and this agent's goes on.
func (l *Ledger) writeEnd(silent []event.EpochRef) error {
	name := enderPrefix + l.cfg.Agent + "-" + uuid.NewString()
	f := l.newFence(GateRecorded)
	f.Ended = silent
	open, err := l.deps.Codec.EncodeRecord(&event.Record{Agent: name, Body: f})
	if err != nil {
		return err
	}
	l.line.produce(open, func(offset int64, err error) {
		if err != nil {
			return // the topic takes nothing more; this agent's own records say so as well
		}
		f := l.newFence(GateRecorded)
		f.Clean = true
		shut, err := l.deps.Codec.EncodeRecord(&event.Record{Agent: name, Epoch: offset, N: 1, Prev: avro.Hash(open), Body: f})
		if err == nil {
			l.line.produce(shut, func(int64, error) {}) // unclosed it is an epoch without intents, which nobody asks for
		}
	})
	return nil
}

// watchPrimary ends the epoch when the primary has started anew or is another
// one. It asks from a goroutine of its own: a primary that does not answer must
// not make this agent look dead.
func (l *Ledger) watchPrimary(ctx context.Context) error {
	ticker := time.NewTicker(l.cfg.Beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		id, err := l.deps.Settler.Identify(ctx)
		if err != nil {
			continue // it is away: sessions notice by themselves, and there is nothing to record yet
		}
		l.checkPrimary(id)
	}
}

func (l *Ledger) checkPrimary(id settle.Identity) {
	switch {
	case !samePrimary(id.Primary, l.primary):
		l.end(&PrimaryChangedError{Have: id.Primary, Want: l.primary})
	case id.Started != l.started:
		l.end(ErrRestarted)
	}
}

func samePrimary(a, b event.Primary) bool {
	return a.Make == b.Make && a.SystemID == b.SystemID && a.Timeline == b.Timeline && a.Database == b.Database
}
