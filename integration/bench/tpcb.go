package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/opmux/opmux/internal/rig"
)

// sample is one measurement of a way. Processor times are in microseconds a
// transaction.
type sample struct {
	tps    float64
	cpu    float64 // of what stands in between
	broker float64
	all    float64 // of these, of the primary's sessions and of pgbench
}

// tpcb measures transactions a second of every workload through every way.
func (b *bench) tpcb(ctx context.Context, w *world) error {
	scale := 0
	for _, load := range b.workloads {
		if load.scale != scale {
			b.say("filling pgbench's tables at scale %d", load.scale)
			if err := w.pgbench.fill(ctx, load.scale); err != nil {
				return err
			}
			if scale == 0 {
				if err := b.warm(ctx, w, load); err != nil {
					return err
				}
			}
			scale = load.scale
		}
		samples, err := b.speeds(ctx, w, load)
		if err != nil {
			return err
		}
		b.reportSpeeds(w, load, samples)
	}
	return nil
}

// warm uses Apache Kafka until its machine code is made: a JVM that has just started
// takes several times the processor time for a request that it takes later.
func (b *bench) warm(ctx context.Context, w *world, load workload) error {
	for _, way := range w.ways {
		if way.kafka != rig.KafkaReal {
			continue
		}
		b.say("warming up: %s", way.name)
		if _, err := w.measure(ctx, way, load, "-T", strconv.Itoa(b.warmSeconds)); err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
	}
	return nil
}

// speeds measures a workload through every way in turn, round after round.
func (b *bench) speeds(ctx context.Context, w *world, load workload) (map[string][]sample, error) {
	samples := map[string][]sample{}
	for round := range b.rounds + 1 {
		for _, way := range w.waysFor(load) {
			if err := w.pgbench.vacuum(ctx); err != nil {
				return nil, err
			}
			seconds := b.seconds
			if round == 0 {
				seconds = int(settleTime.Seconds())
			}
			s, err := w.measure(ctx, way, load, "-T", strconv.Itoa(seconds))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", way.name, err)
			}
			if round == 0 {
				continue // caches were cold
			}
			b.say("%s, %s, scale %d, round %d: %-16s %6.0f tps, CPU %4.0f µs, of all %4.0f µs",
				load.script, load.mode, load.scale, round, way.name, s.tps, s.cpu, s.all)
			samples[way.name] = append(samples[way.name], s)
		}
	}
	return samples, nil
}

// waysFor leaves out the second broker where nothing is written.
func (w *world) waysFor(load workload) []way {
	var ways []way
	for _, way := range w.ways {
		if !load.reads() || way.kafka != rig.KafkaReal {
			ways = append(ways, way)
		}
	}
	return ways
}

// measure runs a workload through a way.
func (w *world) measure(ctx context.Context, way way, load workload, limit ...string) (sample, error) {
	before, err := w.times(way)
	if err != nil {
		return sample{}, err
	}
	o, err := w.pgbench.speed(ctx, way.port, load, clients, limit...)
	if err != nil {
		return sample{}, err
	}
	after, err := w.times(way)
	if err != nil {
		return sample{}, err
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(o.transactions) }
	s := sample{tps: o.tps, cpu: each(after.between - before.between), broker: each(after.broker - before.broker)}
	s.all = s.cpu + s.broker + each(after.sessions-before.sessions) + each(o.cpu)
	return s, nil
}

// times are the processor times that were used so far.
type times struct{ between, broker, sessions time.Duration }

func (w *world) times(way way) (t times, err error) {
	if t.between, err = cpuOf(way.pids...); err != nil {
		return t, err
	}
	if way.broker != 0 {
		if t.broker, err = cpuOf(way.broker); err != nil {
			return t, err
		}
	}
	t.sessions, err = familyTime(w.primary.Pid(), w.primary.Children)
	return t, err
}

func medianOf(samples []sample, f func(sample) float64) float64 {
	list := make([]float64, len(samples))
	for i, s := range samples {
		list[i] = f(s)
	}
	return median(list)
}

func tpsOf(s sample) float64 { return s.tps }

// reportSpeeds adds a workload's table, and the goals that it decides.
func (b *bench) reportSpeeds(w *world, load workload, samples map[string][]sample) {
	title := fmt.Sprintf("%s, %s, scale %d", scriptTitle(load.script), load.mode, load.scale)
	t := table{title: title, head: []string{"way", "tps (median)", "min – max", "× direct", "× splice", "CPU of it, µs/tx", "CPU of the broker", "CPU of all"}}
	base := medianOf(samples[direct], tpsOf)
	bare := medianOf(samples[splice], tpsOf)
	for _, way := range w.waysFor(load) {
		list := samples[way.name]
		tps := medianOf(list, tpsOf)
		low, high := extremes(list)
		row := []string{way.name, number(tps), number(low) + " – " + number(high), ratio(tps / base), ratio(tps / bare), "", "",
			number(medianOf(list, func(s sample) float64 { return s.all }))}
		if len(way.pids) > 0 {
			row[5] = number(medianOf(list, func(s sample) float64 { return s.cpu }))
		}
		if way.broker != 0 {
			row[6] = number(medianOf(list, func(s sample) float64 { return s.broker }))
		}
		t.rows = append(t.rows, row)
	}
	b.report.add("Transactions a second", speedIntro, t)
	for _, way := range w.waysFor(load) {
		tps := medianOf(samples[way.name], tpsOf)
		if way.gate == none {
			b.report.goal(goal{what: fmt.Sprintf("%s: %s, against the bare splice", title, way.name), want: 1, got: tps / bare, unit: "×"})
		}
		if way.gate == recorded && way.kafka == rig.KafkaReal {
			b.report.goal(goal{what: fmt.Sprintf("%s: %s, against direct", title, way.name), want: 0.5, got: tps / base, unit: "×"})
		}
	}
}

const speedIntro = "pgbench with 8 clients, one way after the other in each round. The bare splice is a Go program that passes " +
	"bytes on unread, with two goroutines for each connection; pgbouncer is in session mode. All of them listen on TCP and go on " +
	"through the primary's unix socket; direct is TCP. kfake is `opmux broker`, Kafka is Apache Kafka. CPU of all adds pgbench, the " +
	"primary's sessions, what stands in between and the broker: where the cores are busy, it is what decides."

func scriptTitle(script string) string {
	switch script {
	case "tpcb":
		return "TPC-B"
	case "simple-update":
		return "-N (simple update)"
	}
	return "-S (select only)"
}

func extremes(samples []sample) (low, high float64) {
	low, high = samples[0].tps, samples[0].tps
	for _, s := range samples {
		low, high = min(low, s.tps), max(high, s.tps)
	}
	return low, high
}
