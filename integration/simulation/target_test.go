package simulation

import (
	"errors"
	"fmt"
	"time"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

// target is the backup server: rows, and opmux's own table of positions, changed
// by transactions of lanes. world.mu guards it.
type target struct {
	w        *world
	rows     map[string]row
	sequence uint64
	lanes    map[int]laneRow
	sessions map[*targetSession]bool
	applied  map[event.TxID]int
	// misfits are answers that differ from the primary's.
	misfits []string
}

// laneRow is a row of opmux.position.
type laneRow struct {
	fence, seq int64
	position.Position
}

// targetSession is a worker's connection to the target.
type targetSession struct {
	gone bool
}

var (
	errFenced = errors.New("another worker has the stream")
	errSeq    = errors.New("the lane's row was changed by somebody else")
)

func newTarget(w *world) *target {
	t := &target{w: w, rows: map[string]row{}, lanes: map[int]laneRow{}, sessions: map[*targetSession]bool{}, applied: map[event.TxID]int{}}
	for name, r := range w.primary.rows {
		t.rows[name] = r
	}
	return t
}

// takeOver makes the caller the stream's worker, as position.TakeOver does.
func (t *target) takeOver(lanes int) (position.Position, int64) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	for s := range t.sessions {
		s.gone = true
	}
	clear(t.sessions)
	p := position.Position{Heads: position.Heads{}}
	var fence int64
	var list []position.Position
	for _, r := range sorted(t.lanes) {
		fence = max(fence, r.fence)
		list = append(list, r.Position)
	}
	if t.w.broken(LanesForgotten) && len(list) > 0 {
		list = list[:1] // the keeper's, whose number is the lowest
	}
	if len(list) > 0 {
		p = position.Join(list)
	}
	clear(t.lanes)
	for lane := position.Keeper; lane < lanes; lane++ {
		r := laneRow{fence: fence + 1, Position: position.Position{Low: p.Low, Heads: p.Heads}}
		if lane == position.Keeper {
			r.Position = p
		}
		t.lanes[lane] = r
	}
	return p, fence + 1
}

func (t *target) connect() *targetSession {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	s := &targetSession{}
	t.sessions[s] = true
	return s
}

// commit is a target transaction at its commit: the lane's row and the group's
// statements together (I4).
func (t *target) commit(s *targetSession, lane int, fence, seq int64, p position.Position, work []work) error {
	w := t.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.gone && !w.broken(FenceIgnored) {
		return errConnection
	}
	r := t.lanes[lane]
	switch {
	case r.fence != fence && !w.broken(FenceIgnored):
		return errFenced
	case r.seq != seq && !w.broken(FenceIgnored) && !w.broken(RetriedBlindly):
		return errSeq
	}
	for i := range work {
		t.apply(&work[i])
	}
	if w.broken(PositionApart) {
		t.storeLater(lane, r, p)
	} else {
		t.store(lane, r, p)
	}
	return nil
}

// storeLater is a broken rule: the position is written behind the commit.
func (t *target) storeLater(lane int, r laneRow, p position.Position) {
	t.store(lane, r, r.Position)
	t.w.later(between(t.w.chance, 0, 20*time.Millisecond), func() {
		t.w.mu.Lock()
		defer t.w.mu.Unlock()
		if now := t.lanes[lane]; now.fence == r.fence {
			now.seq--
			t.store(lane, now, p)
		}
	})
}

func (t *target) store(lane int, r laneRow, p position.Position) {
	// As text, since that is how it is kept.
	done, err := position.ParseRanges(p.Done.String())
	heads, headsErr := position.ParseHeads(p.Heads.Encode())
	if err = errors.Join(err, headsErr); err != nil {
		t.w.violate("position: %v", err)
	}
	p.Done, p.Heads = done, heads
	t.lanes[lane] = laneRow{fence: r.fence, seq: r.seq + 1, Position: p}
}

// work is one transaction with all its operations.
type work struct {
	id     event.TxID
	offset int64
	ops    []event.Operation
	sums   []uint64
}

// apply executes a transaction and compares its answers.
func (t *target) apply(x *work) {
	t.applied[x.id]++
	x.sums = nil
	for i := range x.ops {
		e := &x.ops[i]
		if e.Kind != event.OpStatement {
			continue
		}
		o, err := parseOp(e.Text)
		if err != nil {
			t.w.violate("%v", err)
			continue
		}
		if have := t.rows[table].value; have != o.version {
			t.misfit(x, e, "the table's schema is %d, it was %d", have, o.version)
		}
		value, affected, err := o.run(t.rows)
		if err != nil || !affected {
			t.misfit(x, e, "affected %v, %v", affected, err)
			continue
		}
		if want, known := digestValue(e); known && want != value {
			t.misfit(x, e, "answer %x, the primary's was %x", value, want)
		}
	}
}

func (t *target) misfit(x *work, e *event.Operation, format string, args ...any) {
	if len(t.misfits) < 5 {
		t.misfits = append(t.misfits, fmt.Sprintf("I3: offset %d, %q: ", x.offset, e.Text)+fmt.Sprintf(format, args...))
	}
}

// undoRolledBack takes out of a chunked transaction what it rolled back.
func undoRolledBack(ops []event.Operation) []event.Operation {
	var list []event.Operation
	marks := map[string]int{}
	for _, e := range ops {
		switch e.Kind {
		case event.OpSavepoint:
			marks[e.Text] = len(list)
		case event.OpRollbackTo:
			list = list[:marks[e.Text]]
		default:
			list = append(list, e)
		}
	}
	return list
}
