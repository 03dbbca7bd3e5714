package verify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/opmux/opmux/event"
)

// metrics are the verifier's; docs/verification.md lists them.
type metrics struct {
	operations *prometheus.CounterVec
	digests    *prometheus.CounterVec
	lag        *prometheus.GaugeVec
	pending    *prometheus.GaugeVec
	bytes      *prometheus.GaugeVec
	lookups    *prometheus.CounterVec
	rereads    *prometheus.CounterVec
	posts      *prometheus.CounterVec
	dropped    prometheus.Counter
	unlogged   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		operations: counter("opmux_verify_operations_total", "Operations by verdict. A verdict that replaces another counts again: opmux verdicts counts each once.", "source", "target", "verdict"),
		digests:    counter("opmux_verify_digests_total", "Digest records read, by side: primary or the target's name.", "source", "side"),
		lag:        gauge("opmux_verify_lag_seconds", "Age of the last digest record when it was read.", "source"),
		pending:    gauge("opmux_verify_pending_transactions", "Transactions that wait for a digest.", "source"),
		bytes:      gauge("opmux_verify_pending_bytes", "Memory of the digests that wait.", "source"),
		lookups:    counter("opmux_verify_lookups_total", "Transactions whose primary's side was looked up in the ops topic, by what was found.", "source", "result"),
		rereads:    counter("opmux_verify_rereads_total", "Times that a partition was read again because memory was full.", "source"),
		posts:      counter("opmux_verify_webhook_posts_total", "Webhook posts by result: sent or failed.", "result"),
		dropped:    prometheus.NewCounter(prometheus.CounterOpts{Name: "opmux_verify_webhook_dropped_total", Help: "Verdicts that were not posted because the queue was full or every attempt failed."}),
		unlogged:   prometheus.NewCounter(prometheus.CounterOpts{Name: "opmux_verify_log_dropped_total", Help: "Findings that were not logged because there were too many in one second."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.operations, m.digests, m.lag, m.pending, m.bytes, m.lookups, m.rereads, m.posts, m.dropped, m.unlogged} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// pendingGauge is one partition's share in the gauges of its source.
type pendingGauge struct {
	m            *metrics
	source       string
	count, bytes float64
}

func (g *pendingGauge) set(count int, bytes int64) {
	g.m.pending.WithLabelValues(g.source).Add(float64(count) - g.count)
	g.m.bytes.WithLabelValues(g.source).Add(float64(bytes) - g.bytes)
	g.count, g.bytes = float64(count), float64(bytes)
}

func (m *metrics) verdict(v *event.VerdictRecord) {
	for _, c := range []struct {
		verdict event.Verdict
		count   int32
	}{
		{event.VerdictMatch, v.Match}, {event.VerdictMismatch, v.Mismatch},
		{event.VerdictMissing, v.Missing}, {event.VerdictSkipped, v.Skipped},
	} {
		if c.count > 0 {
			m.operations.WithLabelValues(v.Source, v.Target, string(c.verdict)).Add(float64(c.count))
		}
	}
}

// read notes a digest record that was read at now.
func (m *metrics) read(source string, rec *event.DigestRecord, now time.Time) {
	name := "primary"
	if rec.Target != "" {
		name = rec.Target
	}
	m.digests.WithLabelValues(source, name).Inc()
	m.lag.WithLabelValues(source).Set(now.Sub(time.UnixMicro(rec.Time)).Seconds())
}
