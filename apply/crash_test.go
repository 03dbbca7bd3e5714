package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

const accounts = 8

// load writes transactions whose effects are not idempotent: each adds one to
// two accounts and one to a counter per account kept here. Some abort.
type load struct {
	*rig
	agents []*agent
	want   [accounts]int
	open   []event.Ref
	deltas map[event.Ref][2]int
}

func (r *rig) load(agents ...*agent) *load {
	r.pg.Exec(r.t, r.db, "CREATE TABLE acc (id int PRIMARY KEY, v int NOT NULL)",
		fmt.Sprintf("INSERT INTO acc SELECT i, 0 FROM generate_series(0, %d) i", accounts-1),
		"CREATE TABLE history (id bigserial, a int, b int)")
	return &load{rig: r, agents: agents, deltas: map[event.Ref][2]int{}}
}

// write appends n transactions and their outcomes.
func (l *load) write(n int) {
	l.t.Helper()
	for range n {
		a := l.agents[rand.IntN(len(l.agents))]
		x, y := rand.IntN(accounts), rand.IntN(accounts)
		tx := a.tx(
			text("UPDATE acc SET v = v + 1 WHERE id = $1", fmt.Sprint(x)),
			text("UPDATE acc SET v = v + 1 WHERE id = $1", fmt.Sprint(y)),
			text(fmt.Sprintf("INSERT INTO history (a, b) VALUES (%d, %d)", x, y)),
		)
		tx.Intent = rand.IntN(3) > 0
		ref, _ := a.add(tx)
		if !tx.Intent {
			l.want[x]++
			l.want[y]++
			continue
		}
		l.deltas[ref] = [2]int{x, y}
		l.open = append(l.open, ref)
		if rand.IntN(2) == 0 {
			l.settle()
		}
	}
	l.settle()
}

// settle writes the outcomes of what is open, in one record of any agent.
func (l *load) settle() {
	a := l.agents[rand.IntN(len(l.agents))]
	var list []event.Outcome
	for _, ref := range l.open {
		committed := rand.IntN(4) > 0
		list = append(list, event.Outcome{Ref: ref, Committed: committed})
		if committed {
			l.want[l.deltas[ref][0]]++
			l.want[l.deltas[ref][1]]++
		}
	}
	l.open = nil
	if len(list) > 0 {
		a.add(&event.Outcomes{List: list})
	}
}

func (l *load) check() {
	l.t.Helper()
	sum := 0
	for i, want := range l.want {
		l.rig.want(fmt.Sprintf("SELECT v FROM acc WHERE id = %d", i), fmt.Sprint(want))
		sum += want
	}
	l.rig.want("SELECT count(*) * 2 FROM history", fmt.Sprint(sum))
}

func TestI4WorkersEndedAtAnyPoint(t *testing.T) {
	r := newRig(t)
	l := r.load(r.agent("a1"), r.agent("a2"))
	for range 12 {
		l.write(40)
		w := r.start(func(c *Config) { c.Group = 7 })
		pauseUpTo(120 * time.Millisecond)
		w.end()
	}
	r.start()
	r.caughtUp()
	l.check()
}

// pauseUpTo lets something go on for a random while: a point in time to be hit
// is what the test is about, not a condition to wait for.
func pauseUpTo(d time.Duration) { <-time.After(rand.N(d)) }

// proxy passes connections on to a server and cuts them, so that what was sent
// last may have arrived or not, and what was answered may be lost.
type proxy struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	conns    map[net.Conn]bool
	mute     bool   // answers are dropped
	last     string // in the last answer that is not
}

func newProxy(t *testing.T, to string) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, to: to, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = listener.Close(); p.cut() })
	go p.serve()
	return p
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
		go func() { p.answers(client, server); _ = client.Close() }()
	}
}

func (p *proxy) answers(client, server net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := server.Read(buf)
		p.mu.Lock()
		mute := p.mute
		p.mute = mute || p.last != "" && bytes.Contains(buf[:n], []byte(p.last))
		p.mu.Unlock()
		if err == nil && !mute {
			_, err = client.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// cut ends every connection; with lost answers first.
func (p *proxy) cut() {
	p.mu.Lock()
	p.mute = true
	p.mu.Unlock()
	pauseUpTo(10 * time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
	p.mute, p.last = false, ""
}

func (r *rig) throughProxy(t *testing.T) (*proxy, func(*Config)) {
	u, err := url.Parse(r.pg.DSN(r.db))
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, u.Host)
	u.Host = p.listener.Addr().String()
	return p, func(c *Config) { c.DSN = u.String() }
}

func TestI4ConnectionLostAtAnyPoint(t *testing.T) {
	r := newRig(t)
	p, through := r.throughProxy(t)
	l := r.load(r.agent("a1"), r.agent("a2"))
	r.start(through, func(c *Config) { c.Group = 5 })
	for range 30 {
		l.write(20)
		pauseUpTo(30 * time.Millisecond)
		p.cut()
	}
	r.caughtUp()
	l.check()
}

func TestI4SessionsEndedByTheServer(t *testing.T) {
	r := newRig(t)
	l := r.load(r.agent("a1"))
	r.start(func(c *Config) { c.Group = 5 })
	for range 20 {
		l.write(20)
		r.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'opmux apply%'")
	}
	r.caughtUp()
	l.check()
}

func TestI4TargetKilled(t *testing.T) {
	r := newRigOn(t, testkit.Postgres(t))
	l := r.load(r.agent("a1"), r.agent("a2"))
	r.start(func(c *Config) { c.Group = 5 })
	for range 3 {
		l.write(60)
		r.pg.Kill(t)
		l.write(10)
		r.pg.Start(t)
	}
	r.caughtUp()
	l.check()
}

// TestI4TwoWorkersThatBothBelieve has a stream applied by workers that take it
// from each other without any group between them, as a frozen worker does that
// wakes up.
func TestI4TwoWorkersThatBothBelieve(t *testing.T) {
	r := newRig(t)
	l := r.load(r.agent("a1"), r.agent("a2"))
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	fenced := make(chan struct{}, 1000)
	for range 2 {
		workers.Go(func() {
			for ctx.Err() == nil {
				err := r.worker(func(c *Config) { c.Group = 3 }).RunUntil(ctx, map[string]int64{"orders": forever})
				var f *position.FencedError
				if errors.As(err, &f) {
					fenced <- struct{}{}
				}
				pauseUpTo(50 * time.Millisecond)
			}
		})
	}
	for range 20 {
		l.write(30)
	}
	r.caughtUp()
	cancel()
	workers.Wait()
	l.check()
	if len(fenced) == 0 {
		t.Error("no worker was ever fenced: the test tests nothing")
	}
}

// TestI4LanesAreKeptOutByTheirRowAlone: what has taken over, or a connection that was
// lost and arrives late, may have left the row as the lane knows it but for one number.
func TestI4LanesAreKeptOutByTheirRowAlone(t *testing.T) {
	for _, number := range []string{"fence", "seq"} {
		r := newRig(t)
		r.pg.Exec(t, r.db, "CREATE TABLE kept_out (id int PRIMARY KEY)")
		a := r.agent("a1")
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		w := r.worker(func(c *Config) { c.Parallelism = 1 })
		go func() { ended <- w.RunUntil(ctx, map[string]int64{"orders": forever}) }()
		a.commit(text("INSERT INTO kept_out VALUES (1)"))
		r.caughtUp()
		r.pg.Exec(t, r.db, "UPDATE opmux.position SET "+number+" = "+number+" + 2 WHERE lane >= 0")
		a.commit(text("INSERT INTO kept_out VALUES (2)"))
		var fenced *position.FencedError
		if err := <-ended; !errors.As(err, &fenced) {
			t.Errorf("%s: the worker ended with %v, want that it is fenced", number, err)
		}
		r.want("SELECT id FROM kept_out", "1")
	}
}

func TestGroupOfTwoWorkers(t *testing.T) {
	r := newRig(t)
	l := r.load(r.agent("a1"))
	first := r.start(func(c *Config) { c.Name = "w1" })
	l.write(50)
	r.caughtUp()
	r.start(func(c *Config) { c.Name = "w2" })
	l.write(50)
	r.caughtUp()
	first.end()
	l.write(50)
	r.caughtUp()
	l.check()
}
