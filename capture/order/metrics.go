package order

import "github.com/prometheus/client_golang/prometheus"

// Metrics are those of all ledgers of one agent.
type Metrics struct {
	refused  prometheus.Counter
	append   prometheus.Histogram
	open     prometheus.Gauge
	inDoubt  prometheus.Gauge
	bytes    prometheus.Gauge
	outcomes *prometheus.CounterVec
	epochs   prometheus.Counter
}

// NewMetrics registers the metrics; nil registers them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "opmux_order_refused_total",
			Help: "Transactions that had no place or were not granted by the gate."}),
		append: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "opmux_order_append_seconds",
			Help:    "Time from the ticket to the acknowledgement of the record.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		open:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "opmux_order_open_intents", Help: "Intents of the source without an outcome."}),
		inDoubt: prometheus.NewGauge(prometheus.GaugeOpts{Name: "opmux_order_in_doubt", Help: "Intents whose end could not be found out."}),
		bytes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "opmux_order_unacknowledged_bytes", Help: "Bytes of records that wait for Kafka."}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "opmux_order_outcomes_total",
			Help: "Transactions by how they ended."}, []string{"outcome"}),
		epochs: prometheus.NewCounter(prometheus.CounterOpts{Name: "opmux_order_epochs_total", Help: "Epochs that this agent opened."}),
	}
	if reg != nil {
		reg.MustRegister(m.refused, m.append, m.open, m.inDoubt, m.bytes, m.outcomes, m.epochs)
	}
	return m
}
