package order

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// I1, I2: two agents serve sessions; now one, now the other is killed in the middle
// of everything and replaced. In the end every intent has an outcome, nobody
// contradicts anybody, and committed are exactly the rows that the primary has.
func TestI1_I2_OutcomesAreTheTruthThroughCrashes(t *testing.T) {
	w := newWorld(t)
	c := &chaos{w: w, intents: map[event.TxID]int{}}
	for i := range c.agents {
		c.agents[i].Store(w.agent(agentName(i), GateRecorded))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sessions sync.WaitGroup
	for s := range 6 {
		rng := rand.New(rand.NewPCG(uint64(s), 3))
		sessions.Go(func() {
			for ctx.Err() == nil {
				c.transact(rng)
			}
		})
	}
	for round := range 6 {
		i := round % 2
		before := c.next.Load()
		testkit.Eventually(t, testkit.Patience, func() error {
			if n := c.next.Load() - before; n < 40 {
				return fmt.Errorf("%d transactions since the last crash", n)
			}
			return nil
		})
		c.agents[i].Load().crash()
		c.agents[i].Store(w.agent(agentName(i), GateRecorded))
	}
	cancel()
	sessions.Wait()
	w.awaitNoneOpen()
	c.check()
	w.mustBeChained()
}

// mustBeChained checks what workers check: no gap and no wrong hash in any epoch.
func (w *world) mustBeChained() {
	w.t.Helper()
	all, err := topics.ReadAll(context.Background(), w.kafka, w.kafka.Names().Ops("orders"))
	if err != nil {
		w.t.Fatal(err)
	}
	type head struct {
		n    int64
		hash []byte
	}
	heads := map[event.EpochRef]head{}
	for i, r := range w.records() {
		ref := event.EpochRef{Agent: r.Agent, Epoch: r.Epoch}
		if r.Body.Kind() == event.KindMark && len(r.Prev) == 0 {
			continue // a command's
		}
		if r.N == 0 {
			ref.Epoch = int64(i)
		} else if h := heads[ref]; r.N != h.n+1 || !bytes.Equal(r.Prev, h.hash) {
			w.t.Errorf("offset %d: %s/%d/%d follows %d", i, r.Agent, r.Epoch, r.N, h.n)
		}
		heads[ref] = head{r.N, avro.Hash(all[i].Value)}
	}
}

func agentName(i int) string { return fmt.Sprintf("a%d", i+1) }

type chaos struct {
	w      *world
	agents [2]atomic.Pointer[agent]
	next   atomic.Int64

	mu      sync.Mutex
	intents map[event.TxID]int // transaction → row
}

// transact runs one transaction through one of the agents, as far as that lives.
func (c *chaos) transact(rng *rand.Rand) {
	id := int(c.next.Add(1))
	a := c.agents[rng.IntN(2)].Load()
	conn, err := pgx.Connect(context.Background(), c.w.pg.DSN(c.w.db))
	if err != nil {
		c.w.t.Error(err)
		return
	}
	defer conn.Close(context.Background())
	x, err := insert(conn, id)
	if err != nil {
		c.w.t.Error(err)
		return
	}
	tx := x.Transaction
	ticket, err := a.Ticket(tx)
	if err != nil {
		return
	}
	c.mu.Lock()
	c.intents[tx.ID] = id
	c.mu.Unlock()
	if err := ticket.Recorded(context.Background()); err != nil {
		ticket.Aborted()
		return
	}
	switch rng.IntN(8) {
	case 0: // the session is rolled back after all
		ticket.Aborted()
		return
	case 1: // the connection breaks: before COMMIT arrived, or behind it
		if rng.IntN(2) == 0 {
			_ = x.commit() // whether it did is what is to be found out
		}
		ticket.Unknown()
		return
	}
	if x.commit() != nil {
		ticket.Unknown() // somebody took the agent for dead
		return
	}
	ticket.Committed()
}

// check compares the topic with the primary.
func (c *chaos) check() {
	t, w := c.w.t, c.w
	rows := map[int]bool{}
	for _, row := range w.pg.Query(t, w.db, "SELECT id FROM t") {
		id, err := strconv.Atoi(row[0])
		if err != nil {
			t.Fatal(err)
		}
		rows[id] = true
	}
	outcomes := w.outcomes()
	committed := map[int]bool{}
	intents := 0
	for _, r := range w.records() {
		tx, ok := r.Body.(*event.Transaction)
		if !ok {
			continue
		}
		intents++
		list := outcomes[event.Ref{Agent: r.Agent, Epoch: r.Epoch, N: r.N}]
		for _, o := range list {
			if o.Committed != list[0].Committed {
				t.Errorf("outcomes of %s/%d/%d differ: %+v", r.Agent, r.Epoch, r.N, list)
			}
		}
		if len(list) == 0 {
			t.Errorf("%s/%d/%d has no outcome", r.Agent, r.Epoch, r.N)
			continue
		}
		id := c.intents[tx.ID]
		if list[0].Committed != rows[id] {
			t.Errorf("row %d: on the primary %v, outcome %+v", id, rows[id], list)
		}
		committed[id] = true
	}
	for id := range rows {
		if !committed[id] {
			t.Errorf("row %d is committed and not in the topic", id)
		}
	}
	t.Logf("%d intents, %d rows", intents, len(rows))
}
