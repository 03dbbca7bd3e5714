package verify

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/broker"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

func TestVerifierOnKafka(t *testing.T) {
	w := newWorld(t)
	l := w.verifier("v1", nil)
	for n := range 200 {
		w.digest(primaryOf(n, 1, 2))
		rows := []int64{1, 2}
		if n == 77 {
			rows[1] = 0
		}
		w.digest(backupOf("standby", n, rows...))
	}
	w.wantTotals(Totals{Match: 399, Mismatch: 1})
	found := l.logs.FilterMessageSnippet("mismatch").All()
	if len(found) != 1 {
		t.Fatalf("%d mismatches are logged", len(found))
	}
	fields := found[0].ContextMap()
	if fields["statement"] != "update t set v = $1" || fields["offset"] != int64(77) || fields["operation"] != int32(1) ||
		!strings.Contains(fmt.Sprint(fields["reason"]), "2 on the primary, 0 on the backup") {
		t.Errorf("the log says %v", fields)
	}
	testkit.Eventually(t, testkit.Patience, func() error {
		beats, err := topics.ReadHeartbeats(t.Context(), w.cfg)
		if err == nil && !beats["verifier//v1"].Ready {
			err = fmt.Errorf("heartbeats are %+v", beats)
		}
		return err
	})
}

func TestVerifierRestartsAndRebalances(t *testing.T) {
	w := newWorld(t)
	const count = 300
	for n := range count {
		w.digest(primaryOf(n, 1))
		if n%3 != 0 {
			w.digest(backupOf("standby", n, 1))
		}
	}
	first := w.verifier("v1", nil)
	w.wantTotals(Totals{Match: 200})
	second := w.verifier("v2", nil)
	testkit.Eventually(t, testkit.Patience, func() error {
		if n := second.v.partitionCount(); n == 0 {
			return errors.New("the second verifier has no partition")
		}
		return nil
	})
	for n := 0; n < count; n += 6 {
		w.digest(backupOf("standby", n, 1))
	}
	w.wantTotals(Totals{Match: 250})
	if err := first.kill(); err != nil {
		t.Fatal(err)
	}
	if err := second.kill(); err != nil {
		t.Fatal(err)
	}
	for n := 3; n < count; n += 6 {
		w.digest(backupOf("standby", n, 1))
	}
	w.verifier("v3", nil)
	w.wantTotals(Totals{Match: count})
}

func TestVerifierSaysMissingAndTakesItBack(t *testing.T) {
	w := newWorld(t)
	var posts hookLog
	server := httptest.NewServer(&posts)
	t.Cleanup(server.Close)
	w.beat(0, false, "ERROR: relation does not exist")
	l := w.verifier("v1", func(c *Config) {
		c.Timeout = time.Second
		c.Webhook = Webhook{URL: server.URL, Timeout: 5 * time.Second}
	})
	offset := w.record(&event.Transaction{ID: txid(1), FirstChunk: -1, Operations: []event.Operation{
		{Kind: event.OpStatement, Class: event.ClassText, Text: "update t", Digest: event.Digest{SQLState: "00000", Affected: 1}},
	}}, 1)
	rec := primaryOf(1, 1)
	rec.Offset = offset
	w.digest(rec)
	w.wantTotals(Totals{Missing: 1})
	testkit.Eventually(t, testkit.Patience, func() error { return posts.has("relation does not exist") })
	if err := l.kill(); err != nil {
		t.Fatal(err)
	}
	// The group's offset is past it by now: the primary's side has to be looked up.
	w.verifier("v2", func(c *Config) { c.Timeout = time.Second })
	late := backupOf("standby", 1, 1)
	late.Offset = offset
	w.digest(late)
	w.wantTotals(Totals{Match: 1})
}

func TestVerifierWaitsForATargetOnItsWay(t *testing.T) {
	w := newWorld(t)
	w.record(&event.Transaction{ID: txid(1), FirstChunk: -1}, 1)
	l := w.verifier("v1", func(c *Config) { c.Timeout = 2 * time.Second })
	rec := primaryOf(1, 1)
	rec.Offset = 1000
	w.digest(rec)
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for low := range int64(25) { // two and a half times the timeout
		w.beat(low, true, "")
		<-ticker.C
	}
	if found := l.logs.FilterMessageSnippet("missing:").All(); len(found) != 0 {
		t.Fatalf("a target on its way was called missing: %v", found[0].ContextMap())
	}
	w.beat(1001, true, "")
	w.wantTotals(Totals{Missing: 1})
	reason := l.logs.FilterMessageSnippet("missing:").All()[0].ContextMap()["reason"]
	if !strings.Contains(fmt.Sprint(reason), "is past the transaction") {
		t.Errorf("the reason is %v", reason)
	}
}

func TestVerifierKnowsSnapshots(t *testing.T) {
	w := newWorld(t)
	tx := w.record(&event.Transaction{ID: txid(1), FirstChunk: -1}, 1)
	w.record(&event.Mark{Phase: event.MarkSnapshot, Target: "standby"}, 2)
	w.verifier("v1", func(c *Config) { c.Timeout = time.Second })
	rec := primaryOf(1, 1)
	rec.Offset = tx
	w.digest(rec)
	w.wantTotals(Totals{Skipped: 1})
}

func TestVerifierLooksUpIntentsAndChunks(t *testing.T) {
	w := newWorld(t)
	w.verifier("v1", func(c *Config) { c.Timeout = 2 * time.Second })
	op := func(affected int64) event.Operation {
		return event.Operation{Kind: event.OpStatement, Class: event.ClassText, Text: "update t", Digest: event.Digest{SQLState: "00000", Affected: affected}}
	}
	send := func(n int, committed bool, chunks ...*event.Chunk) {
		first := int64(-1)
		for i, c := range chunks {
			if o := w.record(c, int64(10*n+i)); first < 0 {
				first = o
			}
		}
		ticket := int64(10*n + len(chunks))
		offset := w.record(&event.Transaction{ID: txid(n), Intent: true, FirstChunk: first, Chunks: int32(len(chunks)), Operations: []event.Operation{op(3)}}, ticket)
		w.record(&event.Outcomes{List: []event.Outcome{{Ref: event.Ref{Agent: "a1", N: ticket}, Committed: committed}}}, ticket+1)
		rows := []int64{3}
		if chunks != nil {
			rows = []int64{1, 2, 3}
		}
		rec := backupOf("standby", n, rows...)
		rec.Offset = offset
		w.digest(rec)
	}
	send(1, true)
	send(2, false)
	send(3, true, &event.Chunk{Tx: txid(3), Operations: []event.Operation{op(1)}}, &event.Chunk{Tx: txid(3), Index: 1, Operations: []event.Operation{op(2)}})
	w.wantTotals(Totals{Match: 4, Mismatch: 1})
}

func TestI7_VerifierReadsAgainWhatMemoryHadNoRoomFor(t *testing.T) {
	w := newWorld(t)
	w.cfg.Settings.Partitions = 3
	rows := make([]int64, 900) // about 110 kB each
	const count = 60
	for n := range count {
		w.digest(primaryOf(n, rows...))
	}
	for n := range count {
		w.digest(backupOf("standby", n, rows...))
	}
	l := w.verifier("v1", func(c *Config) { c.Memory = 1 })
	w.wantTotals(Totals{Match: count * 900})
	if l.logs.FilterMessageSnippet("reading digests again").Len() == 0 {
		t.Error("memory was never full: the test does not test")
	}
}

func TestVerifierRaisesNoAlarmWhileKafkaIsAway(t *testing.T) {
	start := func(listen, dir string) *broker.Broker {
		var b *broker.Broker
		testkit.Eventually(t, testkit.Patience, func() (err error) {
			b, err = broker.Start(broker.Config{Listen: listen, DataDir: dir})
			return err
		})
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	dir := t.TempDir()
	first := start("127.0.0.1:0", dir)
	address := first.Addrs()[0]
	w := newWorldOn(t, []string{address})
	l := w.verifier("v1", func(c *Config) { c.Timeout = 2 * time.Second })
	w.record(&event.Transaction{ID: txid(1), FirstChunk: -1}, 1)
	w.beat(0, true, "")
	rec := primaryOf(1, 1)
	w.digest(rec)
	testkit.Eventually(t, testkit.Patience, func() error {
		if l.v.pendingCount() == 0 {
			return errors.New("the digest was not read yet")
		}
		return nil
	})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	away := time.NewTimer(12 * time.Second) // longer than the timeout, and than silence
	<-away.C
	start(address, dir)
	w.beat(0, true, "")
	w.digest(backupOf("standby", 1, 1))
	w.wantTotals(Totals{Match: 1})
	if found := l.logs.FilterMessageSnippet("missing:").All(); len(found) != 0 {
		t.Errorf("a digest was called missing while Kafka was away: %v", found[0].ContextMap())
	}
}

func TestVerifierNeedsItsTopics(t *testing.T) {
	cfg := topics.Config{Brokers: testkit.Kfake(t), Prefix: "t"}
	v, err := New(Config{Sources: []Source{{Name: "orders"}}, Level: event.LevelCode, Timeout: time.Second}, Deps{Topics: cfg, Codec: avro.New(), Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	var missing *topics.MissingTopicsError
	if err := v.Run(t.Context()); !errors.As(err, &missing) {
		t.Errorf("Run returned %v", err)
	}
	if v.Ready() == nil {
		t.Error("it is ready")
	}
}
