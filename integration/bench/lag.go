package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/opmux/opmux/internal/rig"
)

const lagIntro = "From the commit of a transaction on the primary to its commit on the backup, by both servers' commit timestamps " +
	"(`track_commit_timestamp`, one clock), of every TPC-B transaction (scale 20, 8 clients, prepared) at half of the rate that goes through " +
	"agent and worker at full load. Settings of agent and worker are the defaults."

const (
	maxLagP50 = 10.0
	maxLagP99 = 50.0
)

// lag measures how long the backup is behind at half load, on both brokers.
func (b *bench) lag(ctx context.Context) error {
	t := table{head: []string{"broker", "full load, tps", "half load, tps", "lag p50, ms", "p90", "p99", "max", "CPU of the agent, µs/tx", "of the worker, µs/tx"}}
	for _, kafka := range []string{rig.KafkaReal, rig.KafkaEmbedded} {
		l, err := b.lagOn(ctx, kafka)
		if err != nil {
			return err
		}
		name := wayName(recorded, kafka)
		p50, p99 := percentile(l.list, 50), percentile(l.list, 99)
		b.say("lag at %.0f tps, %s: p50 %.1f ms, p99 %.1f ms", l.half, name, p50, p99)
		t.rows = append(t.rows, []string{name, number(l.full), number(l.half), millis(p50), millis(percentile(l.list, 90)), millis(p99), millis(l.list[len(l.list)-1]), number(l.agent), number(l.worker)})
		b.report.goal(goal{what: "lag at half load, p50 (" + name + ")", want: maxLagP50, got: p50, atMost: true, unit: "ms"})
		b.report.goal(goal{what: "lag at half load, p99 (" + name + ")", want: maxLagP99, got: p99, atMost: true, unit: "ms"})
	}
	b.report.add("Lag", lagIntro, t)
	return nil
}

// lags is what was measured on one broker.
type lags struct {
	full, half    float64
	list          []float64 // milliseconds, sorted
	agent, worker float64   // microseconds a transaction
}

func (b *bench) lagOn(ctx context.Context, kafka string) (l lags, err error) {
	b.say("putting up primary, backup, agent and worker for the lag (%s)", kafka)
	cfg := b.rigConfig("lag-"+kafka, kafka, recorded)
	cfg.PrimarySettings = append([]string{"track_commit_timestamp = on"}, serverSettings...)
	cfg.BackupSettings = cfg.PrimarySettings
	r, err := rig.New(ctx, cfg)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, s := range []pgbench{{r.Primary, b.dir}, {r.Backup, b.dir}} {
		if err := s.fill(ctx, 20); err != nil {
			return l, err
		}
	}
	agent, worker, err := startBoth(ctx, r)
	if err != nil {
		return l, err
	}
	return b.loadHalf(ctx, r, agent, worker)
}

func startBoth(ctx context.Context, r *rig.Rig) (agent, worker *rig.Program, err error) {
	if err := r.CreateTopics(ctx); err != nil {
		return nil, nil, err
	}
	if agent, err = r.Agent("a1"); err != nil {
		return nil, nil, err
	}
	if worker, err = r.Worker("w1"); err != nil {
		return nil, nil, err
	}
	return agent, worker, errors.Join(agent.Start(ctx), worker.Start(ctx))
}

// loadHalf finds out what full load is and measures at half of it.
func (b *bench) loadHalf(ctx context.Context, r *rig.Rig, agent, worker *rig.Program) (l lags, err error) {
	p, load := pgbench{r.Primary, b.dir}, workload{"tpcb", "prepared", 20}
	port, err := strconv.Atoi(agent.Port())
	if err != nil {
		return l, err
	}
	top, err := p.speed(ctx, port, load, clients, "-T", strconv.Itoa(max(3, b.lagSeconds/3)))
	if err != nil {
		return l, err
	}
	l.full, l.half = top.tps, top.tps/2
	if err := r.Wait(ctx, catchUpTimeout); err != nil {
		return l, err
	}
	since, err := rig.Query(ctx, r.Primary.DSN(rig.Database), "SELECT clock_timestamp()::timestamp + interval '1 s'")
	if err != nil {
		return l, err
	}
	pids := []int{agent.Process.Pid(), worker.Process.Pid()}
	before, err := each(pids)
	if err != nil {
		return l, err
	}
	done, err := p.atRate(ctx, port, load, l.half, b.lagSeconds)
	if err != nil {
		return l, err
	}
	if err := r.Wait(ctx, catchUpTimeout); err != nil {
		return l, err
	}
	after, err := each(pids)
	if err != nil {
		return l, err
	}
	n := float64(len(done))
	l.agent = float64((after[0] - before[0]).Microseconds()) / n
	l.worker = float64((after[1] - before[1]).Microseconds()) / n
	l.list, err = commitLags(ctx, r, since[0][0])
	return l, err
}

func each(pids []int) ([]time.Duration, error) {
	list := make([]time.Duration, len(pids))
	for i, pid := range pids {
		var err error
		if list[i], err = cpuOf(pid); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// commitLags matches the rows of pgbench_history on both sides, which carry the
// primary's time, and returns how much later the backup committed each of them.
func commitLags(ctx context.Context, r *rig.Rig, since string) ([]float64, error) {
	sql := fmt.Sprintf("SELECT concat_ws(' ', mtime, tid, bid, aid, delta), (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM pgbench_history WHERE mtime > '%s'", since)
	primary, err := rig.Query(ctx, r.Primary.DSN(rig.Database), sql)
	if err != nil {
		return nil, err
	}
	backup, err := rig.Query(ctx, r.Backup.DSN(rig.Database), sql)
	if err != nil {
		return nil, err
	}
	if len(primary) == 0 || len(primary) != len(backup) {
		return nil, fmt.Errorf("the primary has %d transactions since %s, the backup %d", len(primary), since, len(backup))
	}
	return matchLags(primary, backup)
}

func matchLags(primary, backup [][]string) ([]float64, error) {
	committed := make(map[string]int64, len(primary))
	for _, row := range primary {
		at, err := strconv.ParseInt(row[1], 10, 64)
		if err != nil {
			return nil, err
		}
		committed[row[0]] = at
	}
	list := make([]float64, 0, len(backup))
	for _, row := range backup {
		at, err := strconv.ParseInt(row[1], 10, 64)
		if err != nil {
			return nil, err
		}
		before, ok := committed[row[0]]
		if !ok {
			return nil, fmt.Errorf("the backup has a transaction that the primary has not: %s", row[0])
		}
		list = append(list, float64(at-before)/1000)
	}
	slices.Sort(list)
	return list, nil
}
