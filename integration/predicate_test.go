package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// lockPredicates has writes by a condition travel as text behind a lock of their table.
const lockPredicates = "capture: {predicates: [{tables: \"public.*\", carry: lock}]}\n"

var predicateSchema = []string{
	"CREATE TABLE hot (id int PRIMARY KEY, k int NOT NULL, n bigint NOT NULL)",
	"INSERT INTO hot SELECT i, i % 7, i FROM generate_series(1, 300) i",
	"CREATE TABLE loose (k int NOT NULL, n bigint NOT NULL, at timestamptz DEFAULT '2026-01-01')", // no key
	"INSERT INTO loose SELECT i % 7, i FROM generate_series(1, 300) i",
	"CREATE TABLE span (k int NOT NULL, n bigint NOT NULL, PRIMARY KEY (k, n)) PARTITION BY RANGE (k)",
	"CREATE TABLE span_low PARTITION OF span FOR VALUES FROM (0) TO (4)", "CREATE TABLE span_high PARTITION OF span FOR VALUES FROM (4) TO (100)",
	"CREATE TABLE part (id int PRIMARY KEY, of int REFERENCES hot ON DELETE CASCADE, n int)",
}

// mixed are statements of two numbers; what they come to depends on their order.
var mixed = []string{
	"UPDATE hot SET n = (n * 3 + $1) % 1000003 WHERE k % 3 = $2 % 3", "UPDATE hot SET k = $1 % 7 WHERE id = $2", "UPDATE hot SET n = n + $1, k = $2 % 7 WHERE id = $1",
	"DELETE FROM hot WHERE n % 97 = $1 % 97 AND k > $2 % 7", "INSERT INTO hot VALUES ($1, $2 % 7, $2) ON CONFLICT DO NOTHING", "INSERT INTO part SELECT $2 + 1000 * $1, id, 1 FROM hot WHERE id = $1 ON CONFLICT DO NOTHING",
	"UPDATE part SET n = n * 2 % 1009 + $1 WHERE of > $2", "UPDATE loose SET n = (n * 5 + $1) % 1000003 WHERE k = $2 % 7", "INSERT INTO loose VALUES ($1 % 7, $2)", "DELETE FROM loose WHERE n % 31 = $1 % 31 AND k <> $2 % 7",
	"UPDATE loose SET k = (k + $1) % 7 WHERE n > $2 RETURNING k, n", "DELETE FROM loose WHERE at < now() AND n < $2 % 5 AND k <> $1",
	"INSERT INTO span VALUES ($1 % 8, $2) ON CONFLICT DO NOTHING", "DELETE FROM span WHERE n % 5 = $1 % 5 AND k < $2 % 9", "DELETE FROM span_low WHERE n = $1 OR k = $2",
}

// I3: what a condition hits beside writers of the same table, it hits on the backup.
func TestI3PredicatesBesideWriters(t *testing.T) {
	const clients, rounds = 8, 150
	b := setUp(t, rig.Config{AgentYAML: lockPredicates, Digest: "full", Verify: "full"}, predicateSchema...)
	for _, name := range []string{"a1", "a2"} {
		b.must(b.agent(name).Start(b.ctx))
	}
	b.must(b.worker("w1").Start(b.ctx))
	b.must(b.verifier().Start(b.ctx))
	var group errgroup.Group
	for client := range clients {
		dsn := b.agent([]string{"a1", "a2"}[client%2]).DSN()
		mode := []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeCacheDescribe}[client/2]
		conn := testkit.Connect(t, dsn)
		group.Go(func() error { return mix(b.ctx, conn, mode, rand.New(rand.NewPCG(1, uint64(client))), rounds) })
	}
	b.must(group.Wait())
	b.identical()
	testkit.Eventually(t, time.Minute, func() error {
		v, err := b.Verdicts(b.ctx)
		if err == nil && (v.Sum() < clients*rounds/2 || v.Match != v.Sum()) {
			err = fmt.Errorf("verdicts %+v, want matches alone", v)
		}
		return err
	})
	classes := map[string]int{}
	for _, e := range b.published(-1) {
		for _, o := range e.Operations {
			classes[o.Class]++
		}
	}
	t.Logf("carried: %v", classes)
	if classes["text"] < clients*rounds/4 || classes["pinned"] == 0 {
		t.Errorf("carried as %v: hardly any text", classes)
	}
}

// mix runs statements of mixed, each in a transaction.
func mix(ctx context.Context, conn *pgx.Conn, mode pgx.QueryExecMode, rng *rand.Rand, rounds int) error {
	for range rounds {
		sql := mixed[rng.IntN(len(mixed))]
		_, err := conn.Exec(ctx, sql, mode, 1+rng.IntN(300), 1+rng.IntN(300))
		var answer *pgconn.PgError
		if errors.As(err, &answer) && answer.Code == "23503" {
			continue // the row that part was to refer to was deleted meanwhile
		}
		if err != nil {
			return fmt.Errorf("%s in mode %s: %w", sql, mode, err)
		}
	}
	return nil
}

// One UPDATE of many rows is a small record, also of a table without a key (ADR 24).
func TestBulkUpdateIsASmallRecord(t *testing.T) {
	const rows = 1_000_000
	b := up(t, rig.Config{AgentYAML: lockPredicates}, "CREATE TABLE big (id int PRIMARY KEY, n int, v text)", "CREATE TABLE heap (n int, v text)",
		fmt.Sprintf("INSERT INTO big SELECT i, i, 'v' || i FROM generate_series(1, %d) i", rows), "INSERT INTO heap SELECT n, v FROM big")
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		for _, sql := range []string{"UPDATE big SET n = n + 1, v = upper(v) WHERE n > $1", "UPDATE heap SET n = n * 2 WHERE n > $1"} {
			tag, err := conn.Exec(b.ctx, sql, mode, 0)
			b.must(err)
			if tag.RowsAffected() != rows {
				t.Errorf("%s hit %d rows, want %d", sql, tag.RowsAffected(), rows)
			}
		}
	}
	b.identical()
	messages, err := topics.ReadAll(b.ctx, topics.Config{Brokers: []string{b.Broker.Address()}, Prefix: rig.Prefix}, topics.Names{Prefix: rig.Prefix}.Ops(b.Source))
	b.must(err)
	for _, m := range messages {
		if len(m.Value) >= 1024 {
			t.Errorf("the record at %d has %d bytes", m.Offset, len(m.Value))
		}
	}
	if n := len(b.published(-1)); n != 4 {
		t.Errorf("%d transactions were published, want 4", n)
	}
	b.allMatch(4)
}
