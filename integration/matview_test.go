package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

var matviewSchema = []string{
	`CREATE TYPE mood AS ENUM ('sad', 'ok')`,
	`CREATE TABLE sale (id int PRIMARY KEY, shop int, amount numeric(8,2), f float8, at timestamptz, who text, m mood) PARTITION BY RANGE (id)`,
	`CREATE TABLE sale_low PARTITION OF sale FOR VALUES FROM (0) TO (50)`,
	`CREATE TABLE sale_high PARTITION OF sale FOR VALUES FROM (50) TO (1000)`,
	`INSERT INTO sale SELECT i, i % 5, i * 1.25, i / 3.0, '2026-01-02 03:04:05+00', 'w' || i % 3, 'ok' FROM generate_series(1, 200) i`,
	`CREATE TABLE shop (id int PRIMARY KEY, name text)`,
	`INSERT INTO shop SELECT i, 'shop' || i FROM generate_series(0, 4) i`,
	`CREATE VIEW large AS SELECT s.*, p.name FROM sale s JOIN shop p ON p.id = s.shop WHERE s.amount > 20`,
	`CREATE MATERIALIZED VIEW totals AS SELECT shop, count(*) AS n, sum(amount) AS sum, max(at) AS last, bool_or(amount > 100) AS big FROM sale GROUP BY shop`,
	`CREATE UNIQUE INDEX ON totals (shop)`,
	`CREATE TABLE secured (id int PRIMARY KEY)`, `ALTER TABLE secured ENABLE ROW LEVEL SECURITY`,
	`CREATE UNLOGGED TABLE scrap (id int PRIMARY KEY)`,
	`CREATE SEQUENCE sq`,
	`CREATE ROLE reader`, `GRANT SELECT ON sale TO reader`, `GRANT CREATE ON SCHEMA public TO reader`,
	`CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'`,
}

var matviewStatements = []string{
	`INSERT INTO sale VALUES (300, 1, 7.5, 1, '2026-05-05', 'x', 'sad')`,
	`REFRESH MATERIALIZED VIEW totals`,
	`DELETE FROM sale WHERE id = 7`,
	`REFRESH MATERIALIZED VIEW CONCURRENTLY totals`,
	`CREATE MATERIALIZED VIEW named AS SELECT name, min(id) AS first, avg(amount) AS mean, count(DISTINCT who) AS whos FROM large GROUP BY name`,
	`CREATE MATERIALIZED VIEW IF NOT EXISTS named AS SELECT 1 AS other`,
	`CREATE MATERIALIZED VIEW parts (a, b) WITH (fillfactor = 50) AS WITH few AS (SELECT id, reverse(who) AS who FROM sale WHERE id BETWEEN 10 AND 20 OR m = 'sad')
		SELECT id, who || '!' FROM few UNION SELECT id, name FROM shop EXCEPT SELECT id, 'shop1' FROM shop WHERE EXISTS (SELECT FROM few) AND id IN (SELECT shop FROM sale)`,
	`CREATE MATERIALIZED VIEW of_no_table AS SELECT 1 AS one, CASE WHEN g > 2 THEN coalesce(NULL, 'x') END AS x FROM generate_series(1, 4) g`,
	`CREATE MATERIALIZED VIEW lazy AS SELECT DISTINCT shop, f * 2 AS f2 FROM sale WHERE false WITH NO DATA`,
	`BEGIN; UPDATE sale SET amount = amount * 2 WHERE shop = 3; REFRESH MATERIALIZED VIEW named; UPDATE sale SET amount = 1 WHERE shop = 3; REFRESH MATERIALIZED VIEW totals; SAVEPOINT s; DELETE FROM sale; REFRESH MATERIALIZED VIEW totals; ROLLBACK TO s; COMMIT`,
	`BEGIN; CREATE TABLE fresh AS SELECT id FROM shop; CREATE MATERIALIZED VIEW of_fresh AS SELECT count(*) AS n FROM fresh; INSERT INTO fresh VALUES (99); REFRESH MATERIALIZED VIEW of_fresh; COMMIT`,
	`BEGIN; REFRESH MATERIALIZED VIEW totals; ROLLBACK`,
	`DELETE FROM sale WHERE id BETWEEN 100 AND 110`,
}

// Materialized views are computed on each server, of the same rows.
func TestMaterializedViews(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
		t.Run(mode.String(), func(t *testing.T) {
			b := up(t, rig.Config{Digest: "full", Verify: "full"}, matviewSchema...)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			for _, sql := range matviewStatements {
				b.runParts(conn, mode, sql)
			}
			b.refusedViews(conn, mode)
			b.identical()
			if n := b.onBackup("SELECT count(*) FROM pg_matviews WHERE ispopulated")[0][0]; n != "5" {
				t.Errorf("the backup has %s populated views, want 5", n)
			}
			if v := b.verdicts(20); v.Match != v.Sum() {
				t.Errorf("verdicts %+v, want matches alone", v)
			}
		})
	}
}

// refusedViews runs what a backup might compute otherwise.
func (b *bench) refusedViews(conn *pgx.Conn, mode pgx.QueryExecMode) {
	b.t.Helper()
	for query, want := range map[string]string{
		"SELECT now() AS x": "SQLVALUEFUNCTION|function now", "SELECT current_date AS x": "SQLVALUEFUNCTION", "SELECT random() AS x": "function random",
		"SELECT max(amount) AS x FROM sale": "aggregate max(numeric)", "SELECT sum(f) AS x FROM sale": "aggregate sum(double precision)", "SELECT sqrt(f) AS x FROM sale": "function sqrt", "SELECT f ^ 0.3 AS x FROM sale": "function dpow",
		"SELECT array_agg(id) AS x FROM sale": "aggregate array_agg", "SELECT string_agg(who, '') AS x FROM sale": "aggregate string_agg", "SELECT DISTINCT amount AS x FROM sale": "type numeric",
		"SELECT ARRAY(SELECT id FROM sale) AS x": "array of a subquery", "SELECT id AS x FROM sale LIMIT 3": "LIMIT", "SELECT DISTINCT ON (shop) shop, id FROM sale": "DISTINCT ON", "SELECT id, row_number() OVER () AS x FROM sale": "WINDOWFUNC|window",
		"SELECT upper(who) AS x FROM sale": "function upper", "SELECT id FROM sale WHERE who < 'm'": "function text_lt", "SELECT id FROM sale WHERE who ILIKE 'W%'": "function texticlike",
		"SELECT max(who) AS x FROM sale": "aggregate max(text)", "SELECT greatest(who, 'm') AS x FROM sale": "greatest", "SELECT id FROM sale WHERE who ~ '^w'": "function textregexeq",
		"SELECT ctid AS x FROM sale": "system column", "SELECT id FROM sale TABLESAMPLE system (50)": "TABLESAMPLE", "SELECT twice(id) AS x FROM sale": "function twice",
		"SELECT at::text AS x FROM sale": "COERCEVIAIO", "SELECT to_char(at, 'HH') AS x FROM sale": "function to_char", "SELECT oid::int AS x FROM pg_class": "each server's own",
		"SELECT id FROM secured": "row level security", "SELECT id FROM scrap": "unlogged", "SELECT n FROM totals": "no table or view", "SELECT nextval('sq') AS x": "draws from a sequence",
	} {
		err := execute(b.ctx, conn, mode, "CREATE MATERIALIZED VIEW refused AS "+query)
		b.refusedFor(err, "CREATE "+query, want)
		if strings.Contains(want, "no table") || strings.Contains(query, "nextval") {
			continue
		}
		b.runParts(conn, mode, "CREATE MATERIALIZED VIEW refused AS "+query+" WITH NO DATA")
		err = execute(b.ctx, conn, mode, "REFRESH MATERIALIZED VIEW refused")
		b.refusedFor(err, "REFRESH "+query, want)
		b.runParts(conn, mode, "DROP MATERIALIZED VIEW refused")
	}
	b.runParts(conn, mode, "SET ROLE reader")
	err := execute(b.ctx, conn, mode, "CREATE MATERIALIZED VIEW refused AS SELECT id FROM sale")
	b.refusedFor(err, "a role that may only read", "permission denied for table sale")
	b.runParts(conn, mode, "RESET ROLE")
	for _, sql := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1", "REFRESH MATERIALIZED VIEW totals", "COMMIT"} {
		err := execute(b.ctx, conn, mode, sql)
		if sql == "COMMIT" {
			b.refusedFor(err, sql, "isolation level repeatable read")
		}
	}
	_ = execute(b.ctx, conn, mode, "ROLLBACK") // of what the refused COMMIT left, if anything
}

func (b *bench) refusedFor(err error, sql, want string) {
	b.t.Helper()
	for _, w := range strings.Split(want, "|") {
		if err != nil && strings.Contains(err.Error(), "opmux: ") && strings.Contains(err.Error(), w) {
			return
		}
	}
	b.t.Errorf("%s: error %v, want one of %q", sql, err, want)
}

// I3: a view that is computed while others write its tables is on the backup what it
// is on the primary, though it is computed there again.
func TestI3ViewsComputedBesideWriters(t *testing.T) {
	const views, writers = 12, 4
	schema := append([]string{}, matviewSchema...)
	for i := range views {
		schema = append(schema, fmt.Sprintf("CREATE MATERIALIZED VIEW at_%d AS SELECT id, amount FROM sale", i))
	}
	b := up(t, rig.Config{}, schema...)
	writing, stop := context.WithCancel(b.ctx)
	var wait sync.WaitGroup
	for w := range writers {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		wait.Add(1)
		go func() {
			defer wait.Done()
			for n := 0; writing.Err() == nil; n++ {
				if _, err := conn.Exec(b.ctx, "UPDATE sale SET amount = amount + 1 WHERE id = $1", 1+(n*writers+w)%200); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for i := range views {
		if _, err := conn.Exec(b.ctx, fmt.Sprintf("REFRESH MATERIALIZED VIEW at_%d", i)); err != nil {
			t.Error(err)
		}
	}
	stop()
	wait.Wait()
	if n := b.onPrimary(`SELECT count(DISTINCT s) FROM (` + sums(views) + `) v`)[0][0]; n == "1" {
		t.Error("nothing was written beside the views")
	}
	b.identical()
}

// sums reads the sum of each view.
func sums(views int) string {
	var out []string
	for i := range views {
		out = append(out, fmt.Sprintf("SELECT sum(amount) AS s FROM at_%d", i))
	}
	return strings.Join(out, " UNION ALL ")
}
