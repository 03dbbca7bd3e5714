package topics_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opmux/opmux/internal/broker"
	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/freeport"
	"github.com/opmux/opmux/internal/kafkaserver"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// cluster is a broker that a test can harm.
type cluster interface {
	Brokers() []string
	Kill(t testing.TB)
	Start(t testing.TB)
	Freeze(t testing.TB)
	Thaw(t testing.TB)
}

const brokerEnv = "OPMUX_TEST_BROKER"

// TestMain turns the test binary into a broker where a test asks for one, since
// only a process can be killed.
func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(brokerEnv)); len(args) == 2 {
		fmt.Fprintln(os.Stderr, broker.Run(context.Background(), broker.Config{Listen: args[0], DataDir: args[1]}))
		os.Exit(1)
	}
	code := m.Run()
	if apache.server != nil {
		apache.server.Close()
		os.RemoveAll(apache.dir)
	}
	os.Exit(code)
}

// apache is the Apache Kafka that the tests of this package share: starting it
// takes longer than most of them.
var apache struct {
	dir    string
	server *kafkaserver.Server
}

func kafka(t testing.TB) cluster {
	t.Helper()
	if apache.server == nil {
		dir, err := os.MkdirTemp("", "opmux-topics-")
		if err != nil {
			t.Fatal(err)
		}
		if apache.server, err = kafkaserver.Start(context.Background(), dir); err != nil {
			os.RemoveAll(dir)
			t.Fatal(err)
		}
		apache.dir = dir
	}
	return &testkit.KafkaServer{Server: apache.server}
}

// embedded is `opmux broker` in a process of its own.
type embedded struct {
	address, dir string
	p            *child.Process
}

func newEmbedded(t testing.TB) *embedded {
	t.Helper()
	port, err := freeport.Pick()
	if err != nil {
		t.Fatal(err)
	}
	e := &embedded{address: freeport.Address(port), dir: t.TempDir()}
	e.Start(t)
	t.Cleanup(func() { e.p.Kill() })
	return e
}

func (e *embedded) Brokers() []string { return []string{e.address} }

func (e *embedded) Start(t testing.TB) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e.p, err = child.Start(child.Config{Name: "broker", Path: self, Log: filepath.Join(e.dir, "log"),
		Env: []string{brokerEnv + "=" + e.address + " " + e.dir}})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.Patience, func() error {
		_, err := topics.Check(t.Context(), topics.Config{Brokers: e.Brokers()}, topics.Want{})
		return err
	})
}

func (e *embedded) Kill(t testing.TB) {
	t.Helper()
	if err := e.p.Kill(); err != nil {
		t.Fatal(err)
	}
}

func (e *embedded) Freeze(t testing.TB) {
	t.Helper()
	if err := e.p.Freeze(); err != nil {
		t.Fatal(err)
	}
}

func (e *embedded) Thaw(t testing.TB) {
	t.Helper()
	if err := e.p.Thaw(); err != nil {
		t.Fatal(err)
	}
}

// onBoth runs a test on the embedded broker and on Apache Kafka.
func onBoth(t *testing.T, f func(t *testing.T, c cluster)) {
	t.Run("embedded", func(t *testing.T) { f(t, newEmbedded(t)) })
	t.Run("kafka", func(t *testing.T) { f(t, kafka(t)) })
}

// config names a cluster with topics of this test's own.
func config(t testing.TB, c cluster, want topics.Want) topics.Config {
	t.Helper()
	cfg := topics.Config{Brokers: c.Brokers(), Prefix: strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())}
	if _, err := topics.Create(t.Context(), cfg, want); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func producer(t testing.TB, cfg topics.Config) *topics.Producer {
	t.Helper()
	p, err := topics.NewProducer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// acks collects what a producer says of records.
type acks struct {
	mu      sync.Mutex
	order   []int
	offsets []int64
	errs    []error
}

// send appends records n from from (included) to to (excluded).
func (a *acks) send(p *topics.Producer, topic string, from, to int) {
	for i := from; i < to; i++ {
		p.Produce(topic, []byte("orders"), fmt.Appendf(nil, "record %d", i), nil, func(offset int64, err error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			if err != nil {
				a.errs = append(a.errs, err)
				return
			}
			a.order, a.offsets = append(a.order, i), append(a.offsets, offset)
		})
	}
}

// ended says whether n records were acknowledged.
func (a *acks) ended(n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.errs) > 0 {
		return fmt.Errorf("%d records failed, the first: %w", len(a.errs), a.errs[0])
	}
	if len(a.order) != n {
		return fmt.Errorf("%d of %d records are acknowledged", len(a.order), n)
	}
	return nil
}

// mustBeOrdered checks that records 0 to n are in the topic once, in order, and
// were acknowledged in that order with their offsets.
func (a *acks) mustBeOrdered(t *testing.T, cfg topics.Config, topic string, n int) {
	t.Helper()
	all, err := topics.ReadAll(t.Context(), cfg, topic)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != n {
		t.Fatalf("the topic has %d records, want %d", len(all), n)
	}
	for i, m := range all {
		if want := fmt.Sprintf("record %d", i); string(m.Value) != want || m.Offset != int64(i) {
			t.Fatalf("offset %d has %q, want %q at %d", m.Offset, m.Value, want, i)
		}
	}
	for i := range a.order {
		if a.order[i] != i || a.offsets[i] != int64(i) {
			t.Fatalf("acknowledgement %d was of record %d at offset %d", i, a.order[i], a.offsets[i])
		}
	}
}
