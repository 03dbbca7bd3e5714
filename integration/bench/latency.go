package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/opmux/opmux/internal/rig"
)

// ofSlowest is the rate of the latency section, as a share of what goes through
// the slowest way: no way is to be overloaded.
const ofSlowest = 0.4

const latencyIntro = "TPC-B at a fixed rate of transactions (0.4 of what goes through gate recorded on Apache Kafka at full load), 8 clients, " +
	"prepared, scale 20, each latency counted from when the transaction was due. Added is what is above direct, percentile by percentile."

// latency measures what each way adds to a transaction at a fixed rate.
func (b *bench) latency(ctx context.Context, w *world) error {
	load := workload{"tpcb", "prepared", 20}
	if err := w.pgbench.fill(ctx, load.scale); err != nil {
		return err
	}
	top, err := w.pgbench.speed(ctx, w.portOf(wayName(recorded, rig.KafkaReal)), load, clients, "-T", strconv.Itoa(max(2, b.seconds)))
	if err != nil {
		return err
	}
	rate := top.tps * ofSlowest
	p50, p99 := map[string][]float64{}, map[string][]float64{}
	for range b.latencyRounds {
		for _, way := range w.ways {
			list, err := w.pgbench.atRate(ctx, way.port, load, rate, b.latencySeconds)
			if err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			p50[way.name] = append(p50[way.name], percentile(list, 50))
			p99[way.name] = append(p99[way.name], percentile(list, 99))
			b.say("latency at %.0f tps: %-16s p50 %.2f ms, p99 %.2f ms", rate, way.name, percentile(list, 50), percentile(list, 99))
		}
	}
	t := table{title: fmt.Sprintf("at %s transactions a second", number(rate)),
		head: []string{"way", "p50, ms", "p99, ms", "added p50, ms", "added p99, ms"}}
	for _, way := range w.ways {
		a, z := median(p50[way.name]), median(p99[way.name])
		t.rows = append(t.rows, []string{way.name, millis(a), millis(z), millis(a - median(p50[direct])), millis(z - median(p99[direct]))})
	}
	b.report.add("Latency", latencyIntro, t)
	return nil
}
