package schedule

import (
	"sort"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

// lookAhead bounds how many transactions that cannot run yet one search passes.
// Those that can run in spite of one of them were under way on the primary
// together with it, so there are no more of them than sessions.
const lookAhead = 2_000

// Next returns a group that may run now beside those that do, nil for none.
//
// A transaction joins only if all that it depends on is committed on the target
// or in the group before it: nothing waits while holding uncommitted work, and
// groups that run side by side do not conflict (I3). It depends on the records
// of its epoch up to DependsOn, and on every record of another epoch below it.
func (s *Scheduler) Next() *Group {
	if s.idle {
		return nil
	}
	fence := s.firstBarrier()
	if fence != nil && fence.state == running {
		s.idle = true // lanes that are free must not wake each other for as long as it runs
		return nil
	}
	g := s.gather(fence)
	if len(g.Transactions) == 0 && fence != nil && s.mayRun(fence) {
		g.Transactions, g.Barrier, g.Bytes = []*Tx{fence}, true, fence.size
	}
	if len(g.Transactions) == 0 {
		s.idle = true
		return nil
	}
	for _, t := range g.Transactions {
		t.state = running
	}
	s.ready -= len(g.Transactions)
	s.running++
	return g
}

// firstBarrier returns the barrier with the lowest place.
func (s *Scheduler) firstBarrier() *Tx {
	var first *Tx
	for _, b := range s.barrier {
		if first == nil || b.before(first) {
			first = b
		}
	}
	return first
}

// mayRun says whether everything in front of a barrier is finished. Only then is
// the position at the barrier itself, and what is stored with it will never have
// marks of sequences moved again that the barrier may set back.
func (s *Scheduler) mayRun(b *Tx) bool {
	if s.running > 0 || b.state != ready {
		return false
	}
	for e := s.window.first; e != nil && e.offset < b.place; e = e.next {
		if !e.finished && e != b.entry && !s.comesLater(e, b) {
			return false
		}
	}
	return true
}

// comesLater says whether an entry is a standalone command whose place is behind
// a barrier's, or not known yet.
func (s *Scheduler) comesLater(e *entry, b *Tx) bool {
	for t := s.queue.first; t != nil && t.Offset <= e.offset; t = t.next {
		if t.entry == e {
			return t.Transaction.Standalone && (t.state == open || b.before(t))
		}
	}
	return false
}

// gather collects the transactions in front of a barrier that may run now.
func (s *Scheduler) gather(fence *Tx) *Group {
	g := &Group{}
	blocked := waiting{}
	passed := 0
	onlyFirst := s.crowded()
	for t := s.queue.first; t != nil && passed < lookAhead; t = t.next {
		if fence != nil && t.Offset > fence.place {
			break
		}
		if t.barrier {
			if t.Transaction.Standalone && t.state != running {
				continue // it has no place yet, or its place is the fence's or behind
			}
			break
		}
		if t.state == ready && !blocked.has(t) && g.fits(t, s.cfg) {
			g.add(t)
			if t.Transaction.Chunks > 0 || len(g.Transactions) >= s.cfg.GroupTransactions {
				break
			}
			continue
		}
		passed++
		if onlyFirst || !blocked.add(t) {
			break
		}
	}
	return g
}

// fits says whether a transaction can join. Chunked ones are alone: how large
// they are is not known.
func (g *Group) fits(t *Tx, cfg Config) bool {
	if len(g.Transactions) == 0 {
		return true
	}
	return t.Transaction.Chunks == 0 && g.Bytes+t.size <= cfg.GroupBytes
}

func (g *Group) add(t *Tx) {
	g.Transactions = append(g.Transactions, t)
	g.Bytes += t.size
}

// waiting is what lies in front of a transaction and is neither committed on the
// target nor in the group.
type waiting struct {
	any   bool
	epoch event.EpochRef
	n     int64 // the lowest one
}

func (w *waiting) has(t *Tx) bool {
	if !w.any {
		return false
	}
	if w.epoch != (event.EpochRef{Agent: t.Ref.Agent, Epoch: t.Ref.Epoch}) {
		return true
	}
	return w.n <= t.Transaction.DependsOn
}

// add notes a transaction that cannot run; false: nothing behind it can either,
// since records of two epochs are in the way.
func (w *waiting) add(t *Tx) bool {
	ref := event.EpochRef{Agent: t.Ref.Agent, Epoch: t.Ref.Epoch}
	if !w.any {
		w.any, w.epoch, w.n = true, ref, t.Ref.N
		return true
	}
	return w.epoch == ref
}

// Position returns what the target transaction of a group stores: where the
// stream stands once that transaction is committed. A nil group: where it stands
// now.
func (s *Scheduler) Position(g *Group) position.Position {
	p := position.Position{Low: s.low, Done: s.done.Clone(), Heads: s.passed.heads.Clone()}
	if g != nil {
		for _, t := range g.Transactions {
			t.AddTo(&p.Done)
		}
	}
	return p
}

// Low is the offset below which everything is finished.
func (s *Scheduler) Low() int64 { return s.low }

// Read is the offset behind the last record that was added.
func (s *Scheduler) Read() int64 { return s.read }

// Full says that no record should be added until something is finished. While a group
// runs it need not be more than what the next groups are made of: what is held longer
// costs memory, and the garbage collector passes over it again and again.
func (s *Scheduler) Full() bool {
	return s.window.len >= s.cfg.Window || s.bytes >= s.cfg.WindowBytes || s.running > 0 && s.ready >= s.cfg.Ahead
}

// Idle says that Next has nothing to return.
func (s *Scheduler) Idle() bool { return s.idle || s.queue.len == 0 }

// Quiet says that no group runs and none can, and that everything that could be
// finished is: what is left waits for outcomes that have not been read.
func (s *Scheduler) Quiet() bool {
	return s.running == 0 && s.finishing == 0 && s.Idle()
}

// Backlog returns how many transactions wait for the target, and the time of
// commit of the oldest committed one in microseconds since the Unix epoch, 0
// for none.
func (s *Scheduler) Backlog() (transactions int, oldest int64) {
	for t := s.queue.first; t != nil; t = t.next {
		if t.state != open {
			transactions++
			if oldest == 0 {
				oldest = t.Transaction.Commit
			}
		}
	}
	return transactions, oldest
}

// Open returns the intents without an outcome, by offset.
func (s *Scheduler) Open() []*Tx {
	list := make([]*Tx, 0, len(s.open))
	for _, t := range s.open {
		list = append(list, t)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Offset < list[j].Offset })
	return list
}
