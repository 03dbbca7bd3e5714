package apply

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

const patience = testkit.Patience

// rig is a topic, a target and the workers between them.
type rig struct {
	t        testing.TB
	kafka    topics.Config
	codec    *avro.Codec
	producer *topics.Producer
	pg       *testkit.PG
	db       string
	log      *zap.Logger
}

func newRig(t *testing.T) *rig { return newRigOn(t, testkit.SharedPostgres(t)) }

func newRigOn(t testing.TB, pg *testkit.PG) *rig {
	t.Helper()
	r := &rig{t: t, kafka: topics.Config{Brokers: testkit.Kfake(t), Prefix: "opmux"}, codec: avro.New(), pg: pg, log: zaptest.NewLogger(t)}
	r.db = r.pg.CreateDB(t)
	ctx := t.Context()
	if _, err := topics.Create(ctx, r.kafka, topics.Want{Sources: []string{"orders"}, Targets: []string{"standby"}}); err != nil {
		t.Fatal(err)
	}
	producer, err := topics.NewProducer(ctx, r.kafka)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = producer.Close() })
	r.producer = producer
	return r
}

// produce appends a record and returns its offset and the hash of its value.
func (r *rig) produce(rec *event.Record) (int64, []byte) {
	r.t.Helper()
	value, err := r.codec.EncodeRecord(rec)
	if err != nil {
		r.t.Fatal(err)
	}
	type ack struct {
		offset int64
		err    error
	}
	done := make(chan ack, 1)
	r.producer.Produce("opmux.orders.ops", []byte("orders"), value, nil, func(offset int64, err error) { done <- ack{offset, err} })
	select {
	case a := <-done:
		if a.err != nil {
			r.t.Fatal(a.err)
		}
		return a.offset, avro.Hash(value)
	case <-time.After(patience):
		r.t.Fatal("no acknowledgement")
	}
	return 0, nil
}

// end is the offset behind the topic's last record.
func (r *rig) end() int64 {
	r.t.Helper()
	if err := r.producer.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	reader, err := topics.NewReader(r.t.Context(), r.kafka, "opmux.orders.ops", topics.Latest)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	end, err := reader.End(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return end
}

// agent writes an epoch.
type agent struct {
	*rig
	name  string
	epoch int64
	n     int64
	hash  []byte
}

func (r *rig) agent(name string, ended ...*agent) *agent {
	r.t.Helper()
	a := &agent{rig: r, name: name}
	fence := &event.Fence{Gate: "recorded", LowestReader: 1, Instance: uuid.New()}
	for _, e := range ended {
		fence.Ended = append(fence.Ended, event.EpochRef{Agent: e.name, Epoch: e.epoch})
	}
	a.epoch, a.hash = r.produce(&event.Record{Agent: name, Body: fence})
	return a
}

func (a *agent) add(body event.Body) (event.Ref, int64) {
	a.t.Helper()
	a.n++
	rec := &event.Record{Agent: a.name, Epoch: a.epoch, N: a.n, Prev: a.hash, Body: body}
	offset, hash := a.produce(rec)
	a.hash = hash
	return event.Ref{Agent: a.name, Epoch: a.epoch, N: a.n}, offset
}

// later appends a record without waiting for Kafka.
func (a *agent) later(body event.Body) {
	a.n++
	value, err := a.codec.EncodeRecord(&event.Record{Agent: a.name, Epoch: a.epoch, N: a.n, Prev: a.hash, Body: body})
	if err != nil {
		a.t.Fatal(err)
	}
	a.hash = avro.Hash(value)
	a.producer.Produce("opmux.orders.ops", []byte("orders"), value, nil, func(_ int64, err error) {
		if err != nil {
			a.t.Error(err)
		}
	})
}

// tx is a transaction with the usual context; it depends on everything before.
func (a *agent) tx(ops ...event.Operation) *event.Transaction {
	return &event.Transaction{
		ID: event.TxID(uuid.Must(uuid.NewV7())), DependsOn: a.n, FirstChunk: -1, Commit: time.Now().UnixMicro(),
		Context: event.Context{User: "postgres", Settings: []event.Setting{
			{Name: "DateStyle", Value: "ISO, MDY"}, {Name: "TimeZone", Value: "UTC"},
			{Name: "search_path", Value: `"$user", public`},
		}},
		Operations: ops,
	}
}

// commit writes a transaction that has committed already (gate none).
func (a *agent) commit(ops ...event.Operation) int64 {
	a.t.Helper()
	_, offset := a.add(a.tx(ops...))
	return offset
}

// intend writes an intent.
func (a *agent) intend(ops ...event.Operation) event.Ref {
	a.t.Helper()
	tx := a.tx(ops...)
	tx.Intent = true
	ref, _ := a.add(tx)
	return ref
}

// decide writes outcomes.
func (a *agent) decide(committed bool, refs ...event.Ref) {
	a.t.Helper()
	var list []event.Outcome
	for _, ref := range refs {
		list = append(list, event.Outcome{Ref: ref, Committed: committed, Time: time.Now().UnixMicro()})
	}
	a.add(&event.Outcomes{List: list})
}

// text is a statement with text parameters.
func text(sql string, params ...string) event.Operation {
	op := event.Operation{Kind: event.OpStatement, Class: event.ClassText, Text: sql}
	for _, p := range params {
		op.Params = append(op.Params, event.Param{Value: []byte(p)})
	}
	return op
}

func values(v ...string) []event.Value {
	list := make([]event.Value, len(v))
	for i := range v {
		list[i] = event.Value{Text: []byte(v[i]), Null: v[i] == testkit.Null}
	}
	return list
}

// running is a worker that runs.
type running struct {
	*Worker
	t    testing.TB
	stop context.CancelFunc
	done chan error
}

func (r *rig) worker(change ...func(*Config)) *Worker {
	r.t.Helper()
	cfg := Config{Target: "standby", Name: "w", DSN: r.pg.DSN(r.db), Sources: []string{"orders"}, Parallelism: 3}
	for _, c := range change {
		c(&cfg)
	}
	w, err := New(cfg, Deps{Topics: r.kafka, Codec: r.codec, Log: r.log, Normalise: func(s string) string { return s }, Shape: classify.Shape, Definition: classify.Definition})
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (r *rig) start(change ...func(*Config)) *running {
	r.t.Helper()
	w := &running{Worker: r.worker(change...), t: r.t, done: make(chan error, 1)}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() { w.done <- w.Run(ctx) }()
	r.t.Cleanup(w.end)
	return w
}

func (w *running) end() {
	w.stop()
	select {
	case err := <-w.done:
		w.done <- err
		if err != nil {
			w.t.Error(err)
		}
	case <-time.After(patience):
		w.t.Error("the worker does not end")
	}
}

// caughtUp waits until the target's position is at the topic's end.
func (r *rig) caughtUp() {
	r.t.Helper()
	end := r.end()
	testkit.Eventually(r.t, patience, func() error { return r.at(end) })
}

func (r *rig) at(offset int64) error {
	all, err := ReadPosition(r.t.Context(), r.pg.DSN(r.db))
	if err != nil {
		return err
	}
	if low := all["orders"].Low; low != offset {
		return fmt.Errorf("position is %d, expected %d", low, offset)
	}
	return nil
}

// replay applies everything up to the topic's end in one shot.
func (r *rig) replay() error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	return r.worker().RunUntil(ctx, map[string]int64{"orders": r.end()})
}

// want compares a query's rows, values joined by "|", rows by " ".
func (r *rig) want(sql, expected string) {
	r.t.Helper()
	if got := r.query(sql); got != expected {
		r.t.Fatalf("%s: got %q, expected %q", sql, got, expected)
	}
}

func (r *rig) query(sql string) string {
	r.t.Helper()
	var rows []string
	for _, row := range r.pg.Query(r.t, r.db, sql) {
		rows = append(rows, strings.Join(row, "|"))
	}
	return strings.Join(rows, " ")
}

// digests returns the worker's digest records by offset of the transaction.
func (r *rig) digests() map[int64]*event.DigestRecord {
	r.t.Helper()
	return r.digestsOf("standby")
}

// digestsOf returns those of a target.
func (r *rig) digestsOf(target string) map[int64]*event.DigestRecord {
	r.t.Helper()
	list, err := topics.ReadAll(r.t.Context(), r.kafka, "opmux.orders.digests")
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[int64]*event.DigestRecord{}
	for _, m := range list {
		d, err := r.codec.DecodeDigest(m.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if have := all[d.Offset]; d.Target == target && (have == nil || have.Skipped != "") {
			all[d.Offset] = d
		}
	}
	return all
}
