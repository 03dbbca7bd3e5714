package schedule

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/opmux/opmux/apply/position"
)

// run is one worker's life after another's over the same target.
type run struct {
	t       *rapid.T
	h       *history
	s       *Scheduler
	cfg     Config
	next    int // message to add
	target  map[int64]int
	order   []int64
	rows    map[int]position.Position // what lanes have stored
	busy    map[int]*flight
	pending []*Tx // applied or settled, not finished
	aborted map[int64]bool
}

type flight struct {
	group *Group
	p     position.Position
}

// TestI2I3I4AnyInterleavingWithCrashes runs random histories through schedulers
// that are killed at random points: each committed transaction is applied once
// (I4), after what it depends on (I3), aborted ones never (I2).
func TestI2I3I4AnyInterleavingWithCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := generate(rt)
		r := &run{t: rt, h: h, target: map[int64]int{}, rows: map[int]position.Position{}}
		r.cfg = Config{GroupTransactions: rapid.IntRange(1, 6).Draw(rt, "group"), GroupBytes: 3000}
		r.rows[position.Keeper] = position.Position{Heads: position.Heads{}}
		r.restart()
		crashes := rapid.IntRange(0, 4).Draw(rt, "crashes")
		for steps := 0; steps < 4000; steps++ {
			if crashes > 0 && rapid.IntRange(0, 40).Draw(rt, "crash") == 0 {
				crashes--
				r.crash()
				continue
			}
			if !r.step(rapid.IntRange(0, 3).Draw(rt, "action")) && r.atEnd() {
				r.finish()
				return
			}
		}
		rt.Fatal("the history does not come to its end")
	})
}

// restart begins anew from what lanes have stored, as position.TakeOver does.
func (r *run) restart() {
	lanes := make([]position.Position, 0, len(r.rows))
	for _, row := range r.rows {
		done, err := position.ParseRanges(row.Done.String())
		if err != nil {
			r.t.Fatal(err)
		}
		row.Done = done
		lanes = append(lanes, row)
	}
	p := position.Join(lanes)
	r.rows = map[int]position.Position{position.Keeper: p}
	r.s = New(r.cfg, p, nil)
	r.next = int(p.Low)
	r.busy, r.pending, r.aborted = map[int]*flight{}, nil, map[int64]bool{}
}

// crash ends the worker; target transactions under way are lost or not.
func (r *run) crash() {
	for lane, f := range r.busy {
		if rapid.Bool().Draw(r.t, "reached the target") {
			r.commit(lane, f)
		}
	}
	r.restart()
}

func (r *run) commit(lane int, f *flight) {
	for _, t := range f.group.Transactions {
		r.target[t.Offset]++
		r.order = append(r.order, t.Offset)
	}
	r.rows[lane] = f.p
}

// step does one thing that can be done, and says whether there was any.
func (r *run) step(action int) bool {
	switch action {
	case 0:
		if r.next == len(r.h.messages) {
			return false
		}
		m := r.h.messages[r.next]
		r.next++
		if err := r.s.Add(m.offset, 1000, m.hash, m.record); err != nil {
			r.t.Fatal(err)
		}
		r.pending = append(r.pending, r.s.Settled()...)
		return true
	case 1:
		return r.begin()
	case 2:
		for lane, f := range r.busy {
			r.commit(lane, f)
			r.s.Applied(f.group)
			r.pending = append(r.pending, f.group.Transactions...)
			delete(r.busy, lane)
			return true
		}
		return false
	}
	if len(r.pending) == 0 {
		r.rows[position.Keeper] = r.s.Position(nil)
		return false
	}
	i := rapid.IntRange(0, len(r.pending)-1).Draw(r.t, "finish")
	r.s.Finish(r.pending[i])
	r.pending = append(r.pending[:i:i], r.pending[i+1:]...)
	return true
}

// begin gives a free lane a group, and checks that it may run now.
func (r *run) begin() bool {
	lane := len(r.busy)
	for used := true; used; {
		if _, used = r.busy[lane]; used {
			lane++
		}
	}
	g := r.s.Next()
	if g == nil {
		return false
	}
	if g.Barrier && len(r.busy) > 0 {
		r.t.Fatal("a barrier runs beside others")
	}
	inGroup := map[int64]bool{}
	for _, b := range g.Transactions {
		if !r.h.committed[b.Offset] {
			r.t.Fatalf("I2: %d did not commit", b.Offset)
		}
		for _, a := range r.h.txs {
			if r.h.dependsOn(b, a) && r.target[a.Offset] == 0 && !inGroup[a.Offset] {
				r.t.Fatalf("I3: %d runs before %d", b.Offset, a.Offset)
			}
		}
		inGroup[b.Offset] = true
	}
	r.busy[lane] = &flight{group: g, p: r.s.Position(g)}
	return true
}

// atEnd says whether nothing at all is left to do.
func (r *run) atEnd() bool {
	for action := range 4 {
		if r.step(action) {
			return false
		}
	}
	return true
}

func (r *run) finish() {
	blocked := false
	for _, b := range r.h.txs {
		if _, decided := r.h.committed[b.Offset]; !decided {
			blocked = true
		}
	}
	for _, b := range r.h.txs {
		n := r.target[b.Offset]
		switch {
		case n > 1:
			r.t.Fatalf("I4: %d was applied %d times", b.Offset, n)
		case n == 1 && !r.h.committed[b.Offset]:
			r.t.Fatalf("I2: %d was applied", b.Offset)
		case n == 0 && r.h.committed[b.Offset] && !blocked:
			r.t.Fatalf("%d was never applied", b.Offset)
		}
	}
	if !blocked && r.s.Low() != r.h.next {
		r.t.Fatalf("position is %d at the end, expected %d", r.s.Low(), r.h.next)
	}
	if !blocked && r.s.window.len != 0 {
		r.t.Fatalf("%d records are left in the window", r.s.window.len)
	}
}
