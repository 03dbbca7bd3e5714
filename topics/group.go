package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/opmux/opmux/internal/crashpoint"
)

// Hooks are a Group's questions and news. Each may be nil.
type Hooks struct {
	// Assigned tells that a partition is this member's now.
	Assigned func(topic string, partition int32)
	// Start says where to begin with a partition, which overrides the group's
	// offset where ok. It may take its time and should retry: an error ends Run.
	Start func(ctx context.Context, topic string, partition int32) (offset int64, ok bool, err error)
	// Lost tells that a partition is another's, after its Handler has ended.
	Lost func(topic string, partition int32)
}

// Handler works on one partition until ctx ends, which it does when the
// partition is given away; next returns the partition's records in order. An
// error ends Run, unless ctx has ended.
type Handler func(ctx context.Context, topic string, partition int32, next func(context.Context) (Message, error)) error

// A member that died or froze is replaced after sessionTimeout.
const (
	sessionTimeout    = 10 * time.Second
	heartbeatInterval = 2 * time.Second
	commitEvery       = time.Second
	leaveTimeout      = 5 * time.Second
)

// Group is a member of a consumer group. The group decides who has which
// partition; every partition is read by a reader of its own, so that a slow one
// holds up no other, and what waits is bounded by Config.FetchBytes each.
type Group struct {
	cfg    Config
	name   string
	topics []string
	hooks  Hooks
	client *kgo.Client
	admin  *kadm.Client
	member string // its lasting name; "" without one

	mu      sync.Mutex
	work    map[partition]*worker
	marks   map[partition]int64 // to be committed
	runCtx  context.Context
	stop    context.CancelFunc // ends Run
	handler Handler
	failed  chan error
}

type partition struct {
	topic string
	id    int32
}

// worker is the goroutine of one partition.
type worker struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

// NewGroup returns a member that joins with Run. A member with a lasting name
// that was killed and starts again takes its own place at once, where one without
// waits until the group has missed it; two members must not have one name, since
// the later one takes the place of the other, whose Run ends with *ReplacedError.
func NewGroup(_ context.Context, cfg Config, group, member string, topics []string, hooks Hooks) (*Group, error) {
	g := &Group{cfg: cfg, name: group, topics: topics, hooks: hooks, member: member,
		work: map[partition]*worker{}, marks: map[partition]int64{}, failed: make(chan error, 1)}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(heartbeatInterval),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { g.assigned(m) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, m map[string][]int32) { g.lost(ctx, m, true) }),
		kgo.OnPartitionsLost(func(ctx context.Context, _ *kgo.Client, m map[string][]int32) { g.lost(ctx, m, false) }),
	}
	if member != "" {
		opts = append(opts, kgo.InstanceID(instanceID(member)))
	}
	client, err := cfg.lastingClient(opts...)
	if err != nil {
		return nil, err
	}
	g.client, g.admin = client, kadm.NewClient(client)
	return g, nil
}

// Run joins the group and calls handler for every partition that it is given,
// each in a goroutine of its own. It returns when ctx ends or a handler fails,
// after all handlers have ended, and leaves the group. It runs once.
func (g *Group) Run(ctx context.Context, handler Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.mu.Lock()
	g.runCtx, g.stop, g.handler = ctx, cancel, handler
	g.mu.Unlock()
	// The group's own client reads nothing: it only has the membership.
	g.client.PauseFetchTopics(g.topics...)
	g.client.AddConsumeTopics(g.topics...)
	var watch sync.WaitGroup
	watch.Go(func() { g.watch(ctx) })
	watch.Go(func() { g.commitLoop(ctx) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-g.failed:
	}
	cancel()
	watch.Wait()
	g.drain()
	err = errors.Join(err, g.leave())
	g.drain() // a partition may have come while it left
	return err
}

// drain waits until no handler runs.
func (g *Group) drain() {
	g.mu.Lock()
	all := slices.Collect(maps.Values(g.work))
	g.mu.Unlock()
	for _, w := range all {
		<-w.ended
	}
}

// watch sees what kgo injects as fetch errors: lost sessions, refused access.
func (g *Group) watch(ctx context.Context) {
	for ctx.Err() == nil {
		g.client.PollFetches(ctx).EachError(func(topic string, p int32, err error) {
			if errors.Is(err, kerr.FencedInstanceID) {
				g.fail(&ReplacedError{Group: g.name, Member: g.member})
				return
			}
			var session *kgo.ErrGroupSession
			// kgo joins again by itself, and the partitions' readers see what
			// matters to them.
			if ctx.Err() != nil || errors.As(err, &session) || transient(err) {
				return
			}
			g.fail(fmt.Errorf("consumer group %s, topic %s: %w", g.name, topic, err))
		})
	}
}

func (g *Group) fail(err error) {
	select {
	case g.failed <- err:
	default: // the first error is the one that Run returns
	}
}

func (g *Group) assigned(m map[string][]int32) {
	if g.hooks.Assigned != nil {
		for topic, ids := range m {
			for _, id := range ids {
				g.hooks.Assigned(topic, id)
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, ids := range m {
		for _, id := range ids {
			p := partition{topic, id}
			ctx, cancel := context.WithCancel(g.runCtx)
			w := &worker{cancel: cancel, ended: make(chan struct{})}
			g.work[p] = w
			go func() {
				defer close(w.ended)
				if err := g.consume(ctx, p); err != nil && ctx.Err() == nil {
					g.fail(fmt.Errorf("topic %s, partition %d: %w", p.topic, p.id, err))
				}
			}()
		}
	}
}

// consume runs the handler of one partition.
func (g *Group) consume(ctx context.Context, p partition) error {
	var from int64
	var r *Reader
	err := retry(ctx, func() (err error) {
		from, err = g.start(ctx, p)
		return err
	})
	if err != nil {
		return err
	}
	err = retry(ctx, func() (err error) {
		r, err = NewPartitionsReader(ctx, g.cfg, p.topic, map[int32]int64{p.id: from})
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // it has no error to tell
	return g.handler(ctx, p.topic, p.id, r.Next)
}

func (g *Group) start(ctx context.Context, p partition) (int64, error) {
	if g.hooks.Start != nil {
		offset, ok, err := g.hooks.Start(ctx, p.topic, p.id)
		if err != nil || ok {
			return offset, err
		}
	}
	at, err := g.Committed(ctx, p.topic, p.id)
	if err == nil && at < 0 {
		at = Earliest
	}
	return at, err
}

// Committed is the offset that the group has committed last, -1 where there is none.
func (g *Group) Committed(ctx context.Context, topic string, id int32) (int64, error) {
	offsets, err := g.admin.FetchOffsets(ctx, g.name)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("reading the offsets of consumer group %s: %w", g.name, err)
	}
	if o, ok := offsets.Lookup(topic, id); ok && o.At >= 0 {
		return o.At, nil
	}
	return -1, nil
}

// lost ends the work on partitions and returns only when it has ended, since
// the group gives them to another then.
func (g *Group) lost(ctx context.Context, m map[string][]int32, commit bool) {
	var gone []partition
	g.mu.Lock()
	for topic, ids := range m {
		for _, id := range ids {
			gone = append(gone, partition{topic, id})
		}
	}
	var ended []*worker
	for _, p := range gone {
		if w := g.work[p]; w != nil {
			w.cancel()
			ended = append(ended, w)
		}
	}
	g.mu.Unlock()
	for _, w := range ended {
		<-w.ended
	}
	if commit {
		g.commit(context.WithoutCancel(ctx))
	}
	g.mu.Lock()
	for _, p := range gone {
		delete(g.work, p)
		delete(g.marks, p)
	}
	g.mu.Unlock()
	if g.hooks.Lost != nil {
		for _, p := range gone {
			g.hooks.Lost(p.topic, p.id)
		}
	}
}

// Commit marks offset as where another member would go on; it is sent within a
// second, and when the partition is given away. Marks of partitions that are
// not this member's are dropped.
func (g *Group) Commit(topic string, id int32, offset int64) {
	p := partition{topic, id}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.work[p] != nil {
		g.marks[p] = offset
	}
}

func (g *Group) commitLoop(ctx context.Context) {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.commit(ctx)
		}
	}
}

// commit sends the marks. What fails is sent again: marks stay until they are
// taken, and a mark is no more than a hint of where to begin.
func (g *Group) commit(ctx context.Context) {
	g.mu.Lock()
	sent := map[partition]int64{}
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for p, o := range g.marks {
		sent[p] = o
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.topic][p.id] = kgo.EpochOffset{Epoch: -1, Offset: o}
	}
	g.mu.Unlock()
	if len(sent) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	crashpoint.At(crashpoint.OffsetBefore)
	if err := commitSync(ctx, g.client, offsets); err != nil {
		return
	}
	crashpoint.At(crashpoint.OffsetAfter)
	g.mu.Lock()
	for p, o := range sent {
		if g.marks[p] == o {
			delete(g.marks, p)
		}
	}
	g.mu.Unlock()
}

// Close ends Run and leaves the group. It may be called twice.
func (g *Group) Close() error {
	g.mu.Lock()
	stop := g.stop
	g.mu.Unlock()
	if stop != nil {
		stop()
	}
	return g.leave()
}
