package verify

import (
	"container/heap"
	"container/list"
	"hash/maphash"
	"slices"
	"time"

	"github.com/opmux/opmux/event"
)

// maxGrace bounds how long a target's digest waits for the primary's before the
// ops topic is asked. The primary's is published before a target can apply.
const maxGrace = 5 * time.Second

// lingerTimes times the timeout is how long a transaction with something missing
// stays in memory for a late digest, memory permitting.
const lingerTimes = 10

// joiner joins the digests of one partition of a digests topic, which holds all
// digests of a transaction. It does no I/O, knows no clock and is used by one
// goroutine: records go in by take, time by tick, and verdicts come out by say.
//
// I7: its memory is bounded by max. When transactions that wait fill it, newer
// ones are not admitted: their records are passed over, the group's offset stays
// before the first of them (floor), and once half of the memory is free the
// partition is read again from there (rewind).
type joiner struct {
	targets []string
	level   event.Level
	timeout time.Duration
	grace   time.Duration
	max     int64
	// say hands a verdict out; acked(place) once it is safe in Kafka.
	say func(*event.VerdictRecord, *place)
	// absent judges a target's missing digest.
	absent func(target string, offset int64, now time.Time) absence

	pending   map[event.TxID]*entry
	places    places
	lingering *list.List // of *entry, the oldest first
	due       dueHeap
	doubtful  []*entry // their time is up; the partition's end is wanted
	suspects  []*entry // wait until the partition was read up to confirm
	wanted    []*entry // wait for a look-up
	recent    *recent
	interned  interner
	seed      maphash.Seed
	bytes     int64
	resume    int64 // first offset that was passed over, -1 none
	committed int64 // of the group at the start: an earlier life finished what is below
	warming   bool  // reading below committed, to remember it; nothing is said
	lastLevel event.Level
}

// absence is what is known about why a target's digest is not there.
type absence struct {
	// Hold: the target is alive and on its way to the transaction; ask again later.
	Hold bool
	// Verdict is missing or skipped, with its Reason.
	Verdict event.Verdict
	Reason  string
}

func newJoiner(cfg Config, targets []string, memory, committed int64) *joiner {
	return &joiner{
		targets: targets, level: cfg.Level, timeout: cfg.Timeout,
		grace: min(cfg.Timeout/2, maxGrace), max: memory,
		pending: make(map[event.TxID]*entry), places: places{list.New()}, lingering: list.New(),
		recent: newRecent(maxRecent), interned: make(interner), seed: maphash.MakeSeed(),
		resume: -1, committed: committed, warming: true,
	}
}

// take joins one record at an offset of the partition. Offsets grow, except
// after a rewind and after a restart, when records come again: that is harmless.
func (j *joiner) take(offset int64, rec *event.DigestRecord, now time.Time) {
	index := -1
	if rec.Target != "" {
		if index = slices.Index(j.targets, rec.Target); index < 0 {
			return // of a target that is not compared
		}
	} else if rec.Skipped == "" {
		j.lastLevel = rec.Level
	}
	if j.warming && offset >= j.committed {
		j.endWarmUp()
	}
	size := recordSize(rec)
	e := j.pending[rec.Tx]
	switch {
	case e == nil:
		if e = j.admit(offset, rec, index, size, now); e == nil {
			return
		}
	case e.place == nil:
		e.place = j.places.hold(offset)
		defer j.unplace(e)
	}
	if index < 0 {
		j.takePrimary(e, rec, size)
	} else {
		j.takeTarget(e, index, rec, size)
	}
	if e.complete() {
		j.close(e)
	}
}

// admit makes the entry of a transaction that is not pending; nil if its record
// says nothing new or has to be read again later.
func (j *joiner) admit(offset int64, rec *event.DigestRecord, index int, size int64, now time.Time) *entry {
	before := j.recent.get(rec.Tx)
	if before != nil && (index < 0 && allSaid(before) || index >= 0 && !j.news(&before[index], rec)) {
		return nil
	}
	if j.warming && j.bytes+size > j.max {
		j.coolDown()
	}
	if j.resume >= 0 || !j.room(size) {
		if j.resume < 0 {
			j.resume = offset
		}
		return nil
	}
	e := &entry{
		tx: rec.Tx, size: entryOverhead, seen: now, due: now.Add(j.timeout),
		heap: -1, targets: make([]targetState, len(j.targets)), place: j.places.hold(offset),
	}
	copy(e.targets, before)
	if index >= 0 {
		e.due = now.Add(j.grace)
		if before != nil {
			e.due = now // the primary's digest will not come again
		}
	}
	j.bytes += e.size
	j.pending[rec.Tx] = e
	heap.Push(&j.due, e)
	return e
}

// allSaid says whether something was told of every target.
func allSaid(states []targetState) bool {
	for i := range states {
		if states[i].said == saidNothing {
			return false
		}
	}
	return true
}

// room makes room for a record of that size by letting go of what only lingers.
func (j *joiner) room(size int64) bool {
	for j.bytes+size > j.max {
		oldest := j.lingering.Front()
		if oldest == nil {
			return len(j.pending) == 0 // a single one may be larger than max
		}
		j.close(oldest.Value.(*entry))
	}
	return true
}

// news says whether a target's record says more than what is known of it. A
// target that skipped a transaction may turn out to have reported it all the same
// (a take-over races with the worker that it takes over from): the report counts,
// whichever comes first.
func (j *joiner) news(t *targetState, rec *event.DigestRecord) bool {
	if rec.Skipped != "" && (t.said >= saidSkipped || t.print != 0) {
		return false
	}
	return t.print == 0 || t.print != fingerprint(j.seed, rec)
}

// count adds a record that an entry keeps to what it holds.
func (j *joiner) count(e *entry, rec *event.DigestRecord, size int64) {
	size += j.interned.record(rec)
	e.size += size
	j.bytes += size
}

func (j *joiner) takePrimary(e *entry, rec *event.DigestRecord, size int64) {
	if e.primary != nil && (e.primary.Skipped == "" || rec.Skipped != "") {
		e.borrowed = false // it was early, not lost: who does not report is missing
		return
	}
	j.count(e, rec, size)
	e.primary, e.borrowed = rec, false
	for i := range e.targets {
		j.compare(e, i)
	}
	if e.heap >= 0 {
		e.due = e.seen.Add(j.timeout)
		heap.Fix(&j.due, e.heap)
	}
}

func (j *joiner) takeTarget(e *entry, index int, rec *event.DigestRecord, size int64) {
	t := &e.targets[index]
	if !j.news(t, rec) {
		return
	}
	j.count(e, rec, size)
	t.rec, t.print = rec, fingerprint(j.seed, rec)
	j.compare(e, index)
}

// compare says the verdict on one target once both sides are here.
func (j *joiner) compare(e *entry, index int) {
	t := &e.targets[index]
	if e.primary == nil || t.rec == nil {
		return
	}
	t.said = saidCompared
	if e.primary.Skipped != "" || t.rec.Skipped != "" {
		t.said = saidSkipped
	}
	j.tell(e, compare(j.level, e.primary, t.rec))
}

// tell hands a verdict out, if there was anything to compare. The place of its
// entry is kept until the verdict is acknowledged.
func (j *joiner) tell(e *entry, v *event.VerdictRecord) {
	if j.warming || v.Match+v.Mismatch+v.Missing+v.Skipped == 0 {
		return
	}
	e.place.holds++
	j.say(v, e.place)
}

// acked notes that a verdict is safe in Kafka.
func (j *joiner) acked(pl *place) { j.places.release(pl) }

// close forgets an entry except for what was said.
func (j *joiner) close(e *entry) {
	if e.closed {
		return
	}
	e.closed = true
	j.bytes -= e.size
	delete(j.pending, e.tx)
	if e.heap >= 0 {
		heap.Remove(&j.due, e.heap)
	}
	if e.linger != nil {
		j.lingering.Remove(e.linger)
	}
	j.unplace(e)
	j.recent.add(e.tx, e.targets)
	e.primary, e.targets = nil, nil
}

// unplace lets the group's offset pass the entry once its verdicts are safe.
func (j *joiner) unplace(e *entry) {
	if e.place != nil {
		j.places.release(e.place)
		e.place = nil
	}
}

// floor is the offset to which the group may be committed when the partition was
// read up to position: nothing below it is needed again.
func (j *joiner) floor(position int64) int64 {
	if lowest, ok := j.places.lowest(); ok {
		position = min(position, lowest)
	}
	if j.resume >= 0 {
		position = min(position, j.resume)
	}
	return max(position, j.committed)
}

// rewind returns the offset to read again from, once there is room for what was
// passed over.
func (j *joiner) rewind() (offset int64, ok bool) {
	if j.resume < 0 {
		return 0, false
	}
	for oldest := j.lingering.Front(); oldest != nil && j.bytes > j.max/2; oldest = j.lingering.Front() {
		j.close(oldest.Value.(*entry))
	}
	if j.bytes > j.max/2 {
		return 0, false
	}
	offset, j.resume = j.resume, -1
	return offset, true
}
