package simulation

import (
	"time"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
)

// points are the steps of a commit at which an agent may be killed.
var points = []string{"before the intent", "intent produced", "recorded", "commit sent", "commit answered", "outcome"}

// nemesis does the run's faults, at any time while clients work.
func (w *world) nemesis(over <-chan struct{}) {
	rng := w.rng("nemesis")
	for range w.Faults {
		select {
		case <-over:
			return
		case <-time.After(between(rng, 0, 60*time.Millisecond)):
		}
		what := faults[rng.IntN(len(faults))]
		for w.Only != "" && what.name != w.Only {
			what = faults[rng.IntN(len(faults))]
		}
		w.mu.Lock()
		w.faults[what.name]++
		w.mu.Unlock()
		what.do(w, rng.IntN(w.Slots), between(rng, 10*time.Millisecond, 6*time.Second))
	}
}

// faults are what can happen; slot and how long are drawn.
var faults = []struct {
	name string
	do   func(w *world, slot int, span time.Duration)
}{
	{"agent killed", func(w *world, slot int, span time.Duration) {
		if a := w.current(slot); a.alive() {
			a.die()
		}
		w.later(span, func() { w.revive(slot) })
	}},
	{"agent's host gone", func(w *world, slot int, span time.Duration) {
		if a := w.current(slot); a.alive() && w.Gate != order.GateNone {
			a.vanish()
		}
		w.later(span, func() { w.revive(slot) })
	}},
	{"agent killed at a step", func(w *world, _ int, span time.Duration) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.killAt[points[int(span)%len(points)]]++
	}},
	{"agent killed at a step", func(w *world, _ int, span time.Duration) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.killAt[points[int(span)%len(points)]]++
	}},
	{"agent stopped", func(w *world, slot int, span time.Duration) {
		a := w.current(slot)
		w.actors.Go(a.stop)
		w.later(span/4, func() { w.revive(slot) })
	}},
	{"agent replaced while it lives", func(w *world, slot int, span time.Duration) {
		if !w.current(slot).alive() {
			return
		}
		w.isolate(w.current(slot), span)
		w.startAgent(slot)
	}},
	{"agent cut off from Kafka", func(w *world, slot int, span time.Duration) { w.isolate(w.current(slot), span) }},
	{"record refused for good", func(w *world, slot int, _ time.Duration) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.slots[slot].producer.refuse = true
	}},
	{"Kafka away", func(w *world, _ int, span time.Duration) {
		w.mu.Lock()
		w.broker.down = true
		w.mu.Unlock()
		w.later(span/2, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.broker.down = false
		})
	}},
	{"primary crashed", func(w *world, _ int, span time.Duration) {
		w.primary.crash()
		w.later(span/10, w.primary.start)
		w.later(span/10+4*time.Second, w.checkpoint)
	}},
	{"connections to the primary lost", func(w *world, _ int, span time.Duration) {
		w.mu.Lock()
		backends := sorted(w.primary.backends)
		w.mu.Unlock()
		for i, b := range backends {
			w.primary.hangUp(b, span/time.Duration(60*(i+1)))
		}
	}},
	{"worker killed", func(w *world, _ int, span time.Duration) {
		w.mu.Lock()
		k := w.worker
		w.mu.Unlock()
		k.kill()
		w.later(span/20, w.startWorker)
	}},
	{"worker replaced while it lives", func(w *world, _ int, _ time.Duration) { w.startWorker() }},
	{"marks asked for", func(w *world, _ int, _ time.Duration) {
		value, err := codec.EncodeRecord(&event.Record{Agent: "operator", Body: &event.Mark{ID: [16]byte{1}, Phase: event.MarkAsk}})
		if err != nil {
			w.violate("%v", err)
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.broker.append(names.Ops(source), []flight{{value: value}})
	}},
}

func (w *world) current(slot int) *agent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slots[slot]
}

// revive starts a slot's agent again, unless it runs.
func (w *world) revive(slot int) {
	w.mu.Lock()
	stays := w.alone && slot > 0
	w.mu.Unlock()
	if !stays && !w.current(slot).alive() {
		w.startAgent(slot)
	}
}

// isolate cuts an agent off from Kafka for a while; it does not know.
func (w *world) isolate(a *agent, span time.Duration) {
	set := func(cut bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		a.cut = cut
	}
	set(true)
	w.later(span, func() { set(false) })
}

// checkpoint lets the server forget where its recovery ended, if an epoch has begun
// since: otherwise what it cannot answer is for an operator.
func (w *world) checkpoint() {
	w.mu.Lock()
	seen := false
	for _, m := range w.broker.topic(names.Ops(source)).log {
		rec, err := codec.DecodeRecord(m.Value)
		if err != nil {
			continue // a worker says so
		}
		f, ok := rec.Body.(*event.Fence)
		seen = seen || ok && f.Primary.Started == w.primary.started
	}
	w.mu.Unlock()
	if seen {
		w.primary.pass()
	}
}

// heal ends what lasts: from here on nothing fails any more.
func (w *world) heal() {
	w.mu.Lock()
	w.broker.down = false
	clear(w.killAt)
	for _, a := range w.living {
		a.cut = false
		a.producer.refuse = false
	}
	up := w.primary.up
	w.mu.Unlock()
	if !up {
		w.primary.start()
	}
	// What is dead may stay so, as long as somebody is left to settle.
	w.mu.Lock()
	w.alone = w.Gate != order.GateNone && w.chance.IntN(3) == 0
	w.mu.Unlock()
	for slot := range w.slots {
		w.revive(slot)
	}
}
