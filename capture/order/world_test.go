package order

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.uber.org/zap/zaptest"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// world is a source's Kafka and primary.
type world struct {
	t     testing.TB
	kafka topics.Config
	pg    *testkit.PG
	db    string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, kafka: topics.Config{Brokers: testkit.Kfake(t)}, pg: testkit.SharedPostgres(t)}
	w.db = w.pg.CreateDB(t)
	w.fill()
	return w
}

// ownPrimary gives the world a server that may be killed.
func (w *world) ownPrimary() *world {
	w.pg, w.db = testkit.Postgres(w.t, testkit.WithConf("wal_writer_delay = 10s", "autovacuum = off")), "postgres"
	w.fill()
	return w
}

func (w *world) fill() {
	w.t.Helper()
	w.pg.Exec(w.t, w.db, "CREATE TABLE t (id int PRIMARY KEY)")
	if _, err := topics.Create(w.t.Context(), w.kafka, topics.Want{Sources: []string{"orders"}}); err != nil {
		w.t.Fatal(err)
	}
}

// agent is one process's ledger with what a process owns.
type agent struct {
	*Ledger
	w        *world
	producer *topics.Producer
	settler  *settle.Server
	cancel   context.CancelFunc
	ran      chan error
}

func (w *world) config(name, gate string) Config {
	return Config{Source: "orders", Agent: name, Gate: gate, Timeout: 3 * time.Second, Beat: 50 * time.Millisecond, SilentBeats: 6}
}

func (w *world) open(cfg Config) (*agent, error) {
	w.t.Helper()
	a := &agent{w: w, ran: make(chan error, 1)}
	var err error
	if a.producer, err = topics.NewProducer(context.Background(), w.kafka); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { a.producer.Close() })
	if a.settler, err = settle.Open(w.pg.DSN(w.db)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { a.settler.Close() })
	testkit.Eventually(w.t, testkit.Patience, a.producer.LastError)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	a.Ledger, err = Open(ctx, cfg, Deps{Producer: a.producer, Topics: w.kafka, Codec: testCodec, Settler: a.settler,
		DSN: w.pg.DSN(w.db), Normalise: strings.ToUpper, Log: zaptest.NewLogger(w.t)})
	if err != nil {
		return nil, err
	}
	a.run()
	return a, nil
}

func (w *world) agent(name, gate string) *agent {
	w.t.Helper()
	a, err := w.open(w.config(name, gate))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (a *agent) run() {
	var ctx context.Context
	ctx, a.cancel = context.WithCancel(context.Background())
	go func() { a.ran <- a.Run(ctx) }()
	a.w.t.Cleanup(a.crash)
}

// crash ends what a SIGKILL would end: nothing is written any more.
func (a *agent) crash() {
	a.cancel()
	a.awaitRun()
	a.producer.Close()
	a.release()
	a.settler.Close()
}

// close ends the agent in order.
func (a *agent) close() {
	a.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		a.w.t.Fatal(err)
	}
	if err := <-a.ran; err != nil {
		a.w.t.Fatalf("Run: %v", err)
	}
	a.ran <- nil
}

// txn is a session's open transaction that has inserted one row.
type txn struct {
	conn *pgx.Conn
	*event.Transaction
}

func (w *world) begin(id int) *txn {
	w.t.Helper()
	x, err := insert(w.pg.Connect(w.t, w.db), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

// insert begins a transaction that inserts a row, and probes it.
func insert(conn *pgx.Conn, id int) (*txn, error) {
	x := &txn{conn: conn, Transaction: write(byte(id))}
	x.ID = event.TxID(uuid.New())
	for _, sql := range []string{"BEGIN", fmt.Sprintf("INSERT INTO t VALUES (%d)", id)} {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			return nil, err
		}
	}
	p := &x.Postgres
	return x, conn.QueryRow(context.Background(), `SELECT pg_current_xact_id()::text::bigint, pg_backend_pid(),
		(SELECT (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity WHERE pid = pg_backend_pid()),
		pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&p.XID, &p.BackendPID, &p.BackendStart, &p.ProbeLSN)
}

func (x *txn) commit() error {
	_, err := x.conn.Exec(context.Background(), "COMMIT")
	return err
}

// ticket takes a ticket and waits until COMMIT may be forwarded.
func (a *agent) ticket(tx *event.Transaction) *Ticket {
	a.w.t.Helper()
	ticket, err := a.Ticket(tx)
	if err == nil {
		err = ticket.Recorded(context.Background())
	}
	if err != nil {
		a.w.t.Fatal(err)
	}
	return ticket
}

// commit runs a whole transaction.
func (a *agent) commit(id int) *Ticket {
	a.w.t.Helper()
	x := a.w.begin(id)
	ticket := a.ticket(x.Transaction)
	if err := x.commit(); err != nil {
		a.w.t.Fatal(err)
	}
	ticket.Committed()
	return ticket
}

// records returns the ops topic.
func (w *world) records() []*event.Record {
	w.t.Helper()
	all, err := topics.ReadAll(context.Background(), w.kafka, w.kafka.Names().Ops("orders"))
	if err != nil {
		w.t.Fatal(err)
	}
	list := make([]*event.Record, len(all))
	for i, m := range all {
		if list[i], err = testCodec.DecodeRecord(m.Value); err != nil {
			w.t.Fatal(err)
		}
	}
	return list
}

// outcomes returns every outcome of the topic in order.
func (w *world) outcomes() map[event.Ref][]event.Outcome {
	w.t.Helper()
	found := map[event.Ref][]event.Outcome{}
	for _, r := range w.records() {
		if o, ok := r.Body.(*event.Outcomes); ok {
			for _, one := range o.List {
				found[one.Ref] = append(found[one.Ref], one)
			}
		}
	}
	return found
}

// awaitOutcome waits for an outcome.
func (w *world) awaitOutcome(ref event.Ref, committed bool, by string) {
	w.t.Helper()
	testkit.Eventually(w.t, testkit.Patience, func() error {
		list := w.outcomes()[ref]
		if len(list) == 0 {
			return fmt.Errorf("%+v has no outcome", ref)
		}
		for _, o := range list {
			if o.Committed != committed || o.By != by {
				return fmt.Errorf("outcomes of %+v: %+v", ref, list)
			}
		}
		return nil
	})
}

func (a *agent) ref(t *Ticket) event.Ref {
	return event.Ref{Agent: a.cfg.Agent, Epoch: a.Epoch(), N: t.N}
}

func (a *agent) awaitEnd() error {
	a.w.t.Helper()
	select {
	case <-a.Done():
		return a.Err()
	case <-time.After(testkit.Patience):
		a.w.t.Fatal("the epoch does not end")
		return nil
	}
}

func (w *world) scan() *Scan {
	w.t.Helper()
	s, err := OpenIntents(context.Background(), w.kafka, testCodec, "orders")
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// heartbeat waits for a heartbeat of an agent that satisfies a condition.
func (w *world) heartbeat(name string, ok func(topics.Heartbeat) bool) topics.Heartbeat {
	w.t.Helper()
	var h topics.Heartbeat
	testkit.Eventually(w.t, testkit.Patience, func() error {
		all, err := topics.ReadHeartbeats(context.Background(), w.kafka)
		if err != nil {
			return err
		}
		var found bool
		if h, found = all["agent/orders/"+name]; !found || !ok(h) {
			return fmt.Errorf("heartbeat: %+v", h)
		}
		return nil
	})
	return h
}

var errStillOpen = errors.New("intents are open")

func (w *world) awaitNoneOpen() {
	w.t.Helper()
	testkit.Eventually(w.t, testkit.Patience, func() error {
		if s := w.scan(); len(s.Open) > 0 {
			return fmt.Errorf("%w: %+v", errStillOpen, s.Open)
		}
		return nil
	})
}

// ask appends a Mark as commands do, outside of any epoch, and waits for it.
func (w *world) ask(a *agent, m event.Mark) {
	w.t.Helper()
	value, err := testCodec.EncodeRecord(&event.Record{Agent: "operator", Body: &m})
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	a.producer.Produce(w.kafka.Names().Ops("orders"), []byte("orders"), value, nil, func(_ int64, err error) { done <- err })
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
}
