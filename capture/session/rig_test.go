package session_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

func TestMain(m *testing.M) {
	code := testkit.Main(m)
	if broker.cluster != nil {
		broker.cluster.Close()
	}
	os.Exit(code)
}

// broker is the one that the rigs share, each under a prefix of its own.
var broker struct {
	once    sync.Once
	cluster *kfake.Cluster
	err     error
}

func sharedBroker(t testing.TB) []string {
	t.Helper()
	broker.once.Do(func() { broker.cluster, broker.err = kfake.NewCluster(kfake.NumBrokers(1)) })
	if broker.err != nil {
		t.Fatal(broker.err)
	}
	return broker.cluster.ListenAddrs()
}

// rig is a listener with everything behind it: a database of a real server, and
// a broker.
type rig struct {
	t       testing.TB
	pg      *testkit.PG
	db      string
	address string
	topics  topics.Config
	metrics *prometheus.Registry
	codec   *avro.Codec
	ledger  *order.Ledger
	// expected are the transactions that may come for a ticket.
	expected *order.Expected
	cat      *catalog.Catalog
	stop     context.CancelFunc // of the listener, as by SIGTERM
	stopped  chan struct{}      // closed when the listener has returned
}

// setting is what a test changes of a rig.
type setting struct {
	agent    string
	session  func(*session.Config)
	upstream session.Upstream
	brokers  []string
	timeout  time.Duration
	drain    time.Duration
	pg       *testkit.PG
	limits   session.Limits // zero: 100 each
	logs     zapcore.Core   // gets the log too
	// unwatched leaves the catalogue's counter to be read by sessions alone.
	unwatched  bool
	predicates []classify.Predicates
	// encoding is the database's, UTF8 where it is empty.
	encoding string
	// beside is a rig whose database and topics this one shares: another agent.
	beside *rig
}

const source = "orders"

// newRig starts an agent's session layer on a new database; setup is run on it first.
func newRig(t testing.TB, change func(*session.Config), setup ...string) *rig {
	t.Helper()
	return rigWith(t, setting{session: change}, setup...)
}

// rigWith is newRig with more to change.
func rigWith(t testing.TB, want setting, setup ...string) *rig {
	t.Helper()
	r := &rig{expected: &order.Expected{}, t: t, pg: want.pg, codec: avro.New(), metrics: prometheus.NewRegistry(), stopped: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	switch {
	case want.beside != nil:
		r.pg, r.db, r.topics = want.beside.pg, want.beside.db, want.beside.topics
	default:
		if r.pg == nil {
			r.pg = testkit.SharedPostgres(t)
		}
		r.db = r.pg.CreateDB(t)
		if want.encoding != "" {
			r.pg.Exec(t, "postgres", "DROP DATABASE "+r.db, "CREATE DATABASE "+r.db+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING '"+want.encoding+"'")
		}
		r.pg.Exec(t, r.db, setup...)
		if want.brokers == nil {
			want.brokers = sharedBroker(t)
		}
		r.topics = topics.Config{Brokers: want.brokers, Prefix: fmt.Sprintf("%s.%d", r.db, r.pg.Port)}
		if _, err := topics.Create(ctx, r.topics, topics.Want{Sources: []string{source}}); err != nil {
			t.Fatal(err)
		}
	}
	r.serve(ctx, cancel, want)
	return r
}

// serve starts what an agent consists of, and stops it with the test.
func (r *rig) serve(ctx context.Context, cancel context.CancelFunc, want setting) {
	t := r.t
	t.Helper()
	cfg := session.Config{Database: r.db, Level: event.LevelCount, MaxMessage: 16 << 20, ChunkBytes: 64 << 10, AuthTimeout: 30 * time.Second}
	if want.session != nil {
		want.session(&cfg)
	}
	log := zaptest.NewLogger(t, zaptest.WrapOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		if want.logs == nil {
			return c
		}
		return zapcore.NewTee(c, want.logs)
	})))
	var err error
	if r.cat, err = catalog.Open(ctx, catalog.Config{DSN: r.pg.DSN(r.db), Log: log}); err != nil {
		t.Fatal(err)
	}
	producer, err := topics.NewProducer(ctx, r.topics)
	if err != nil {
		t.Fatal(err)
	}
	settler, err := settle.Open(r.pg.DSN(r.db))
	if err != nil {
		t.Fatal(err)
	}
	orderCfg := order.Config{Source: source, Agent: cmp.Or(want.agent, "a1"), Gate: order.GateRecorded, Timeout: want.timeout}
	if cfg.None {
		orderCfg.Gate = order.GateNone
	}
	r.ledger, err = order.Open(ctx, orderCfg,
		order.Deps{Producer: producer, Topics: r.topics, Codec: r.codec, Settler: settler, DSN: r.pg.DSN(r.db), Log: log, Expected: r.expected})
	if err != nil {
		t.Fatal(err)
	}
	kept := prepared.New(r.cat.Prepared(), log)
	if err := kept.Open(ctx); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = ln.Addr().String()
	if want.upstream == nil {
		want.upstream = &session.Primary{Address: upstreamAddress(r.pg)}
	}
	l := session.NewListener(cfg, session.Deps{Upstream: want.upstream,
		Classifier: classify.New(classify.Config{Catalog: r.cat, Predicates: want.predicates}), Catalog: r.cat, Prepared: kept, Ledger: func() *order.Ledger { return r.ledger },
		Log: log, Metrics: session.NewMetrics(r.metrics)}, session.Limits{Sessions: cmp.Or(want.limits.Sessions, 100),
		Handshakes: cmp.Or(want.limits.Handshakes, 100), Drain: cmp.Or(want.drain, time.Second)})
	listening, stop := context.WithCancel(ctx)
	r.stop = stop
	var wait sync.WaitGroup
	run := func(f func() error) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if err := f(); err != nil && ctx.Err() == nil {
				log.Info("a part of the agent has ended", zap.Error(err))
			}
		}()
	}
	run(func() error { defer close(r.stopped); return l.Run(listening, ln) })
	if !want.unwatched {
		run(func() error { return r.cat.Run(ctx) })
	}
	run(func() error {
		err := r.ledger.Run(ctx)
		l.CloseSessions()
		return err
	})
	t.Cleanup(func() {
		cancel()
		wait.Wait()
		closing, done := context.WithTimeout(context.Background(), 3*time.Second)
		defer done()
		_ = r.ledger.Close(closing)
		_, _, _ = r.cat.Close(), producer.Close(), settler.Close()
	})
}

// DSN leads through the agent.
func (r *rig) DSN() string {
	return "postgres://postgres@" + r.address + "/" + r.db + "?sslmode=disable"
}

// client opens a raw session through the agent.
func (r *rig) client() *rawClient { return dialRaw(r.t, r.address, r.db) }

// record is one record of the ops topic with its offset.
type record struct {
	offset int64
	*event.Record
}

// records reads the ops topic as it is now.
func (r *rig) records() []record {
	r.t.Helper()
	messages, err := topics.ReadAll(context.Background(), r.topics, r.topics.Names().Ops(source))
	if err != nil {
		r.t.Fatal(err)
	}
	var out []record
	for _, m := range messages {
		rec, err := r.codec.DecodeRecord(m.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, record{m.Offset, rec})
	}
	return out
}

// committed returns the operations of committed transactions, chunks included,
// in the topic's order, once every intent has its outcome.
func (r *rig) committed() []event.Operation {
	r.t.Helper()
	var ops []event.Operation
	testkit.Eventually(r.t, testkit.Patience, func() error {
		var err error
		ops, err = committedOf(r.records())
		return err
	})
	return ops
}
