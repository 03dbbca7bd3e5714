package simulation

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// process is one life of a program. Once it is killed nothing of it has an effect:
// its connections end, and the simulated outside ignores it.
type process struct {
	w      *world
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	dead   bool // guarded by w.mu
	cut    bool // from Kafka; guarded by w.mu
	silent bool // it ended with its host: nobody closed its connections; guarded by w.mu
}

var errKilled = errors.New("the process is dead")

func (w *world) process(name string) *process {
	p := &process{w: w, name: name}
	p.ctx, p.cancel = context.WithCancel(w.ctx)
	return p
}

// kill is SIGKILL.
func (p *process) kill() {
	p.w.mu.Lock()
	p.dead = true
	p.w.mu.Unlock()
	p.cancel()
}

func (p *process) alive() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return !p.dead
}

// pause sleeps in the process; an error says that it is dead or ctx over.
func (p *process) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		return errKilled
	case <-timer.C:
	}
	if !p.alive() {
		return errKilled
	}
	return ctx.Err()
}

// rng is an actor's own source of chance, so that what one draws does not depend on
// when others draw.
func (w *world) rng(actor string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(actor)) // it never fails
	return rand.New(&locked{source: rand.NewPCG(w.Seed, h.Sum64())})
}

// locked is a source that several goroutines of one actor draw from.
type locked struct {
	mu     sync.Mutex
	source rand.Source
}

func (l *locked) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.source.Uint64()
}

// between draws a duration; to the nanosecond, so that no two events coincide.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)+1))
}

// latency is a message's way through the network: mostly short.
func latency(r *rand.Rand) time.Duration {
	if r.IntN(30) == 0 {
		return between(r, time.Millisecond, 40*time.Millisecond)
	}
	return between(r, 20*time.Microsecond, 600*time.Microsecond)
}
