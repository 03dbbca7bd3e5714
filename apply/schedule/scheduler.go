// Package schedule decides which transactions of one stream may be applied when.
// It is pure state: records go in, groups for the target come out, and it tells
// which position is safe to store. It does no input or output and does not lock;
// its owner does both.
package schedule

import (
	"fmt"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

// Config bounds what a scheduler holds (I7) and hands out. The zero value of a
// field stands for its default.
type Config struct {
	GroupTransactions int   // of one target transaction; 200
	GroupBytes        int64 // of one target transaction's records in memory; 8 MiB
	Window            int   // records between the position and the reader; 200,000
	WindowBytes       int64 // of transactions that are not applied; 64 MiB
	Ahead             int   // committed transactions that wait while a group runs; four groups
	Ranges            int   // of finished offsets above the position; 1,000
	Remembered        int   // outcomes kept to notice contradictions; 65,536
}

func (c Config) withDefaults() Config {
	setDefault(&c.GroupTransactions, 200)
	setDefault(&c.GroupBytes, 8<<20)
	setDefault(&c.Window, 200_000)
	setDefault(&c.WindowBytes, 64<<20)
	setDefault(&c.Ahead, 4*c.GroupTransactions)
	setDefault(&c.Ranges, 1_000)
	setDefault(&c.Remembered, 65_536)
	return c
}

func setDefault[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// SkipFunc says why a transaction must not be executed, "" where it must.
type SkipFunc func(offset int64, tx *event.Transaction) (reason string, err error)

// TakeOver is the reason why a transaction is not executed that the worker
// before has executed.
const TakeOver = "take-over"

// Scheduler is the state of one stream between its reader and its lanes.
type Scheduler struct {
	cfg  Config
	skip SkipFunc

	reading chains // as of read
	passed  chains // as of low
	read    int64  // the offset behind the last record that was added
	low     int64
	done    position.Ranges // transactions that are finished or applied, from low on
	behind  int64           // the offset behind the last transaction that was added

	window  window
	open    map[event.Ref]*Tx // intents without an outcome
	decided outcomes
	queue   queue // open, ready and running ones that are to be executed
	barrier []*Tx // those of queue that nothing may run beside
	settled []*Tx // to be finished without execution, not handed out yet

	bytes     int64     // of transactions in queue
	ready     int       // of them, how many are committed and do not run
	adding    event.Ref // the record that Add is about
	running   int       // groups
	finishing int       // transactions that are applied or settled, and not finished
	idle      bool      // Next found nothing and nothing has changed since
}

// New returns a scheduler that begins at a position.
func New(cfg Config, p position.Position, skip SkipFunc) *Scheduler {
	cfg = cfg.withDefaults()
	if skip == nil {
		skip = func(int64, *event.Transaction) (string, error) { return "", nil }
	}
	s := &Scheduler{
		cfg:     cfg,
		skip:    skip,
		reading: chains{heads: p.Heads.Clone(), origin: p.Origin},
		passed:  chains{heads: p.Heads.Clone(), origin: p.Origin},
		read:    p.Low,
		low:     p.Low,
		behind:  p.Low,
		done:    p.Done.Clone(),
		open:    map[event.Ref]*Tx{},
		decided: outcomes{limit: cfg.Remembered, known: map[event.Ref]bool{}},
	}
	s.done.TrimBelow(p.Low)
	return s
}

// Add takes the next record of the topic, which takes size bytes of memory; hash being that of
// its value. An error means that the stream must stop (I6).
func (s *Scheduler) Add(offset int64, size int, hash []byte, r *event.Record) error {
	if offset < s.read {
		return fmt.Errorf("record at offset %d came after offset %d: the topic's reader went backwards", offset, s.read-1)
	}
	st := stepOf(offset, hash, r)
	if err := s.reading.check(&st, r); err != nil {
		return err
	}
	s.reading.advance(&st)
	s.read = offset + 1
	s.adding = event.Ref{Agent: st.ref.Agent, Epoch: st.ref.Epoch, N: st.n}
	e := s.window.push(offset, st)
	switch body := r.Body.(type) {
	case *event.Transaction:
		ref := event.Ref{Agent: st.ref.Agent, Epoch: st.ref.Epoch, N: st.n}
		if err := s.addTransaction(e, ref, size, body); err != nil {
			return err
		}
	case *event.Outcomes:
		for _, o := range body.List {
			if err := s.Outcome(offset, o); err != nil {
				return err
			}
		}
		s.finishEntry(e)
	default:
		s.finishEntry(e)
	}
	return nil
}

func (s *Scheduler) addTransaction(e *entry, ref event.Ref, size int, tx *event.Transaction) error {
	t := &Tx{Offset: e.offset, Ref: ref, Transaction: tx, size: int64(size), from: s.behind, place: e.offset, entry: e}
	s.behind = e.offset + 1
	if s.done.Has(e.offset) {
		t.Skip = TakeOver
	} else {
		reason, err := s.skip(e.offset, tx)
		if err != nil {
			return fmt.Errorf("transaction at offset %d: %w", e.offset, err)
		}
		t.Skip = reason
	}
	if tx.Intent {
		s.open[ref] = t
	}
	if t.Skip != "" {
		// It has ended on the target, one way or the other: nothing waits for it.
		if !tx.Intent {
			s.settle(t, true)
		}
		return nil
	}
	s.bytes += t.size
	t.barrier = needsBarrier(tx)
	s.queue.push(t)
	if t.barrier && !tx.Standalone {
		s.barrier = append(s.barrier, t)
	}
	if !tx.Intent {
		s.commit(t, e.offset)
	}
	return nil
}

// needsBarrier says whether nothing may run beside a transaction.
func needsBarrier(tx *event.Transaction) bool {
	if tx.Barrier || tx.Standalone {
		return true
	}
	for i := range tx.Operations {
		// What runs beside would not know of the divergence.
		if len(tx.Operations[i].Diverged) > 0 {
			return true
		}
	}
	return false
}

// Outcome takes the outcome of an intent, written at offset at. Known ones are
// harmless when they say the same.
func (s *Scheduler) Outcome(at int64, o event.Outcome) error {
	if committed, known := s.decided.get(o.Ref); known {
		if committed != o.Committed {
			return &OutcomeConflictError{Offset: at, Outcome: o}
		}
		return nil
	}
	t, ok := s.open[o.Ref]
	if !ok {
		head, known := s.reading.heads[event.EpochRef{Agent: o.Agent, Epoch: o.Epoch}]
		if known && o.N > head.N {
			return &ChainError{Offset: at, Ref: o.Ref, Reason: "its outcome comes before itself"}
		}
		return nil // of an intent below the position: it is finished
	}
	delete(s.open, o.Ref)
	s.decided.add(o.Ref, o.Committed)
	switch {
	case t.Skip != "":
		s.settle(t, o.Committed)
	case o.Committed:
		s.commit(t, at)
	default:
		s.drop(t)
		s.settle(t, false)
	}
	return nil
}

// Foresee takes an outcome that lies ahead of the reader, at offset at, and says
// whether it was one that an open intent waited for. It will be read once more.
func (s *Scheduler) Foresee(at int64, o event.Outcome) (bool, error) {
	if _, ok := s.open[o.Ref]; !ok {
		return false, nil
	}
	return true, s.Outcome(at, o)
}

// commit makes a transaction of the queue ready. at is where its commit was
// recorded, the place of a standalone command (DESIGN §4.1 rule 6).
func (s *Scheduler) commit(t *Tx, at int64) {
	t.Committed = true
	t.state = ready
	s.ready++
	s.idle = false
	if t.Transaction.Standalone {
		t.place = at
		s.barrier = append(s.barrier, t)
	}
}

// settle hands a transaction out to be finished without execution.
func (s *Scheduler) settle(t *Tx, committed bool) {
	t.Committed = committed
	t.state = applied
	if s.crowded() {
		s.idle = false // it may fill the gap between two ranges
	}
	t.AddTo(&s.done)
	s.finishing++
	s.settled = append(s.settled, t)
}

// drop takes a transaction out of the queue.
func (s *Scheduler) drop(t *Tx) {
	s.queue.remove(t)
	s.bytes -= t.size
	s.idle = false
	if !t.barrier {
		return
	}
	for i, b := range s.barrier {
		if b == t {
			s.barrier = append(s.barrier[:i], s.barrier[i+1:]...)
			return
		}
	}
}

// Adding returns the record that Add is about, for a SkipFunc.
func (s *Scheduler) Adding() event.Ref { return s.adding }

// Settled returns the transactions that are to be finished without execution:
// aborted ones, whose sequence marks count all the same, and those with Skip.
func (s *Scheduler) Settled() []*Tx {
	list := s.settled
	s.settled = nil
	return list
}

// Applied notes that the target has committed a group.
func (s *Scheduler) Applied(g *Group) {
	s.running--
	s.idle = false
	for _, t := range g.Transactions {
		t.state = applied
		s.finishing++
		s.drop(t)
		t.AddTo(&s.done)
	}
}

// Finish notes that nothing is left to do for a transaction: its sequence marks
// are on the target and its digests are acknowledged.
func (s *Scheduler) Finish(t *Tx) {
	s.finishing--
	s.finishEntry(t.entry)
}

func (s *Scheduler) finishEntry(e *entry) {
	if len(s.barrier) > 0 {
		s.idle = false // a barrier waits for everything in front of it
	}
	e = s.window.finish(e)
	if e != s.window.first {
		return
	}
	for i := range e.steps {
		s.passed.advance(&e.steps[i])
	}
	s.window.remove(e)
	s.low = s.read
	if first := s.window.first; first != nil {
		s.low = first.offset
	}
	if s.crowded() {
		s.idle = false // there may be room for ranges now
	}
	s.done.TrimBelow(s.low)
}

// crowded says that the position has so many ranges that only what is first in the
// queue may run.
func (s *Scheduler) crowded() bool { return s.done.Len() >= s.cfg.Ranges }
