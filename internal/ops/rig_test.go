package ops

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// bench is a broker, databases and configuration files for commands.
type bench struct {
	t                       *testing.T
	pg                      *testkit.PG
	primary, target         string // databases
	agent, worker, verifier string // configuration files
	kafka                   topics.Config
	codec                   *avro.Codec
	producer                *topics.Producer
	chains                  map[string]*chain
	xid                     uint64 // of the next intent; 0: none
}

// chain is the end of one agent's epoch.
type chain struct {
	epoch, n int64
	prev     []byte
}

func newBench(t *testing.T) *bench {
	t.Helper()
	pg := testkit.SharedPostgres(t)
	b := &bench{t: t, pg: pg, primary: pg.CreateDB(t), target: pg.CreateDB(t), codec: avro.New(), chains: map[string]*chain{}}
	b.kafka = topics.Config{Brokers: testkit.Kfake(t), Prefix: "opmux"}
	dir := t.TempDir()
	common := fmt.Sprintf("kafka: {brokers: [%q]}\n", b.kafka.Brokers[0])
	b.agent = b.write(dir, "agent.yaml", common+fmt.Sprintf(`source: orders
agent: a1
listen: {address: "127.0.0.1:6432"}
upstream: {address: "127.0.0.1:%d", database: %s}
catalog: {dsn: %q}
`, pg.Port, b.primary, pg.DSN(b.primary)))
	b.worker = b.write(dir, "worker.yaml", common+fmt.Sprintf("target: standby\nname: w1\nsources: [{name: orders}]\ndsn: %q\n", pg.DSN(b.target)))
	b.verifier = b.write(dir, "verifier.yaml", common+"name: v1\nsources: [{name: orders, targets: [standby]}]\n")
	return b
}

func (b *bench) write(dir, name, text string) string {
	b.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// withTopics makes the topics.
func (b *bench) withTopics() *bench {
	b.t.Helper()
	b.must("topics", "create", "--config", b.worker)
	var err error
	if b.producer, err = topics.NewProducer(b.t.Context(), b.kafka); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = b.producer.Close() })
	return b
}

// run runs a command.
func (b *bench) run(args ...string) (stdout, stderr string, err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 60*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	err = Run(ctx, IO{Out: &out, Err: &errs}, args)
	return out.String(), errs.String(), err
}

// must runs a command that succeeds.
func (b *bench) must(args ...string) string {
	b.t.Helper()
	out, errs, err := b.run(args...)
	if err != nil {
		b.t.Fatalf("opmux %v: %v\n%s%s", args, err, out, errs)
	}
	return out
}

// fails runs a command that ends with a code and says something.
func (b *bench) fails(code int, say string, args ...string) string {
	b.t.Helper()
	out, _, err := b.run(args...)
	if exit.Code(err) != code || (err != nil && !strings.Contains(err.Error(), say)) {
		b.t.Fatalf("opmux %v: exit code %d, %v; want %d and %q\n%s", args, exit.Code(err), err, code, say, out)
	}
	return out
}

// append writes a record to the ops topic, in the chain of its agent.
func (b *bench) append(agent string, body event.Body) int64 {
	b.t.Helper()
	rec := &event.Record{Agent: agent, Body: body}
	if c := b.chains[agent]; c != nil {
		c.n++
		rec.Epoch, rec.N, rec.Prev = c.epoch, c.n, c.prev
	}
	value, err := b.codec.EncodeRecord(rec)
	if err != nil {
		b.t.Fatal(err)
	}
	type answer struct {
		offset int64
		err    error
	}
	done := make(chan answer, 1)
	b.producer.Produce(b.kafka.Names().Ops("orders"), []byte("orders"), value, nil, func(offset int64, err error) { done <- answer{offset, err} })
	a := <-done
	if a.err != nil {
		b.t.Fatal(a.err)
	}
	if b.chains[agent] == nil {
		b.chains[agent] = &chain{epoch: a.offset}
	}
	b.chains[agent].prev = avro.Hash(value)
	return a.offset
}

func (b *bench) fence(agent string) int64 {
	delete(b.chains, agent)
	return b.append(agent, &event.Fence{Gate: "recorded", LowestReader: 1, Primary: event.Primary{Make: "postgres", Version: "15", SystemID: "7", Timeline: 1, Database: b.primary}})
}

// intent writes a transaction that waits for its outcome.
func (b *bench) intent(agent, sql string) (int64, event.Ref) {
	offset := b.append(agent, &event.Transaction{
		ID: event.TxID{byte(b.chains[agent].n + 1)}, Intent: true, FirstChunk: -1, Barrier: strings.HasPrefix(sql, "CREATE"), Context: event.Context{User: "app"}, Postgres: event.PostgresTx{XID: b.xid},
		Operations: []event.Operation{{Kind: event.OpStatement, Class: event.ClassText, Reason: "pinned by its key", Text: sql, Tables: []string{"public.t"}, Digest: event.Digest{SQLState: "00000", Affected: 1}}},
	})
	c := b.chains[agent]
	return offset, event.Ref{Agent: agent, Epoch: c.epoch, N: c.n}
}

func (b *bench) outcome(agent string, ref event.Ref, commit bool) int64 {
	return b.append(agent, &event.Outcomes{List: []event.Outcome{{Ref: ref, Committed: commit}}})
}

// beat publishes a heartbeat and waits until it can be read.
func (b *bench) beat(h topics.Heartbeat) {
	b.t.Helper()
	h.Instance = fmt.Sprint(time.Now().UnixNano())
	testkit.Eventually(b.t, testkit.Patience, func() error {
		if err := b.producer.PublishHeartbeat(h); err != nil {
			return err
		}
		beats, err := topics.ReadHeartbeats(b.t.Context(), b.kafka)
		if err == nil && beats[h.Key()].Instance != h.Instance {
			err = fmt.Errorf("the heartbeat of %s is not there yet", h.Key())
		}
		return err
	})
}

func (b *bench) applies() apply.Config {
	return apply.Config{Target: "standby", Name: "w1", DSN: b.pg.DSN(b.target), Sources: []string{"orders"}, Parallelism: 2}
}

// apply lets a worker apply what is in the topic.
func (b *bench) apply() {
	b.t.Helper()
	w, err := apply.New(b.applies(), apply.Deps{Topics: b.kafka, Codec: b.codec, Metrics: prometheus.NewRegistry()})
	if err != nil {
		b.t.Fatal(err)
	}
	k := &kafka{Config: b.kafka, codec: b.codec}
	at, err := k.bounds(b.t.Context(), "orders")
	if err != nil {
		b.t.Fatal(err)
	}
	if err := w.RunUntil(b.t.Context(), map[string]int64{"orders": at.end}); err != nil {
		b.t.Fatal(err)
	}
}

// beats publishes a heartbeat again and again until stop is called.
func (b *bench) beats(h topics.Heartbeat) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for pause(ctx, 200*time.Millisecond) == nil {
			h.Time = time.Now()
			_ = b.producer.PublishHeartbeat(h)
		}
	}()
	return func() { cancel(); <-ended }
}
