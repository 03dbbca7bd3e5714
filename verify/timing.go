package verify

import (
	"container/heap"
	"time"

	"github.com/opmux/opmux/event"
)

// holdFor is how long an entry rests whose target is on its way to it.
const holdFor = time.Second

// tick looks at the entries whose time has come.
func (j *joiner) tick(now time.Time) {
	for len(j.due) > 0 && !j.due[0].due.After(now) {
		e := heap.Pop(&j.due).(*entry)
		if e.primary == nil && e.lookup == lookupNone && !e.empty() {
			e.lookup = lookupWanted
			j.wanted = append(j.wanted, e)
			j.rest(e, e.seen.Add(j.timeout))
			continue
		}
		j.doubtful = append(j.doubtful, e)
	}
	for front := j.lingering.Front(); front != nil; front = j.lingering.Front() {
		e := front.Value.(*entry)
		if now.Before(e.due) {
			break
		}
		j.close(e)
	}
}

func (j *joiner) rest(e *entry, until time.Time) {
	e.due = until
	heap.Push(&j.due, e)
}

// confirm is told the partition's end, asked for after the time of the doubtful
// entries was up: only what is not there either is missing. A verifier that
// lags, or a Kafka that is away, raises no alarm.
func (j *joiner) confirm(end int64) {
	for _, e := range j.doubtful {
		e.confirm = end
		j.suspects = append(j.suspects, e)
	}
	j.doubtful = j.doubtful[:0]
}

// advance concludes on suspects once the partition was read up to position.
func (j *joiner) advance(position int64, now time.Time) {
	if j.warming && position >= j.committed {
		j.endWarmUp()
	}
	kept := j.suspects[:0]
	for _, e := range j.suspects {
		switch {
		case e.closed:
		case e.confirm <= position:
			j.conclude(e, now)
		default:
			kept = append(kept, e)
		}
	}
	clear(j.suspects[len(kept):])
	j.suspects = kept
}

// conclude says what is missing of an entry.
func (j *joiner) conclude(e *entry, now time.Time) {
	if e.primary == nil {
		if e.lookup == lookupWanted { // Kafka did not answer yet
			j.rest(e, now.Add(holdFor))
			return
		}
		j.withoutPrimary(e)
		j.keep(e, now)
		return
	}
	held := false
	for i := range e.targets {
		t := &e.targets[i]
		// With a print, it reported: that record is forgotten (coolDown).
		if t.rec != nil || t.print != 0 || t.said != saidNothing || e.borrowed {
			continue
		}
		a := j.absent(j.targets[i], e.primary.Offset, now)
		if a.Hold {
			held = true
			continue
		}
		t.said = saidMissing
		if a.Verdict == event.VerdictSkipped {
			t.said = saidSkipped
		}
		b := newVerdict(j.targets[i], e.primary)
		b.whole(e.primary, a.Verdict, j.level, a.Reason)
		j.tell(e, &b.rec)
	}
	if held {
		j.rest(e, now.Add(holdFor))
		return
	}
	j.keep(e, now)
}

func (j *joiner) withoutPrimary(e *entry) {
	for i := range e.targets {
		t := &e.targets[i]
		if t.rec == nil || t.said != saidNothing || nothing(t.rec) {
			continue
		}
		b := newVerdict(j.targets[i], t.rec)
		if t.rec.Skipped != "" {
			t.said = saidSkipped
			b.whole(t.rec, event.VerdictSkipped, j.level, t.rec.Target+": "+t.rec.Skipped)
		} else {
			t.said = saidMissing
			b.whole(t.rec, event.VerdictMissing, j.level, "the primary's side has no digest of it")
		}
		j.tell(e, &b.rec)
	}
}

// keep lets an entry of which all was said linger for late digests, if something
// was missing, and closes it otherwise.
func (j *joiner) keep(e *entry, now time.Time) {
	missing := false
	for i := range e.targets {
		missing = missing || e.targets[i].said == saidMissing
	}
	if !missing {
		j.close(e)
		return
	}
	e.due = now.Add(lingerTimes * j.timeout)
	e.linger = j.lingering.PushBack(e)
	j.unplace(e)
}

// takeWanted returns the entries whose primary's side should be looked up.
func (j *joiner) takeWanted() []*entry {
	wanted := j.wanted[:0]
	for _, e := range j.wanted {
		if !e.closed && e.primary == nil {
			wanted = append(wanted, e)
		}
	}
	j.wanted = nil
	return wanted
}

// looked tells what the ops topic says of an entry's transaction.
func (j *joiner) looked(e *entry, f finding) {
	e.lookup = lookupDone
	if e.closed || e.primary != nil || f.state == stateUnknown {
		return
	}
	if f.state == stateAborted {
		j.appliedAborted(e)
		j.close(e)
		return
	}
	e.primary, e.borrowed = f.rec, true
	j.count(e, f.rec, recordSize(f.rec))
	rest := false
	for i := range e.targets {
		j.compare(e, i)
		rest = rest || e.targets[i].said == saidNothing
	}
	if !rest {
		j.close(e)
	}
}

// appliedAborted raises I2's alarm: a target reported a transaction that the
// primary rolled back.
func (j *joiner) appliedAborted(e *entry) {
	for i := range e.targets {
		t := &e.targets[i]
		if t.rec == nil || t.rec.Skipped != "" {
			continue
		}
		t.said = saidCompared
		b := newVerdict(j.targets[i], t.rec)
		b.whole(t.rec, event.VerdictMismatch, j.level, "the primary rolled the transaction back, the target applied it")
		j.tell(e, &b.rec)
	}
}

// endWarmUp goes from remembering to saying. What has its primary's side was
// finished by the earlier life, or is looked up when a late digest comes; a
// target's digest alone may still wait for the primary's.
func (j *joiner) endWarmUp() {
	j.warming = false
	j.finishWarm()
}

// finishWarm closes what has its primary's side. What was not seen of a target
// was said to be missing by the earlier life.
func (j *joiner) finishWarm() {
	for _, e := range j.pending {
		if e.primary == nil {
			continue
		}
		for i := range e.targets {
			if e.targets[i].said == saidNothing && !e.borrowed {
				e.targets[i].said = saidMissing
			}
		}
		j.close(e)
	}
}

// coolDown makes room during the warm-up: transactions are remembered without
// their digests.
func (j *joiner) coolDown() {
	j.finishWarm()
	if j.bytes <= j.max/2 {
		return
	}
	for _, e := range j.pending {
		j.close(e)
	}
}
