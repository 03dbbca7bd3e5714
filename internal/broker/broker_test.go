package broker_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/opmux/opmux/internal/broker"
	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/freeport"
	"github.com/opmux/opmux/internal/testkit"
)

const brokerEnv = "OPMUX_TEST_BROKER"

// TestMain turns the test binary into a broker where a test asks for one, since
// only a process can be killed.
func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(brokerEnv)); len(args) == 2 {
		fmt.Fprintln(os.Stderr, run(broker.Config{Listen: args[0], DataDir: args[1]}))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// run stops in order on SIGTERM.
func run(cfg broker.Config) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return broker.Run(ctx, cfg)
}

func startChild(t *testing.T, address, dir string) *child.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := child.Start(child.Config{Name: "broker", Path: self, Log: filepath.Join(dir, "log"),
		Env: []string{brokerEnv + "=" + address + " " + dir}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill() })
	testkit.Eventually(t, testkit.Patience, func() error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return p
}

func client(t *testing.T, address string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(address), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// values reads a topic of one partition whole.
func values(t *testing.T, address, topic string) []string {
	t.Helper()
	c := client(t, address, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(c).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	var all []string
	for int64(len(all)) < end.Offset {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { all = append(all, string(r.Value)) })
	}
	return all
}

// What was acknowledged is there once and in order after any number of kills,
// with offsets committed by groups and topics' settings, also where a stop in
// order left state behind that the kill then made stale.
func TestAcknowledgedRecordsSurviveSIGKILL(t *testing.T) {
	port, err := freeport.Pick()
	if err != nil {
		t.Fatal(err)
	}
	address, dir := freeport.Address(port), t.TempDir()
	p := startChild(t, address, dir)
	c := client(t, address, kgo.StopProducerOnDataLossDetected(), kgo.ProducerLinger(0))
	admin := kadm.NewClient(c)
	retention := "-1"
	if _, err := admin.CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": &retention}, "t"); err != nil {
		t.Fatal(err)
	}
	acked := make(chan error, 10_000)
	sent := 0
	for round := range 6 {
		for range 200 {
			c.Produce(t.Context(), &kgo.Record{Topic: "t", Value: fmt.Appendf(nil, "%d", sent)}, func(_ *kgo.Record, err error) { acked <- err })
			sent++
		}
		// The kill should hit a broker that is at work.
		testkit.Eventually(t, testkit.Patience, func() error {
			if len(acked) <= 200*round {
				return fmt.Errorf("%d acknowledged", len(acked))
			}
			return nil
		})
		if round == 2 {
			if err := p.Terminate(10 * time.Second); err != nil {
				t.Fatal(err)
			}
		} else if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		p = startChild(t, address, dir)
	}
	for range sent {
		if err := <-acked; err != nil {
			t.Fatal(err)
		}
	}
	var offsets kadm.Offsets
	offsets.AddOffset("t", 0, 42, -1)
	if err := admin.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	startChild(t, address, dir)
	all := values(t, address, "t")
	if len(all) != sent {
		t.Errorf("%d records, want %d", len(all), sent)
	}
	for i, v := range all {
		if v != fmt.Sprint(i) {
			t.Fatalf("record %d is %s", i, v)
		}
	}
	committed, err := admin.FetchOffsets(t.Context(), "g")
	if o, ok := committed.Lookup("t", 0); err != nil || !ok || o.At != 42 {
		t.Errorf("the group's offset is %+v, %v", o, err)
	}
	configs, err := admin.DescribeTopicConfigs(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range configs[0].Configs {
		if k.Key == "retention.ms" && k.MaybeValue() != retention {
			t.Errorf("retention.ms is %s", k.MaybeValue())
		}
	}
}

func TestTwoBrokersDoNotShareADirectory(t *testing.T) {
	dir := t.TempDir()
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broker.Start(broker.Config{Listen: "127.0.0.1:0", DataDir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	again, err := broker.Start(broker.Config{Listen: "127.0.0.1:0", DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestAddressInUseIsAnError(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := broker.Start(broker.Config{Listen: b.Addrs()[0]}); err == nil {
		t.Error("two brokers listen on one address")
	}
	if _, err := broker.Start(broker.Config{Listen: "nowhere"}); err == nil {
		t.Error("an address without a port passes")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- broker.Run(ctx, broker.Config{Listen: "127.0.0.1:0", DataDir: t.TempDir()}) }()
	cancel()
	testkit.Eventually(t, testkit.Patience, func() error {
		select {
		case err := <-ended:
			return err
		default:
			return fmt.Errorf("still running")
		}
	})
}
