package order

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

const (
	// settleAfter is what agents that did not end an epoch leave to the one that did.
	settleAfter = 2 * time.Second
	// pendingEvery and doubtEvery are the times between attempts.
	pendingEvery = 100 * time.Millisecond
	doubtEvery   = 5 * time.Second
	// doubtAfter is how long an intent may be in progress before it is listed.
	doubtAfter = 5 * time.Second
	// byRedrawn is Outcome.By of an intent whose transaction id a later one has.
	byRedrawn = "id drawn again"
)

// settling asks the primary how transactions ended that nobody can tell of: the
// agent's own, whose connection was lost during COMMIT, and the open intents of
// ended epochs.
type settling struct {
	wakeup chan struct{} // capacity 1

	mu       sync.Mutex
	unknown  map[event.Ref]*Ticket
	attempts map[event.Ref]*attempt
	mine     map[event.EpochRef]bool // epochs that this agent has ended
}

// attempt is how far the settling of one intent is.
type attempt struct {
	offset int64
	xid    uint64
	since  time.Time
	next   time.Time
	done   bool // the outcome is written
	reason string
	doubt  bool
}

func (s *settling) init() {
	s.wakeup = make(chan struct{}, 1)
	s.unknown = map[event.Ref]*Ticket{}
	s.attempts = map[event.Ref]*attempt{}
	s.mine = map[event.EpochRef]bool{}
}

func (s *settling) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// first notes that this agent ends an epoch and settles its intents without delay.
func (s *settling) first(ref event.EpochRef) {
	s.mu.Lock()
	s.mine[ref] = true
	s.mu.Unlock()
}

// doubts lists what could not be settled so far.
func (s *settling) doubts() []topics.InDoubt {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []topics.InDoubt
	for ref, a := range s.attempts {
		if a.done || a.reason == "" || !a.doubt && time.Since(a.since) < doubtAfter {
			continue
		}
		list = append(list, topics.InDoubt{Agent: ref.Agent, Epoch: ref.Epoch, N: ref.N, Offset: a.offset,
			XID: a.xid, Since: a.since.UTC(), Reason: a.reason})
	}
	sortDoubts(list)
	return list
}

// asking tells whether the end of one of the epoch's own tickets is being found out,
// with hope.
func (s *settling) asking() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref := range s.unknown {
		if a := s.attempts[ref]; a == nil || !a.doubt {
			return true
		}
	}
	return false
}

// settleOwn hands a ticket of this epoch over to be settled. Under gate none its
// place stays empty until then, and with it all that follows.
func (l *Ledger) settleOwn(t *Ticket) {
	if t.tx.Standalone && l.cfg.Gate == GateNone {
		l.lose(t, "a command outside of transactions has no id to settle it by")
		return
	}
	t.told() // nothing will settle a standalone command but an operator
	ref := event.Ref{Agent: l.cfg.Agent, Epoch: l.line.epoch, N: t.N}
	l.settling.mu.Lock()
	l.settling.unknown[ref] = t
	l.settling.mu.Unlock()
	if l.cfg.Gate != GateNone {
		l.leave() // whatever becomes of it, the record is in the topic
	}
	l.settling.wake()
}

// settleLoop settles until ctx is done.
func (l *Ledger) settleLoop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.settling.wakeup:
		case <-timer.C:
		}
		timer.Reset(l.settleDue(ctx))
	}
}

// question is one intent that is due.
type question struct {
	ref    event.Ref
	offset int64
	intent settle.Intent
	ticket *Ticket // of this epoch; nil for others
	// redrawn: its transaction id is another's by now.
	redrawn bool
}

// settleDue makes one attempt at everything that is due, and returns when to come
// again.
func (l *Ledger) settleDue(ctx context.Context) time.Duration {
	wait := time.Second
	for _, q := range l.due(time.Now()) {
		next, err := l.settleOne(ctx, q)
		wait = min(wait, next)
		if err != nil {
			l.log.Warn("an intent could not be settled yet", zap.Int64("offset", q.offset), zap.Error(err))
			break // the others would meet the same
		}
	}
	return wait
}

// due lists what is to be asked now, and forgets attempts at what has an outcome.
func (l *Ledger) due(now time.Time) []question {
	f, s := &l.follow, &l.settling
	f.mu.Lock()
	defer f.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []question
	recoveries, ends := f.view.recoveredAfter(), f.view.timelineEnds()
	for ref, t := range s.unknown {
		if _, known := f.view.resolved[ref]; known {
			delete(s.unknown, ref) // another agent, or an operator, was first
			delete(s.attempts, ref)
			continue
		}
		if s.attempt(ref, t.place(), t.tx.Postgres.XID, now, 0) {
			list = append(list, question{ref: ref, offset: t.place(), ticket: t,
				intent: settle.Intent{ID: t.tx.ID, Tx: t.tx.Postgres, Primary: l.primary, Recoveries: recoveries, Ends: ends}})
		}
	}
	for _, i := range f.view.abandoned() {
		ref := event.EpochRef{Agent: i.Agent, Epoch: i.Epoch}
		delay := settleAfter
		if s.mine[ref] || i.Agent == l.cfg.Agent {
			delay = 0
		}
		if s.unknown[i.Ref] == nil && s.attempt(i.Ref, i.offset, i.tx.XID, now, delay) {
			q := question{ref: i.Ref, offset: i.offset, redrawn: i.redrawn, intent: settle.Intent{ID: i.id, Tx: i.tx, Recoveries: recoveries, Ends: ends}}
			if e := f.view.epochs[ref]; e.fence != nil {
				q.intent.Primary = e.fence.Primary
			}
			list = append(list, q)
		}
	}
	for ref := range s.attempts {
		if f.view.open[ref] == nil && s.unknown[ref] == nil {
			delete(s.attempts, ref)
		}
	}
	for ref := range s.mine {
		if f.view.epochs[ref] == nil {
			delete(s.mine, ref)
		}
	}
	return list
}

// attempt tells whether an intent is to be asked for now. Callers hold mu.
func (s *settling) attempt(ref event.Ref, offset int64, xid uint64, now time.Time, delay time.Duration) bool {
	a := s.attempts[ref]
	if a == nil {
		a = &attempt{offset: offset, xid: xid, since: now, next: now.Add(delay)}
		s.attempts[ref] = a
	}
	return !a.done && !now.Before(a.next)
}

// settleOne asks for one intent and returns when to come again. An error means that
// nobody could be asked.
func (l *Ledger) settleOne(ctx context.Context, q question) (time.Duration, error) {
	v, err := l.ask(ctx, q)
	l.settling.mu.Lock()
	a := l.settling.attempts[q.ref]
	wait := doubtEvery
	switch {
	case a == nil: // it has an outcome by now
	case err != nil:
		wait = time.Second
		a.next = time.Now().Add(wait)
	case v.State == settle.Committed, v.State == settle.Aborted:
		a.done = true
	default:
		if a.doubt = v.State == settle.InDoubt; !a.doubt {
			wait = pendingEvery
		}
		a.reason, a.next = v.Reason, time.Now().Add(wait)
	}
	l.settling.mu.Unlock()
	switch {
	case err != nil:
	case v.State == settle.Committed, v.State == settle.Aborted:
		l.settled(ctx, q, v)
	case v.State == settle.InDoubt && q.ticket != nil && l.cfg.Gate == GateNone:
		l.settling.mu.Lock()
		delete(l.settling.unknown, q.ref)
		delete(l.settling.attempts, q.ref)
		l.settling.mu.Unlock()
		l.lose(q.ticket, v.Reason)
	}
	return wait, err
}

// ask puts the question to the primary, with the identity of the server that the
// intent ran on, which may have to be read from the topic first.
func (l *Ledger) ask(ctx context.Context, q question) (settle.Verdict, error) {
	if q.redrawn {
		return settle.Verdict{State: settle.Aborted, By: byRedrawn}, nil
	}
	if q.intent.Primary == (event.Primary{}) {
		fence, err := l.fenceAt(ctx, event.EpochRef{Agent: q.ref.Agent, Epoch: q.ref.Epoch})
		if err != nil {
			return settle.Verdict{}, err
		}
		q.intent.Primary = fence.Primary
		l.follow.mu.Lock()
		if e := l.follow.view.epochs[event.EpochRef{Agent: q.ref.Agent, Epoch: q.ref.Epoch}]; e != nil {
			e.fence = fence
		}
		l.follow.mu.Unlock()
	}
	return l.deps.Settler.Settle(ctx, q.intent)
}

// fenceAt reads the FENCE that opened an epoch.
func (l *Ledger) fenceAt(ctx context.Context, ref event.EpochRef) (*event.Fence, error) {
	return fenceAt(ctx, l.deps.Feed, l.opsTopic(), l.deps.Codec, ref)
}

// opsTopic names the source's ops topic.
func (l *Ledger) opsTopic() string { return l.deps.Topics.Names().Ops(l.cfg.Source) }

// recordAt reads one record of the ops topic.
func (l *Ledger) recordAt(ctx context.Context, offset int64) (*event.Record, error) {
	return readRecordAt(ctx, l.deps.Feed, l.opsTopic(), l.deps.Codec, offset)
}

// settled writes down how an intent ended.
func (l *Ledger) settled(ctx context.Context, q question, v settle.Verdict) {
	committed := v.State == settle.Committed
	l.log.Info("an intent was settled", zap.String("agent", q.ref.Agent), zap.Int64("epoch", q.ref.Epoch),
		zap.Int64("n", q.ref.N), zap.String("outcome", string(v.State)), zap.String("by", v.By))
	if q.ticket != nil {
		l.settling.mu.Lock()
		delete(l.settling.unknown, q.ref)
		l.settling.mu.Unlock()
		if l.cfg.Gate == GateNone {
			l.conclude(q.ticket, committed)
		} else {
			l.outcomes.add(q.ticket, committed, v.By)
		}
		return
	}
	c := concluded{Outcome: event.Outcome{Ref: q.ref, Committed: committed, Time: time.Now().UnixMicro(), By: v.By}, offset: q.offset}
	if committed && ctx.Err() == nil {
		rec, err := l.recordAt(ctx, q.offset)
		if err != nil {
			l.log.Warn("the digests of a settled transaction are lost", zap.Error(err))
		} else if tx, ok := rec.Body.(*event.Transaction); ok {
			c.tx = tx
		}
	}
	l.outcomes.put(c)
}

// lose gives up a transaction under gate none whose end cannot be found out: its
// place is void, and the epoch suspect (I1).
func (l *Ledger) lose(t *Ticket, reason string) {
	l.log.Error("a transaction may have committed and is not in the stream: the source is suspect",
		zap.Int64("n", t.N), zap.String("reason", reason))
	l.unclean.Store(true)
	l.conclude(t, false)
}
