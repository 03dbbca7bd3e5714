package apply

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

// BenchmarkBacklog applies a backlog of TPC-B's transactions, as pgbench sends
// them with prepared statements and in its simple mode.
func BenchmarkBacklog(b *testing.B) {
	for _, sets := range []string{"", ", one by one"} {
		noSets := func(c *Config) { c.NoSets = sets != "" }
		for _, mode := range []string{"prepared", "simple"} {
			b.Run(mode+sets, func(b *testing.B) { benchmarkBacklog(b, mode == "prepared", 1, noSets) })
		}
		b.Run("two agents"+sets, func(b *testing.B) { benchmarkBacklog(b, true, 2, noSets) })
	}
}

func benchmarkBacklog(b *testing.B, prepared bool, agents int, change func(*Config)) {
	r := newRigOn(b, testkit.SharedPostgres(b))
	r.pg.Exec(b, r.db,
		"CREATE TABLE accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84))",
		"CREATE TABLE tellers (tid int PRIMARY KEY, bid int, tbalance int)",
		"CREATE TABLE branches (bid int PRIMARY KEY, bbalance int)",
		"CREATE TABLE history (tid int, bid int, aid int, delta int, mtime timestamp)",
		"INSERT INTO accounts SELECT i, 1, 0, '' FROM generate_series(1, 100000) i",
		"INSERT INTO tellers SELECT i, 1, 0 FROM generate_series(1, 10) i", "INSERT INTO branches VALUES (1, 0)")
	var list []*agent
	for i := range agents {
		list = append(list, r.agent(fmt.Sprint("a", i)))
	}
	for i := range b.N {
		a := list[i%agents]
		delta, aid, tid := rand.IntN(10000)-5000, 1+rand.IntN(100000), 1+rand.IntN(10)
		depends := max(0, a.n-8)
		tx := a.tx(
			bound(prepared, "UPDATE accounts SET abalance = abalance + $1 WHERE aid = $2", delta, aid),
			bound(prepared, "UPDATE tellers SET tbalance = tbalance + $1 WHERE tid = $2", delta, tid),
			bound(prepared, "UPDATE branches SET bbalance = bbalance + $1 WHERE bid = $2", delta, 1),
			bound(prepared, "INSERT INTO history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, '2026-01-01')", tid, 1, aid, delta),
		)
		for i := range tx.Operations {
			tx.Operations[i].Digest = event.Digest{SQLState: "00000", Affected: 1}
		}
		tx.DependsOn, tx.Intent = depends, true
		a.later(tx)
		a.later(&event.Outcomes{List: []event.Outcome{{Ref: event.Ref{Agent: a.name, Epoch: a.epoch, N: a.n}, Committed: true}}})
	}
	end := r.end()
	w := r.worker(change)
	b.ResetTimer()
	if err := w.RunUntil(b.Context(), map[string]int64{"orders": end}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}

// bound is a statement with parameters, or with them written into its text.
func bound(prepared bool, sql string, args ...any) event.Operation {
	if prepared {
		params := make([]string, len(args))
		for i := range args {
			params[i] = fmt.Sprint(args[i])
		}
		return text(sql, params...)
	}
	for i := len(args); i > 0; i-- {
		sql = strings.ReplaceAll(sql, fmt.Sprintf("$%d", i), fmt.Sprint(args[i-1]))
	}
	return text(sql)
}
