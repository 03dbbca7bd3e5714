package order

import (
	"cmp"
	"maps"
	"slices"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
)

// maxResolved bounds how many outcomes are remembered, so that a second and
// different one is noticed (I2); workers check the same over what they hold.
const maxResolved = 1 << 16

// view is what the records of an ops topic say, read in order from some offset
// below which every intent has an outcome: which epochs are open, which intents
// are, and where recoveries of the primary ended. It is not safe for concurrent use.
type view struct {
	pos        int64 // of the next record
	epochs     map[event.EpochRef]*epoch
	newest     map[string]int64 // agent → its newest epoch
	open       map[event.Ref]*intent
	byXID      map[uint64]*intent // the newest of open with an id
	recoveries map[start]uint64   // end of the recovery
	ends       map[int32]uint64   // accepted timeline → where the one before it ended
	suspect    map[event.EpochRef]bool
	primary    *event.Primary // of the newest FENCE on the newest timeline

	resolved map[event.Ref]bool
	order    []event.Ref // of resolved, the oldest first
}

// start is one start of a server as the primary of a timeline.
type start struct {
	timeline int32
	at       int64
}

// epoch is what is known of an epoch with records at or above the view's start.
type epoch struct {
	event.EpochRef
	// fence is the opening FENCE; nil where it lies below the view's start.
	fence *event.Fence
	gate  string // as a heartbeat said it; empty where none did
	ended bool
	clean bool
	open  int // intents
}

// intent is a transaction without an outcome.
type intent struct {
	event.Ref
	offset int64
	id     event.TxID
	time   int64 // Commit, microseconds since the Unix epoch
	tx     event.PostgresTx
	// redrawn says that a later transaction has its id: a crash of the primary has lost
	// it, or it was a former attempt at a prepared one. It did not commit, and never will.
	redrawn bool
}

func newView(from int64) *view {
	return &view{pos: from,
		epochs: map[event.EpochRef]*epoch{}, newest: map[string]int64{},
		open: map[event.Ref]*intent{}, byXID: map[uint64]*intent{}, recoveries: map[start]uint64{}, ends: map[int32]uint64{}, suspect: map[event.EpochRef]bool{},
		resolved: map[event.Ref]bool{}}
}

// scanFrom is the offset below which every intent has an outcome.
func (v *view) scanFrom() int64 {
	from := v.pos
	for _, i := range v.open {
		from = min(from, i.offset)
	}
	return from
}

// epochOf returns the entry of an epoch, made where there is none. An epoch that
// is not its agent's newest has ended: an agent opens one after the other.
func (v *view) epochOf(ref event.EpochRef) *epoch {
	e := v.epochs[ref]
	if e == nil {
		e = &epoch{EpochRef: ref}
		v.epochs[ref] = e
		if newest, known := v.newest[ref.Agent]; known && ref.Epoch < newest {
			e.ended = true
		} else {
			v.succeed(ref)
		}
	}
	return e
}

// succeed makes ref its agent's newest epoch and ends the ones before. The FENCE of
// ref may not know of them all: a replaced process's own may arrive behind that of its
// successor, whose epoch it ends. Under gate none that one's tail is missing from then
// on, whatever the FENCE says (I1).
func (v *view) succeed(ref event.EpochRef) {
	v.newest[ref.Agent] = ref.Epoch
	for _, e := range v.epochs {
		if e.Agent != ref.Agent || e.Epoch >= ref.Epoch {
			continue
		}
		if !e.ended && e.gateKnown() == GateNone {
			v.suspect[e.EpochRef] = true
		}
		e.ended = true
		v.prune(e)
	}
}

// gateKnown is the epoch's gate, empty where neither a FENCE nor a heartbeat told.
func (e *epoch) gateKnown() string {
	if e.fence != nil {
		return e.fence.Gate
	}
	return e.gate
}

// prune forgets an epoch that nothing will be asked of (I7).
func (v *view) prune(e *epoch) {
	newest := v.newest[e.Agent] == e.Epoch
	if !e.ended || e.open > 0 || newest && !e.clean {
		return
	}
	delete(v.epochs, e.EpochRef)
	if newest {
		delete(v.newest, e.Agent) // a clean end: no record follows
	}
}

// record takes the record at offset, the next one. *ConflictError: nobody can
// follow the stream any more.
func (v *view) record(offset int64, r *event.Record) error {
	v.pos = offset + 1
	writer := event.EpochRef{Agent: r.Agent, Epoch: r.Epoch}
	switch b := r.Body.(type) {
	case *event.Fence:
		v.fence(offset, r, b)
	case *event.Transaction:
		if b.Intent {
			v.intent(offset, event.Ref{Agent: r.Agent, Epoch: r.Epoch, N: r.N}, b.ID, b.Commit, b.Postgres)
			return nil
		}
		v.epochOf(writer)
	case *event.Outcomes:
		v.epochOf(writer)
		return v.outcomes(offset, b)
	case *event.Mark: // commands write some, outside of any epoch
	default:
		v.epochOf(writer)
	}
	return nil
}

// opening tells whether a FENCE opens its writer's epoch.
func opening(r *event.Record) bool { return r.N == 0 }

func (v *view) fence(offset int64, r *event.Record, f *event.Fence) {
	ref := event.EpochRef{Agent: r.Agent, Epoch: r.Epoch}
	if opening(r) {
		ref.Epoch = offset
		v.epochOf(ref).fence = f
		if at := startOf(f.Primary); f.Gate == GateFailover {
			v.ends[at.timeline] = f.RecoveryLSN
		} else {
			v.recoveries[at] = max(v.recoveries[at], f.RecoveryLSN)
		}
	}
	v.follows(f.Primary)
	for _, e := range f.Ended {
		v.end(e)
	}
	for _, e := range f.Suspect {
		v.suspect[e] = true
	}
	if f.Clean {
		e := v.epochOf(ref)
		e.ended, e.clean = true, true
		v.prune(e)
	}
}

func startOf(p event.Primary) start { return start{timeline: p.Timeline, at: p.Started} }

// follows takes a FENCE's primary for the stream's. An agent that was cut off
// during a failover may still write FENCEs of the former timeline: they don't lead
// back to it.
func (v *view) follows(p event.Primary) {
	if p.Make == "" || v.primary != nil && v.primary.SystemID == p.SystemID && v.primary.Timeline > p.Timeline {
		return
	}
	v.primary = &p
}

// end ends an epoch by a FENCE's word.
func (v *view) end(ref event.EpochRef) {
	e := v.epochOf(ref)
	e.ended = true
	v.prune(e)
}

// intent opens an intent. Behind its own outcome, which cannot be, or below what
// is known to be settled it would stay open for ever; neither occurs, since a
// writer's records are in its order.
func (v *view) intent(offset int64, ref event.Ref, id event.TxID, commit int64, tx event.PostgresTx) {
	v.pos = offset + 1
	v.epochOf(event.EpochRef{Agent: ref.Agent, Epoch: ref.Epoch}).open++
	i := &intent{Ref: ref, offset: offset, id: id, time: commit, tx: tx}
	v.open[ref] = i
	if before := v.byXID[tx.XID]; before != nil && before.tx.BackendStart < tx.BackendStart && v.sameHistory(before.Ref, ref) {
		before.redrawn = true
	}
	if tx.XID != 0 {
		v.byXID[tx.XID] = i
	}
}

// sameHistory tells that two records were written on one timeline, where an id is drawn
// twice only if the first was lost. A former primary that lives on draws what its
// successor does.
func (v *view) sameHistory(a, b event.Ref) bool {
	at := func(r event.Ref) *event.Fence { return v.epochs[event.EpochRef{Agent: r.Agent, Epoch: r.Epoch}].fence }
	one, other := at(a), at(b)
	return one != nil && other != nil && one.Primary.SystemID == other.Primary.SystemID && one.Primary.Timeline == other.Primary.Timeline
}

// outcomes closes intents.
func (v *view) outcomes(offset int64, o *event.Outcomes) error {
	v.pos = offset + 1
	for n := range o.List {
		out := &o.List[n]
		if first, known := v.resolved[out.Ref]; known {
			if first != out.Committed {
				return &ConflictError{Ref: out.Ref, Offset: offset, First: first}
			}
			continue
		}
		v.resolved[out.Ref] = out.Committed
		v.order = append(v.order, out.Ref)
		if len(v.order) > maxResolved {
			delete(v.resolved, v.order[0])
			v.order = v.order[1:]
		}
		i := v.open[out.Ref]
		if i == nil {
			continue
		}
		delete(v.open, out.Ref)
		if v.byXID[i.tx.XID] == i {
			delete(v.byXID, i.tx.XID)
		}
		if e := v.epochs[event.EpochRef{Agent: out.Agent, Epoch: out.Epoch}]; e != nil {
			e.open--
			v.prune(e)
		}
	}
	return nil
}

// abandoned returns the open intents of ended epochs, in the topic's order.
func (v *view) abandoned() []*intent {
	return slices.DeleteFunc(v.opened(), func(i *intent) bool {
		e := v.epochs[event.EpochRef{Agent: i.Agent, Epoch: i.Epoch}]
		return e == nil || !e.ended
	})
}

// opened returns all open intents, in the topic's order.
func (v *view) opened() []*intent {
	list := slices.Collect(maps.Values(v.open))
	slices.SortFunc(list, func(a, b *intent) int { return cmp.Compare(a.offset, b.offset) })
	return list
}

// recoveredAfter returns the ends of recovery that the stream tells of.
func (v *view) recoveredAfter() []settle.Recovery {
	list := make([]settle.Recovery, 0, len(v.recoveries))
	for at, lsn := range v.recoveries {
		list = append(list, settle.Recovery{Timeline: at.timeline, Started: at.at, LSN: lsn})
	}
	slices.SortFunc(list, func(a, b settle.Recovery) int { return cmp.Compare(a.Started, b.Started) })
	return list
}

// timelineEnds returns the acceptances of new timelines that the stream tells of.
func (v *view) timelineEnds() []settle.TimelineEnd {
	list := make([]settle.TimelineEnd, 0, len(v.ends))
	for next, lsn := range v.ends {
		list = append(list, settle.TimelineEnd{Next: next, LSN: lsn})
	}
	return list
}

// newestEpochs returns each agent's newest epoch, the newest first.
func (v *view) newestEpochs() []event.EpochRef {
	list := make([]event.EpochRef, 0, len(v.newest))
	for agent, epoch := range v.newest {
		list = append(list, event.EpochRef{Agent: agent, Epoch: epoch})
	}
	slices.SortFunc(list, func(a, b event.EpochRef) int { return cmp.Compare(b.Epoch, a.Epoch) })
	return list
}

// unended returns the epochs that no record has ended, but own agent's.
func (v *view) unended(except string) []*epoch {
	var list []*epoch
	for _, e := range v.epochs {
		if !e.ended && e.Agent != except {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *epoch) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return list
}
