package topics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// member is a group member whose handler notes what it reads.
type member struct {
	g      *topics.Group
	cancel context.CancelFunc
	ended  chan error

	mu     sync.Mutex
	active map[int32]bool  // partitions with a running handler
	seen   map[int32]int64 // last offset by partition
	lost   []int32
}

func join(t *testing.T, cfg topics.Config, topic string, start func(int32) (int64, bool)) *member {
	t.Helper()
	return joinAs(t, "", cfg, topic, start)
}

func joinAs(t *testing.T, name string, cfg topics.Config, topic string, start func(int32) (int64, bool)) *member {
	t.Helper()
	m := &member{ended: make(chan error, 1), active: map[int32]bool{}, seen: map[int32]int64{}}
	hooks := topics.Hooks{Lost: func(_ string, p int32) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.lost = append(m.lost, p)
		if m.active[p] {
			t.Errorf("partition %d was given away while its handler ran", p)
		}
	}}
	if start != nil {
		hooks.Start = func(_ context.Context, _ string, p int32) (int64, bool, error) {
			o, ok := start(p)
			return o, ok, nil
		}
	}
	var err error
	if m.g, err = topics.NewGroup(t.Context(), cfg, cfg.Names().VerifyGroup(), name, []string{topic}, hooks); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() { m.ended <- m.g.Run(ctx, m.handle) }()
	t.Cleanup(func() { m.cancel(); <-m.ended })
	return m
}

func (m *member) handle(ctx context.Context, topic string, p int32, next func(context.Context) (topics.Message, error)) error {
	m.mu.Lock()
	m.active[p] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.active, p)
		m.mu.Unlock()
	}()
	for {
		msg, err := next(ctx)
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.seen[p] = msg.Offset
		m.mu.Unlock()
		m.g.Commit(topic, p, msg.Offset+1)
	}
}

func (m *member) partitions() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.active))
}

func (m *member) leave(t *testing.T) {
	t.Helper()
	m.cancel()
	if err := <-m.ended; err != nil {
		t.Error(err)
	}
	m.ended <- nil
}

// split says whether members have n partitions between them, each one once.
func split(n int, members ...*member) error {
	var all []int32
	var each [][]int32
	for _, m := range members {
		p := m.partitions()
		if len(p) == 0 {
			return fmt.Errorf("a member has none: %v", each)
		}
		all, each = append(all, p...), append(each, p)
	}
	slices.Sort(all)
	if len(all) != n || len(slices.Compact(all)) != n {
		return fmt.Errorf("partitions %v", each)
	}
	return nil
}

func fill(t *testing.T, p *topics.Producer, topic string, n int) {
	t.Helper()
	for i := range n {
		p.Produce(topic, fmt.Appendf(nil, "key %d", i), []byte("x"), nil, func(_ int64, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func total(seen map[int32]int64) (n int64) {
	for _, o := range seen {
		n += o + 1
	}
	return n
}

func (m *member) read(n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if got := total(m.seen); got != n {
		return fmt.Errorf("read %d of %d", got, n)
	}
	return nil
}

func TestGroupSharesPartitionsAndGoesOnWhereItWas(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := config(t, c, orders)
		topic := cfg.Names().Digests("orders")
		p := producer(t, cfg)
		fill(t, p, topic, 200)
		a := join(t, cfg, topic, nil)
		testkit.Eventually(t, testkit.Patience, func() error { return a.read(200) })
		b := join(t, cfg, topic, nil)
		testkit.Eventually(t, testkit.Patience, func() error { return split(8, a, b) })
		if len(a.lost) != 4 {
			t.Errorf("the first member lost %v", a.lost)
		}
		a.leave(t)
		testkit.Eventually(t, testkit.Patience, func() error { return split(8, b) })
		fill(t, p, topic, 200)
		// What a read and committed is not read again.
		testkit.Eventually(t, testkit.Patience, func() error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if got := total(b.seen); got != 400 {
				return fmt.Errorf("at %d of 400", got)
			}
			return nil
		})
	})
}

func TestGroupStartsWhereTheHookSays(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	topic := cfg.Names().Ops("orders")
	var sent acks
	sent.send(producer(t, cfg), topic, 0, 20)
	testkit.Eventually(t, testkit.Patience, func() error { return sent.ended(20) })
	a := join(t, cfg, topic, func(int32) (int64, bool) { return 15, true })
	testkit.Eventually(t, testkit.Patience, func() error { return a.read(20) })
	a.leave(t)
	first := make(chan int64, 1)
	g, err := topics.NewGroup(t.Context(), cfg, cfg.Names().VerifyGroup(), "", []string{topic}, topics.Hooks{
		Start: func(context.Context, string, int32) (int64, bool, error) { return 3, true, nil }})
	if err != nil {
		t.Fatal(err)
	}
	want := errors.New("the handler's own")
	err = g.Run(t.Context(), func(ctx context.Context, _ string, _ int32, next func(context.Context) (topics.Message, error)) error {
		m, err := next(ctx)
		first <- m.Offset
		return errors.Join(err, want)
	})
	if o := <-first; o != 3 || !errors.Is(err, want) {
		t.Errorf("began at %d, ended with %v", o, err)
	}
}

func TestGroupLivesThroughAKilledBroker(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	topic := cfg.Names().Digests("orders")
	p := producer(t, cfg)
	a := join(t, cfg, topic, nil)
	fill(t, p, topic, 100)
	testkit.Eventually(t, testkit.Patience, func() error { return a.read(100) })
	c.Kill(t)
	c.Start(t)
	fill(t, p, topic, 100)
	testkit.Eventually(t, testkit.Patience, func() error { return a.read(200) })
}

func TestHeartbeats(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	p := producer(t, cfg)
	agent := topics.Heartbeat{Role: topics.RoleAgent, Source: "orders", Name: "a1", N: 7, Time: time.Now().UTC()}
	worker := topics.Heartbeat{Role: topics.RoleWorker, Target: "standby", Name: "w1",
		Positions: map[string]topics.Position{"orders": {Low: 5, End: 9}}}
	for _, h := range []topics.Heartbeat{agent, worker} {
		if err := p.PublishHeartbeat(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	agent.N = 8
	if err := p.PublishHeartbeat(agent); err != nil {
		t.Fatal(err)
	}
	p.RemoveHeartbeat(worker.Key())
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := topics.ReadHeartbeats(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all["agent/orders/a1"].N != 8 || !all["agent/orders/a1"].Time.Equal(agent.Time) {
		t.Errorf("%+v", all)
	}
}

func TestGroupThatNeverRanCloses(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	g, err := topics.NewGroup(t.Context(), cfg, "g", "", []string{cfg.Names().Ops("orders")}, topics.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCloseEndsRun(t *testing.T) {
	c := newEmbedded(t)
	cfg := config(t, c, orders)
	m := join(t, cfg, cfg.Names().Ops("orders"), nil)
	testkit.Eventually(t, testkit.Patience, func() error { return split(1, m) })
	if err := m.g.Close(); err != nil {
		t.Error(err)
	}
	if err := <-m.ended; err != nil {
		t.Error(err)
	}
	m.ended <- nil
	if p := m.partitions(); len(p) > 0 {
		t.Errorf("handlers of %v run on", p)
	}
}
