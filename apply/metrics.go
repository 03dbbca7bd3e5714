package apply

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are a worker's metrics, by source.
type metrics struct {
	transactions    *prometheus.CounterVec // by outcome: applied, skipped, aborted
	operations      *prometheus.CounterVec // by kind and way: single, set
	unlike          *prometheus.CounterVec
	differs         *prometheus.CounterVec
	groups          *prometheus.CounterVec
	groupSize       *prometheus.HistogramVec
	retries         *prometheus.CounterVec // by reason
	errors          *prometheus.CounterVec
	lagTransactions *prometheus.GaugeVec
	lagSeconds      *prometheus.GaugeVec
	open            *prometheus.GaugeVec
	position        *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "opmux_apply_" + name, Help: help}, append([]string{"source"}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "opmux_apply_" + name, Help: help}, []string{"source"})
	}
	m := &metrics{
		transactions: counter("transactions_total", "Transactions that are finished, by outcome.", "outcome"),
		operations:   counter("operations_total", "Operations executed on the target, by kind, one by one or together with others.", "kind", "way"),
		unlike:       counter("unlike_operations_total", "Operations that hit another number of rows than on the primary."),
		differs:      counter("unlike_definitions_total", "Tables that were found to be defined otherwise than on the primary."),
		groups:       counter("groups_total", "Target transactions, each of one or more transactions."),
		groupSize: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "opmux_apply_group_transactions", Help: "Transactions of one target transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}, []string{"source"}),
		retries:         counter("retries_total", "Attempts that failed for now and were tried again, by reason.", "reason"),
		errors:          counter("errors_total", "Errors that stopped a stream."),
		lagTransactions: gauge("lag_transactions", "Transactions and records that are not applied yet."),
		lagSeconds:      gauge("lag_seconds", "Age of the oldest transaction that is not applied yet."),
		open:            gauge("open_intents", "Intents read whose outcome is not known yet."),
		position:        gauge("position_offset", "Offset below which everything is applied."),
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.transactions, m.operations, m.unlike, m.differs, m.groups, m.groupSize, m.retries, m.errors,
		m.lagTransactions, m.lagSeconds, m.open, m.position,
	} {
		errs = append(errs, r.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("metrics of apply: %w", err)
	}
	return m, nil
}
