package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// world is a Kafka with a source's topics, and verifiers on it.
type world struct {
	t        *testing.T
	cfg      topics.Config
	codec    *avro.Codec
	producer *topics.Producer
}

func newWorld(t *testing.T) *world { return newWorldOn(t, testkit.Kfake(t)) }

func newWorldOn(t *testing.T, brokers []string) *world {
	w := &world{t: t, codec: avro.New(), cfg: topics.Config{Brokers: brokers, Prefix: "t", Settings: topics.TopicSettings{Partitions: 3}}}
	if _, err := topics.Create(t.Context(), w.cfg, topics.Want{Sources: []string{"orders"}, Targets: []string{"standby"}}); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.producer, err = topics.NewProducer(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.producer.Close() })
	return w
}

// pendingCount reads the gauge of transactions that wait.
func (v *Verifier) pendingCount() int {
	var m dto.Metric
	if err := v.metrics.pending.WithLabelValues("orders").Write(&m); err != nil {
		return 0
	}
	return int(m.GetGauge().GetValue())
}

// life is one running verifier.
type life struct {
	v    *Verifier
	logs *observer.ObservedLogs
	kill func() error
}

func (w *world) verifier(name string, change func(*Config)) *life {
	w.t.Helper()
	cfg := Config{Name: name, Sources: []Source{{Name: "orders", Targets: []string{"standby"}}}, Level: event.LevelCount, Timeout: 30 * time.Second}
	if change != nil {
		change(&cfg)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	v, err := New(cfg, Deps{Topics: w.cfg, Codec: w.codec, Log: zap.New(core), Metrics: prometheus.NewRegistry(), Normalise: strings.ToUpper})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.Run(ctx) }()
	var once sync.Once
	var result error
	l := &life{v: v, logs: logs, kill: func() error {
		once.Do(func() { cancel(); result = <-ended })
		return result
	}}
	w.t.Cleanup(func() {
		if err := l.kill(); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	return l
}

func (w *world) digest(rec *event.DigestRecord) {
	w.t.Helper()
	rec.Time = time.Now().UnixMicro()
	value, err := w.codec.EncodeDigest(rec)
	if err != nil {
		w.t.Fatal(err)
	}
	w.produce(w.cfg.Names().Digests("orders"), digest.Key(rec.Source, rec.Tx), value)
}

func (w *world) record(body event.Body, n int64) int64 {
	w.t.Helper()
	value, err := w.codec.EncodeRecord(&event.Record{Agent: "a1", N: n, Body: body})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.produce(w.cfg.Names().Ops("orders"), []byte("orders"), value)
}

func (w *world) produce(topic string, key, value []byte) int64 {
	w.t.Helper()
	type result struct {
		offset int64
		err    error
	}
	done := make(chan result, 1)
	w.producer.Produce(topic, key, value, nil, func(offset int64, err error) { done <- result{offset, err} })
	r := <-done
	if r.err != nil {
		w.t.Fatal(r.err)
	}
	return r.offset
}

func (w *world) beat(low int64, ready bool, lastError string) {
	w.t.Helper()
	h := topics.Heartbeat{Role: topics.RoleWorker, Target: "standby", Name: "w1", Time: time.Now(), Ready: ready, LastError: lastError,
		Positions: map[string]topics.Position{"orders": {Low: low, End: 100}}}
	if err := w.producer.PublishHeartbeat(h); err != nil {
		w.t.Fatal(err)
	}
	if err := w.producer.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantTotals(want Totals) {
	w.t.Helper()
	testkit.Eventually(w.t, testkit.Patience, func() error {
		got, err := Sum(w.t.Context(), w.cfg)
		if err == nil && got != want {
			err = fmt.Errorf("totals are %+v, want %+v", got, want)
		}
		return err
	})
}

// hookLog is a webhook's other end.
type hookLog struct {
	mu     sync.Mutex
	status []int // of the next answers, then 200
	bodies []string
}

func (h *hookLog) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var p hookPayload
	err := json.NewDecoder(r.Body).Decode(&p)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.status) > 0 {
		rw.WriteHeader(h.status[0])
		h.status = h.status[1:]
		return
	}
	h.bodies = append(h.bodies, fmt.Sprintf("%+v %v", p, err))
}

func (h *hookLog) has(text string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.bodies {
		if strings.Contains(b, text) {
			return nil
		}
	}
	return fmt.Errorf("no post of %d has %q: %v", len(h.bodies), text, h.bodies)
}
