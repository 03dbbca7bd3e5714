package simulation

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/topics"
)

// agent is one life of a capture agent: one epoch after another, as internal/agent
// runs them.
type agent struct {
	*process
	slot     int
	agent    string // the lasting name
	producer *producer
	rng      *rand.Rand
	ledger   atomic.Pointer[order.Ledger]
	stopping atomic.Bool
	over     chan struct{}

	// guarded by w.mu
	sessions      int
	closeSessions context.CancelFunc
	serving       context.Context
	err           error // why it stopped by itself
}

// startAgent starts the program of a slot.
func (w *world) startAgent(slot int) *agent {
	w.mu.Lock()
	w.lives++
	name := agentName(slot)
	a := &agent{process: w.process(name + "/" + string(rune('A'+w.lives%26))), slot: slot, agent: name, over: make(chan struct{})}
	w.slots[slot] = a
	w.living = append(w.living, a)
	w.mu.Unlock()
	a.name += "/" + time.Now().Format("05.000000000")
	a.producer = newProducer(a.process)
	a.rng = w.rng("agent " + a.name)
	w.actors.Go(func() {
		defer close(a.over)
		a.live()
	})
	return a
}

func agentName(slot int) string { return "a" + string(rune('1'+slot)) }

func (a *agent) config() order.Config {
	return order.Config{Source: source, Agent: a.agent, Gate: a.w.Gate, Timeout: a.w.GateTimeout, Beat: 500 * time.Millisecond, SilentBeats: 4}
}

func (a *agent) live() {
	for {
		err := a.epoch()
		if err == nil || !a.alive() {
			return
		}
		if order.Permanent(err) {
			a.w.mu.Lock()
			a.err = err
			a.w.mu.Unlock()
			a.die()
			return
		}
		if a.pause(a.ctx, between(a.rng, 50*time.Millisecond, 150*time.Millisecond)) != nil {
			return
		}
	}
}

// epoch opens, runs and closes one epoch.
func (a *agent) epoch() error {
	opening, cancel := context.WithTimeout(a.ctx, 5*time.Second)
	defer cancel()
	l, err := order.Open(opening, a.config(), order.Deps{
		Producer: a.producer, Topics: topics.Config{Prefix: names.Prefix}, Codec: codec, Settler: &settler{a.process, a.rng},
		Feed: &feed{a.process, a.w.rng("feed " + a.name)}, Lock: a.w.primary.lockFor(a.process, a.rng), Metrics: metrics,
	})
	if err != nil {
		return err
	}
	a.w.mu.Lock()
	a.serving, a.closeSessions = context.WithCancel(a.ctx)
	a.w.epochs++
	a.w.mu.Unlock()
	defer a.closeSessions()
	a.ledger.Store(l)
	err = l.Run(a.ctx)
	a.ledger.Store(nil)
	a.closeSessions()
	if !a.alive() {
		return errKilled
	}
	if err == nil || a.stopping.Load() { // stop closes it
		return nil
	}
	if order.Permanent(err) {
		return err
	}
	ctx, cancel := a.ctx, func() {}
	if a.w.Gate != order.GateNone {
		ctx, cancel = context.WithTimeout(ctx, a.w.GateTimeout)
	}
	defer cancel()
	_ = l.Close(ctx) // the next epoch settles what is open
	return err
}

// stop is SIGTERM: no new sessions, the epoch closed behind the last.
func (a *agent) stop() {
	if !a.stopping.CompareAndSwap(false, true) {
		return
	}
	for patience := 0; ; patience++ {
		a.w.mu.Lock()
		n, closeSessions := a.sessions, a.closeSessions
		a.w.mu.Unlock()
		if n == 0 {
			break
		}
		if patience == 100 && closeSessions != nil {
			closeSessions()
		}
		if a.pause(a.ctx, 5*time.Millisecond) != nil {
			return
		}
	}
	if l := a.ledger.Load(); l != nil {
		ctx, cancel := context.WithTimeout(a.ctx, 10*time.Second)
		defer cancel()
		_ = l.Close(ctx) // what is open then, others settle
	}
	a.die()
}

// die ends the process and what it held elsewhere.
func (a *agent) die() {
	a.leave()
	a.w.primary.forget(a.process, a.w.rng("end of "+a.name), 0)
}

// vanish ends the process with its host: its connections are not closed, and the
// server does not notice for as long as TCP has it.
func (a *agent) vanish() {
	a.w.mu.Lock()
	a.silent = true
	a.w.mu.Unlock()
	a.leave()
	a.w.primary.forget(a.process, a.w.rng("end of "+a.name), 2*time.Hour)
}

// leave ends the process.
func (a *agent) leave() {
	a.kill()
	w := a.w
	w.mu.Lock()
	for i := range w.living {
		if w.living[i] == a {
			w.living = append(w.living[:i:i], w.living[i+1:]...)
			break
		}
	}
	w.mu.Unlock()
}

// unexpected says whether an agent stopped for a reason that no fault explains: a
// zombie learns that its name is used by another, and it has to; under gate none the
// other one learns that it is not alone.
func (a *agent) unexpected() bool {
	var ended *order.EndedError
	var second *order.SecondAgentError
	alone := a.w.Gate == order.GateNone && errors.As(a.err, &second)
	return a.err != nil && !errors.As(a.err, &ended) && !alone
}
