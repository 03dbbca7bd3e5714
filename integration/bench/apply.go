package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
)

const applyIntro = "A backlog of TPC-B transactions (scale 20, 8 clients, prepared, gate recorded, Apache Kafka) is written once " +
	"while nobody applies it. Then apply-worker, with default settings and with `sets: false`, and PostgreSQL's own logical replication (pgoutput, " +
	"one apply process, as it comes) apply it in turn, each to a fresh copy of the same database on the same server. The rate is counted " +
	"from the first moment at which something of the backlog is visible, without what is visible then, to the end of the backlog; " +
	"the time from start also has the start of the process or subscription in it."

// The databases on the backup: what both begin with, and logical replication's.
const (
	baseDB   = "base"
	nativeDB = "native"
)

// The appliers, in the order of the report.
const (
	native = "logical replication"
	worker = "apply-worker"
	noSets = "apply-worker, sets: false"
)

// marksSQL makes the table whose rows 1 and 2 are the ends of the backlog.
const marksSQL = "CREATE TABLE bench_marks (id int PRIMARY KEY)"

// applied is one measurement of an applier.
type applied struct {
	rate, seconds float64
	cpu           float64 // microseconds of the worker a transaction
}

// apply compares how fast a backlog is applied.
func (b *bench) apply(ctx context.Context) (err error) {
	b.say("putting up a primary with a backlog of %d transactions", b.backlog)
	cfg := b.rigConfig("apply", rig.KafkaReal, recorded)
	cfg.PrimarySettings = append([]string{"wal_level = logical"}, serverSettings...)
	cfg.BackupSettings = serverSettings
	r, err := rig.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := b.backlogOf(ctx, r); err != nil {
		return err
	}
	results := map[string][]applied{}
	for round := range b.applyRounds {
		for _, applier := range []struct {
			name string
			run  func() (applied, error)
		}{
			{worker, func() (applied, error) { return b.applyByWorker(ctx, r, fmt.Sprintf("sets%d", round), "") }},
			{native, func() (applied, error) { return b.applyNatively(ctx, r, round) }},
			{noSets, func() (applied, error) {
				return b.applyByWorker(ctx, r, fmt.Sprintf("single%d", round), "sets: false\n")
			}},
		} {
			a, err := applier.run()
			if err != nil {
				return fmt.Errorf("%s: %w", applier.name, err)
			}
			b.say("%s: %.0f transactions a second, %.1f s from start to end", applier.name, a.rate, a.seconds)
			results[applier.name] = append(results[applier.name], a)
		}
	}
	b.reportApply(results)
	return nil
}

// backlogOf fills all databases the same and writes the backlog through the agent.
func (b *bench) backlogOf(ctx context.Context, r *rig.Rig) error {
	for _, s := range []pgbench{{r.Primary, b.dir}, {r.Backup, b.dir}} {
		if err := s.fill(ctx, 20); err != nil {
			return err
		}
		if _, err := rig.Query(ctx, s.server.DSN(rig.Database), marksSQL); err != nil {
			return err
		}
	}
	if err := queries(ctx, r.Backup.DSN("postgres"), "ALTER DATABASE "+rig.Database+" RENAME TO "+baseDB); err != nil {
		return err
	}
	if err := queries(ctx, r.Primary.DSN(rig.Database),
		"CREATE PUBLICATION bench FOR TABLE pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history, bench_marks",
		"SELECT pg_create_logical_replication_slot('base', 'pgoutput')"); err != nil {
		return err
	}
	if err := r.CreateTopics(ctx); err != nil {
		return err
	}
	agent, err := r.Agent("a1")
	if err != nil {
		return err
	}
	if err := agent.Start(ctx); err != nil {
		return err
	}
	if err := queries(ctx, agent.DSN(), "INSERT INTO bench_marks VALUES (1)"); err != nil {
		return err
	}
	port, err := strconv.Atoi(agent.Port())
	if err != nil {
		return err
	}
	if _, err := (pgbench{r.Primary, b.dir}).speed(ctx, port, workload{"tpcb", "prepared", 20}, clients, "-t", strconv.Itoa(b.backlog/clients)); err != nil {
		return err
	}
	return queries(ctx, agent.DSN(), "INSERT INTO bench_marks VALUES (2)")
}

func queries(ctx context.Context, dsn string, list ...string) error {
	for _, sql := range list {
		if _, err := rig.Query(ctx, dsn, sql); err != nil {
			return err
		}
	}
	return nil
}

// fresh makes a database anew from the one that all begin with.
func fresh(ctx context.Context, r *rig.Rig, database string) error {
	return queries(ctx, r.Backup.DSN("postgres"), "DROP DATABASE IF EXISTS "+database+" WITH (FORCE)",
		fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s STRATEGY file_copy", database, baseDB))
}

// applyByWorker applies the backlog to a target of that name. Each copy of the database
// needs a name of its own: a worker refuses to begin anew with one that it has followed.
func (b *bench) applyByWorker(ctx context.Context, r *rig.Rig, target, yaml string) (applied, error) {
	if err := fresh(ctx, r, rig.Database); err != nil {
		return applied{}, err
	}
	worker, err := r.Worker("w1")
	if err != nil {
		return applied{}, err
	}
	r.WorkerYAML, worker.Target = yaml, target
	if err := worker.Configure(); err != nil {
		return applied{}, err
	}
	began := time.Now()
	if err := worker.Launch(); err != nil {
		return applied{}, err
	}
	a, err := b.follow(ctx, r, rig.Database, began)
	if err != nil {
		return a, errors.Join(err, worker.Process.Ended())
	}
	used, err := cpuOf(worker.Process.Pid())
	if err != nil {
		return a, err
	}
	a.cpu = float64(used.Microseconds()) / float64(b.backlog)
	return a, worker.Terminate()
}

func (b *bench) applyNatively(ctx context.Context, r *rig.Rig, round int) (applied, error) {
	if err := fresh(ctx, r, nativeDB); err != nil {
		return applied{}, err
	}
	// A copy of the slot stands at the backlog's begin again.
	slot := fmt.Sprintf("round_%d", round)
	if err := queries(ctx, r.Primary.DSN(rig.Database), fmt.Sprintf("SELECT pg_copy_logical_replication_slot('base', '%s')", slot)); err != nil {
		return applied{}, err
	}
	began := time.Now()
	if err := queries(ctx, r.Backup.DSN(nativeDB), fmt.Sprintf(
		"CREATE SUBSCRIPTION bench CONNECTION 'host=127.0.0.1 port=%d user=postgres dbname=%s' PUBLICATION bench WITH (create_slot = false, slot_name = '%s', copy_data = false)",
		r.Primary.Port, rig.Database, slot)); err != nil {
		return applied{}, err
	}
	a, err := b.follow(ctx, r, nativeDB, began)
	if err != nil {
		return a, err
	}
	return a, queries(ctx, r.Backup.DSN(nativeDB), "DROP SUBSCRIPTION bench")
}

// catchUpTimeout bounds one run of an applier.
const catchUpTimeout = 5 * time.Minute

// follow waits until a database has the whole backlog.
func (b *bench) follow(ctx context.Context, r *rig.Rig, database string, began time.Time) (applied, error) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	conn, err := pgconn.Connect(ctx, r.Backup.DSN(database))
	if err != nil {
		return applied{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it was only read
	if err := awaitMark(ctx, conn, 1); err != nil {
		return applied{}, err
	}
	first, err := countHistory(ctx, conn)
	if err != nil {
		return applied{}, err
	}
	at := time.Now()
	if err := awaitMark(ctx, conn, 2); err != nil {
		return applied{}, err
	}
	// Lanes may commit the last mark before what it does not depend on.
	err = poll(ctx, 2*time.Millisecond, func() (bool, error) {
		n, err := countHistory(ctx, conn)
		return n >= b.backlog, err
	})
	if err != nil {
		return applied{}, err
	}
	end := time.Now()
	if first > b.backlog/2 {
		return applied{}, fmt.Errorf("%d of %d transactions became visible at once: the backlog is too short to be timed", first, b.backlog)
	}
	a := applied{rate: float64(b.backlog-first) / end.Sub(at).Seconds(), seconds: end.Sub(began).Seconds()}
	return a, sameSums(ctx, r, database)
}

func awaitMark(ctx context.Context, conn *pgconn.PgConn, id int) error {
	sql := fmt.Sprintf("SELECT count(*) FROM bench_marks WHERE id = %d", id)
	return poll(ctx, 2*time.Millisecond, func() (bool, error) {
		n, err := askNumber(ctx, conn, sql)
		return n == 1, err
	})
}

func countHistory(ctx context.Context, conn *pgconn.PgConn) (int, error) {
	return askNumber(ctx, conn, "SELECT count(*) FROM pgbench_history")
}

func askNumber(ctx context.Context, conn *pgconn.PgConn, sql string) (int, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(results[0].Rows[0][0]))
}

// sumsSQL tells two states of pgbench's tables apart as well as a benchmark needs.
const sumsSQL = `SELECT (SELECT sum(abalance::bigint * aid) FROM pgbench_accounts), (SELECT sum(tbalance::bigint * tid) FROM pgbench_tellers),
(SELECT sum(bbalance::bigint * bid) FROM pgbench_branches), (SELECT count(*) FROM pgbench_history), (SELECT sum(delta::bigint * aid) FROM pgbench_history)`

// sameSums makes sure that a speed is not one of doing something else.
func sameSums(ctx context.Context, r *rig.Rig, database string) error {
	want, err := rig.Query(ctx, r.Primary.DSN(rig.Database), sumsSQL)
	if err != nil {
		return err
	}
	got, err := rig.Query(ctx, r.Backup.DSN(database), sumsSQL)
	if err != nil {
		return err
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Errorf("after the backlog the backup has %v, and the primary %v", got, want)
	}
	return nil
}

func (b *bench) reportApply(results map[string][]applied) {
	pick := func(name string, f func(applied) float64) float64 {
		var list []float64
		for _, a := range results[name] {
			list = append(list, f(a))
		}
		return median(list)
	}
	rate := func(a applied) float64 { return a.rate }
	base := pick(native, rate)
	t := table{title: fmt.Sprintf("a backlog of %s transactions, medians of %d rounds", number(float64(b.backlog)), b.applyRounds),
		head: []string{"applier", "transactions a second", "× logical replication", "s from start", "CPU of the worker, µs/tx"}}
	for _, name := range []string{native, worker, noSets} {
		row := []string{name, number(pick(name, rate)), ratio(pick(name, rate) / base),
			fmt.Sprintf("%.1f", pick(name, func(a applied) float64 { return a.seconds })), ""}
		if name != native {
			row[4] = number(pick(name, func(a applied) float64 { return a.cpu }))
		}
		t.rows = append(t.rows, row)
	}
	b.report.add("Applying a backlog", applyIntro, t)
	b.report.goal(goal{what: "apply rate of a backlog, against logical replication", want: 1.5, got: pick(worker, rate) / base, unit: "×"})
}
