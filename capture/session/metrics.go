package session

import (
	"maps"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/opmux/opmux/event"
)

// Metrics are those of all sessions of an agent.
type Metrics struct {
	open         atomic.Int64 // bytes
	sessions     prometheus.Gauge
	failedStarts prometheus.Counter
	panics       prometheus.Counter
	refusals     *prometheus.CounterVec
	operations   *prometheus.CounterVec
	lostMarks    prometheus.Counter
	// counters are those of operations that have come, so that labels need not be looked
	// up for each. The map is replaced, never altered.
	counters atomic.Pointer[map[operationLabels]prometheus.Counter]
}

type operationLabels struct {
	class event.Class
	kind  event.OpKind
}

// NewMetrics registers the metrics with reg; nil registers them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "opmux_capture_sessions",
			Help: "Client sessions that are captured now."}),
		failedStarts: prometheus.NewCounter(prometheus.CounterOpts{Name: "opmux_capture_failed_starts_total",
			Help: "Connections that did not become a session."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "opmux_capture_panics_total",
			Help: "Sessions that ended by a defect of the agent's."}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "opmux_capture_refusals_total",
			Help: "Errors of the agent's to clients, by SQLSTATE."}, []string{"sqlstate"}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "opmux_capture_operations_total",
			Help: "Captured operations, by safety class and kind."}, []string{"class", "kind"}),
		lostMarks: prometheus.NewCounter(prometheus.CounterOpts{Name: "opmux_capture_lost_sequence_marks_total",
			Help: "Rolled back transactions whose sequence values could not be published."}),
	}
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "opmux_capture_open_bytes",
			Help: "Memory of what open transactions hold, all sessions together."}, func() float64 { return float64(m.open.Load()) }))
		reg.MustRegister(m.sessions, m.failedStarts, m.panics, m.refusals, m.operations, m.lostMarks)
	}
	return m
}

func (m *Metrics) count(ops []event.Operation) {
	for i := range ops {
		if !ops[i].More {
			m.counter(operationLabels{ops[i].Class, ops[i].Kind}).Inc()
		}
	}
}

func (m *Metrics) counter(l operationLabels) prometheus.Counter {
	known := m.counters.Load()
	if known != nil {
		if c := (*known)[l]; c != nil {
			return c
		}
	}
	c := m.operations.WithLabelValues(string(l.class), string(l.kind))
	more := map[operationLabels]prometheus.Counter{l: c}
	if known != nil {
		maps.Copy(more, *known)
	}
	m.counters.CompareAndSwap(known, &more) // else another session's: it comes in next time
	return c
}
