package topics

import (
	"context"
	"time"
)

// making is how the lots of a topic are made up.
type making struct {
	gather Gathering
	before func() // adds what goes with a lot, nil: nothing
}

// Gathering is how long the first record of a lot waits for others to go with it. A
// request costs this program and the broker more than the few records that it
// carries under moderate load.
type Gathering struct {
	// AtMost bounds the wait; 0: lots are what has come while the last one was under way.
	AtMost time.Duration
	// Expected says whom to wait for; nil: the wait is AtMost whoever comes.
	Expected Expected
	// Several are at least expected where a wait begins.
	Several int
}

// Expected counts records that a topic's producers are to make.
type Expected interface {
	// Coming is how many are on their way as far as is known: once there are none the
	// lot goes. Came is how many of these have come so far.
	Coming() int
	Came() int64
}

// Gather says how a topic's records gather, before the first one.
func (p *Producer) Gather(topic string, how Gathering) {
	p.make(topic, func(m *making) { m.gather = how })
}

// BeforeSending has a function called each time that records of a topic are about to
// be sent: what it produces goes with them. It must not wait for any record, and is
// said before the first one.
func (p *Producer) BeforeSending(topic string, what func()) {
	p.make(topic, func(m *making) { m.before = what })
}

func (p *Producer) make(topic string, change func(*making)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.making[topic]
	change(&m)
	p.making[topic] = m
}

// mostPassed bounds how many lots go at once after waits that brought nothing.
const mostPassed = 63

// gathering waits for a topic's lots. Who was expected may be held up for long, as by a
// lock that the waiting record's own transaction has: after a wait that brought nobody
// the next lots go without one, twice as many each time.
type gathering struct {
	how Gathering

	passing, passed int   // lots that are to go without a wait, and those left of them
	came            int64 // of those expected, with the lots so far
}

// lot waits for records to join the first one of a lot. wake tells of each.
func (g *gathering) lot(ctx context.Context, wake <-chan struct{}) {
	switch {
	case g.how.AtMost <= 0:
	case g.how.Expected == nil:
		_ = sleep(ctx, g.how.AtMost) // who calls looks at ctx
	default:
		g.expect(ctx, wake)
	}
}

// expect waits where somebody waits in the lot who was expected. Other records (outcomes)
// bring nobody: who came to one of these would wait for all that cannot come, and seem to
// show that waits are worth it.
func (g *gathering) expect(ctx context.Context, wake <-chan struct{}) {
	before := g.how.Expected.Came()
	switch {
	case before == g.came:
	case g.passed > 0:
		g.passed--
	case g.how.Expected.Coming() >= g.how.Several:
		g.await(ctx, wake)
		g.learn(g.how.Expected.Came() > before)
	}
	g.came = g.how.Expected.Came()
}

// await waits while more are coming.
func (g *gathering) await(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(g.how.AtMost)
	defer timer.Stop()
	for g.how.Expected.Coming() > 0 {
		select {
		case <-wake:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (g *gathering) learn(came bool) {
	if came {
		g.passing = 0
		return
	}
	g.passing = min(2*g.passing+1, mostPassed)
	g.passed = g.passing
}
