package simulation

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

const source = "orders"

var names = topics.Names{Prefix: "opmux"}

// Made once: parsing schemas and registering metrics costs more than a run.
var (
	codec   = avro.New()
	metrics = order.NewMetrics(nil)
)

// Scenario is what one run does; it is drawn from its seed, and made smaller where
// it fails.
type Scenario struct {
	Seed         uint64
	Gate         string
	Slots        int // agents
	Clients      int
	Transactions int // of each client
	Rows         int
	Lanes        int
	Faults       int
	GateTimeout  time.Duration
	Rule         Rule   // the rule that is broken
	Only         string // the one fault that happens; empty: any
}

func (s Scenario) String() string {
	return fmt.Sprintf("seed %d (gate %s, %d agents, %d clients of %d transactions on %d rows, %d lanes, %d faults, rule %q)",
		s.Seed, s.Gate, s.Slots, s.Clients, s.Transactions, s.Rows, s.Lanes, s.Faults, s.Rule)
}

func scenario(seed uint64, rule Rule) Scenario {
	r := rand.New(rand.NewPCG(seed, 1))
	s := Scenario{Seed: seed, Gate: order.GateRecorded, Slots: 2, Clients: 2 + r.IntN(5), Transactions: 2 + r.IntN(6), Rows: 2 + r.IntN(4),
		Lanes: 1 + r.IntN(4), Faults: r.IntN(7), GateTimeout: between(r, 300*time.Millisecond, 2*time.Second), Rule: rule}
	switch r.IntN(8) {
	case 0, 1:
		s.Gate, s.Slots = order.GateNone, 1
	case 2:
		s.Slots = 3
	case 3:
		s.Faults = 0
	}
	return s
}

// world is everything that one run consists of.
type world struct {
	Scenario
	ctx    context.Context
	cancel context.CancelFunc
	actors sync.WaitGroup

	// mu guards what is outside of the simulated processes.
	mu      sync.Mutex
	chance  *rand.Rand
	broker  *broker
	primary *primary
	target  *target
	slots   []*agent // the newest life of each
	living  []*agent // zombies too
	worker  *worker
	told    map[event.TxID]bool
	killAt  map[string]int
	alone   bool // from here on only the first agent is started again
	result

	complaints sync.Mutex
}

// result is what a run came to.
type result struct {
	lives, epochs, takeOvers, foreseen, groups int
	records, committed, settled                int
	suspect                                    bool
	kills                                      map[string]int
	faults                                     map[string]int
	sideBySide                                 []string
	violations                                 []string
	trace                                      uint64
}

func (w *world) broken(r Rule) bool { return w.Rule == r }

// violate notes that an invariant does not hold.
func (w *world) violate(format string, args ...any) {
	w.complaints.Lock()
	defer w.complaints.Unlock()
	if len(w.violations) < 10 {
		w.violations = append(w.violations, fmt.Sprintf(format, args...))
	}
}

// later runs f after a while.
func (w *world) later(d time.Duration, f func()) {
	w.actors.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-w.ctx.Done():
		}
	})
}

// simulate runs a scenario in a bubble of its own.
func simulate(t *testing.T, s Scenario) result {
	t.Helper()
	var r result
	synctest.Test(t, func(*testing.T) {
		w := &world{Scenario: s, told: map[event.TxID]bool{}, killAt: map[string]int{}}
		w.kills, w.faults = map[string]int{}, map[string]int{}
		w.ctx, w.cancel = context.WithCancel(context.Background())
		w.chance = w.rng("chance")
		w.broker, w.primary = newBroker(w), newPrimary(w)
		w.target = newTarget(w)
		w.run()
		r = w.result
	})
	return r
}

func (w *world) run() {
	w.slots = make([]*agent, w.Slots)
	for i := range w.slots {
		w.startAgent(i)
	}
	w.startWorker()
	var clients sync.WaitGroup
	for i := range w.Clients {
		clients.Go(func() { w.client(i) })
	}
	over := make(chan struct{})
	w.actors.Go(func() { w.nemesis(over) })
	clients.Wait()
	close(over)
	w.heal()
	w.awaitQuiet()
	w.check()
	w.cancel()
	w.actors.Wait()
}

// client runs its transactions one after the other, and thinks between.
func (w *world) client(number int) {
	rng := w.rng(fmt.Sprintf("client %d", number))
	begun := time.Now()
	for n := 1; n <= w.Transactions; n++ {
		var id event.TxID
		binary.BigEndian.PutUint32(id[:], uint32(number+1))
		for try := uint32(1); ; try++ {
			binary.BigEndian.PutUint32(id[4:], uint32(n))
			binary.BigEndian.PutUint32(id[8:], try)
			time.Sleep(between(rng, 0, 4*time.Millisecond))
			if w.transact(id, rng) || time.Since(begun) > 20*time.Second {
				break
			}
			time.Sleep(between(rng, 10*time.Millisecond, 200*time.Millisecond))
		}
	}
}

func rowName(i int) string { return fmt.Sprintf("r%d", i) }

// draw draws a statement.
func (w *world) draw(r *rand.Rand) op {
	o := op{kind: opMix, row: rowName(r.IntN(w.Rows)), arg: r.Uint64N(1 << 32)}
	other := rowName(r.IntN(w.Rows))
	switch r.IntN(20) {
	case 0, 1, 2:
		o.kind, o.on = opCopy, other
	case 3, 4:
		o.kind, o.on = opRef, other
	case 5:
		o.kind = opDelete
	case 6, 7:
		o.kind = opInsert
	case 8:
		o.kind, o.row = opDDL, table
	case 9, 10:
		o.kind = opDraw
	}
	return o
}
