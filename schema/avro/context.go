package avro

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opmux/opmux/event"
)

// usualBaseline is the baseline that this build writes.
const usualBaseline = 1

// The branches of the union Change.next.
const (
	nextAbsent = iota
	nextOther
	nextValue
	nextSetting
)

func writeContext(w *writer, c *event.Context) {
	w.string(c.User)
	w.string(c.Application)
	number := 0
	base := published.Baselines[usualBaseline]
	if 2*len(c.Settings) > len(base) { // else naming what is absent would be longer
		number = usualBaseline
	} else {
		base = nil
	}
	w.long(int64(number))
	writeChanges(w, base, c.Settings)
}

// writeChanges walks both lists once. A setting that the rest of the baseline
// does not have, or has under a place that was passed, is written with its name,
// so that any list comes back as it was, in its order.
func writeChanges(w *writer, base baseline, settings []event.Setting) {
	var block [256]byte // of most contexts, since an array begins with its count
	out := writer{b: block[:0], err: w.err}
	changes, same := 0, 0
	change := func(branch int64) {
		out.long(int64(same))
		out.long(branch)
		changes, same = changes+1, 0
	}
	at := 0
	for i := range settings {
		s := &settings[i]
		to := at
		for to < len(base) && base[to][0] != s.Name {
			to++
		}
		if to == len(base) {
			change(nextSetting)
			writeSetting(&out, s)
			continue
		}
		for ; at < to; at++ {
			change(nextAbsent)
		}
		at++
		switch other := slices.Index(base[to][1:], s.Value); {
		case other == 0:
			same++
		case other > 0:
			change(nextOther)
			out.long(int64(other))
		default:
			change(nextValue)
			out.string(s.Value)
		}
	}
	for ; at < len(base); at++ {
		change(nextAbsent)
	}
	w.err = out.err
	if changes > 0 {
		w.long(int64(changes))
		w.fixed(out.b)
	}
	w.long(0)
}

// readContext takes most contexts whole from the cache, where their bytes are a
// context that was read before.
func readContext(r *reader, c *event.Context) {
	whole := r.b
	size := skimContext(whole)
	if known := r.contexts.get(whole[:size]); known != nil {
		*c = *known
		r.b = whole[size:]
		return
	}
	c.User, c.Application = r.string(), r.string()
	number := r.int()
	base, err := published.baseline(int(number))
	if err != nil {
		r.fail(err)
		return
	}
	c.Settings = readChanges(r, base)
	if r.err == nil && size == len(whole)-len(r.b) {
		r.contexts.put(whole[:size], c)
	}
}

func readChanges(r *reader, base baseline) []event.Setting {
	p := patch{base: base, out: make([]event.Setting, 0, len(base))}
	readArray(r, func(r *reader, _ *struct{}) {
		p.keep(r, int64(r.int()))
		p.next(r)
	})
	p.keep(r, int64(len(p.base)-p.at))
	if r.err != nil || len(p.out) == 0 {
		return nil
	}
	return slices.Clip(p.out) // it may be shared: who appends gets a copy
}

// patch makes settings of a baseline and changes.
type patch struct {
	base baseline
	at   int
	out  []event.Setting
}

var errBaseline = errors.New("a context changes settings that its baseline does not have")

func (p *patch) keep(r *reader, n int64) {
	if n < 0 || n > int64(len(p.base)-p.at) {
		r.fail(errBaseline)
		return
	}
	for range n {
		p.out = append(p.out, event.Setting{Name: p.base[p.at][0], Value: p.base[p.at][1]})
		p.at++
	}
}

func (p *patch) next(r *reader) {
	branch := r.long()
	if branch == nextSetting {
		p.out = append(p.out, event.Setting{Name: r.string(), Value: r.string()})
		return
	}
	if p.at >= len(p.base) {
		r.fail(errBaseline)
		return
	}
	s := event.Setting{Name: p.base[p.at][0]}
	usual := p.base[p.at][1:]
	p.at++
	switch branch {
	case nextAbsent:
		return
	case nextOther:
		other := r.int()
		if other < 0 || int(other) >= len(usual) {
			r.fail(fmt.Errorf("setting %s has no usual value %d", s.Name, other))
			return
		}
		s.Value = usual[other]
	case nextValue:
		s.Value = r.string()
	default:
		r.fail(errBranch(branch))
		return
	}
	p.out = append(p.out, s)
}
