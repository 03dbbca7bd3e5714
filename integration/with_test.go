package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// withTables depend on one another by foreign keys, as those of an application.
var withTables = []string{
	`CREATE TABLE a (id int PRIMARY KEY, u int UNIQUE, v int)`,
	`CREATE TABLE b (id int PRIMARY KEY, u int UNIQUE, v int, r int REFERENCES a ON DELETE CASCADE)`,
	`CREATE TABLE c (id int PRIMARY KEY, u int, v int, r int REFERENCES a)`,
	`CREATE TABLE d (id int PRIMARY KEY, u int UNIQUE, v int, r int REFERENCES b ON DELETE SET NULL ON UPDATE CASCADE)`,
	`CREATE TABLE e (id serial PRIMARY KEY, u int, v int DEFAULT 7, r int)`,
	`CREATE TABLE f (id int PRIMARY KEY, u int, v int, r int REFERENCES a ON DELETE CASCADE) PARTITION BY RANGE (id)`,
	`CREATE TABLE f_low PARTITION OF f FOR VALUES FROM (MINVALUE) TO (15)`, `CREATE TABLE f_high PARTITION OF f FOR VALUES FROM (15) TO (MAXVALUE)`,
	`CREATE TABLE g (id int PRIMARY KEY, u int, v int, r int REFERENCES g ON DELETE SET NULL)`,
	`CREATE TABLE h (id int, u int, v text, r timestamptz DEFAULT clock_timestamp())`,
	`CREATE TABLE i (id int PRIMARY KEY, u int, v int, r int REFERENCES d DEFERRABLE INITIALLY DEFERRED)`,
}

// withSchema has more of them, by each kind of foreign key and by several.
var withSchema = append(slices.Clone(withTables),
	`CREATE TABLE k (id int PRIMARY KEY, u int NOT NULL UNIQUE, v int, r int REFERENCES a ON DELETE RESTRICT)`,
	`CREATE TABLE l (id int PRIMARY KEY, u int UNIQUE, v int, r int DEFAULT 3 REFERENCES k ON DELETE SET DEFAULT ON UPDATE SET DEFAULT, w int REFERENCES b ON DELETE CASCADE)`,
	`CREATE TABLE m (id int PRIMARY KEY, u int, v int, r int REFERENCES k (u) ON UPDATE SET NULL DEFERRABLE, w int REFERENCES a ON DELETE CASCADE, EXCLUDE USING btree (v WITH =) WHERE (v > 90))`,
	`CREATE TABLE n (id int PRIMARY KEY, u int NOT NULL UNIQUE, v int, r int REFERENCES k ON DELETE CASCADE, w int REFERENCES b ON DELETE SET NULL)`,
	`CREATE TABLE o (id int PRIMARY KEY, u int, v int, r int REFERENCES n, w int REFERENCES b ON DELETE CASCADE)`,
)

// writesInWith are statements as applications write them.
var writesInWith = []string{
	`WITH x AS (INSERT INTO a VALUES (1001, 1001, 1) RETURNING id) INSERT INTO b (id, r) SELECT 1001, id FROM x`,
	`WITH x AS (INSERT INTO b (id, r) VALUES (1002, 1002)) INSERT INTO a (id) VALUES (1002)`,
	`WITH x AS (INSERT INTO e (u) VALUES (1), (2) RETURNING *), y AS (INSERT INTO e (u) SELECT u + id FROM x RETURNING id) SELECT count(*) FROM x, y`,
	`WITH x AS (DELETE FROM b WHERE r = 1001 RETURNING *) DELETE FROM a WHERE id = 1001 RETURNING *`,
	`WITH x AS (DELETE FROM a WHERE id = 1002), y AS (UPDATE b SET r = NULL WHERE r = 1002 RETURNING id, r) SELECT * FROM y`,
	`WITH x AS (INSERT INTO h (id, v) VALUES (1, 'one'), (1, 'one') RETURNING *), y AS (INSERT INTO h (id, v) SELECT id, v || '!' FROM x) SELECT * FROM x`,
	`WITH gone AS (DELETE FROM h RETURNING *) INSERT INTO e (u, v) SELECT id, length(v) FROM gone`,
	`WITH pgrst_source AS (INSERT INTO "public"."e"("u", "v") SELECT "pgrst_body"."u", "pgrst_body"."v" FROM (SELECT '[{"u": 5, "v": 6}, {"u": 7, "v": null}]'::json AS json_data) pgrst_payload, LATERAL (SELECT "u", "v" FROM json_to_recordset(pgrst_payload.json_data) AS _("u" integer, "v" integer)) pgrst_body RETURNING "public"."e".*)
		SELECT '' AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, array[]::text[] AS header, coalesce(json_agg(_postgrest_t), '[]') AS body, nullif(current_setting('response.headers', true), '') AS response_headers FROM (SELECT "e".* FROM "pgrst_source" AS "e") _postgrest_t`,
	`WITH input(u, v) AS (VALUES (5, 1), (6, 2)), ins AS (INSERT INTO a SELECT u + 2000, u, v FROM input ON CONFLICT (u) DO NOTHING RETURNING id) SELECT id FROM ins UNION ALL SELECT id FROM a JOIN input USING (u)`,
	`WITH u AS (UPDATE a SET v = v + 1 WHERE id = 2005 RETURNING *), log AS (INSERT INTO h (id, v) SELECT id, 'a' || v FROM u) SELECT v FROM u`,
	`WITH next AS (SELECT id FROM e WHERE v IS NOT NULL ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED), done AS (DELETE FROM e USING next WHERE e.id = next.id RETURNING e.*) INSERT INTO h (id, v) SELECT id, v::text FROM done RETURNING id, r IS NULL`,
	`WITH x AS (INSERT INTO f SELECT i, i FROM generate_series(10, 20) i RETURNING *) UPDATE a SET v = (SELECT count(*) FROM x) WHERE id > 2000`,
	`BEGIN; SAVEPOINT s; WITH x AS (DELETE FROM f RETURNING *) SELECT count(*) FROM x; ROLLBACK TO s; WITH x AS (DELETE FROM f WHERE id > 12 RETURNING *) INSERT INTO c (id) SELECT id FROM x; COMMIT`,
}

// Statements that write in WITH are carried as the rows of each of their parts, without
// capture triggers, in both protocols.
func TestWritesInWith(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		t.Run(mode.String(), func(t *testing.T) {
			b := up(t, rig.Config{Digest: "full", Verify: "full"}, withTables...)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			for _, sql := range writesInWith {
				b.runParts(conn, mode, sql)
			}
			b.identical()
			b.sequencesFollow()
			if v := b.verdicts(int64(len(writesInWith))); v.Match != v.Sum() {
				t.Errorf("verdicts %+v, want matches alone", v)
			}
		})
	}
}

// I6: foreign keys look at what all parts have done, and a backup does one after the other. Whatever the
// parts are, it ends as the primary does, or the statement is refused.
// OPMUX_WITH_SEED and OPMUX_WITH_STATEMENTS set other ones than those of each run.
func TestI6RandomWritesInWith(t *testing.T) {
	seed, statements := testkit.FromEnv(t, "OPMUX_WITH_SEED", rand.Uint64()>>1), testkit.FromEnv(t, "OPMUX_WITH_STATEMENTS", 500)
	t.Logf("OPMUX_WITH_SEED=%d", seed)
	b := up(t, rig.Config{Digest: "full", Verify: "full"}, withSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	g := withMaker{rand.New(rand.NewPCG(seed, 1))}
	carried, refused, failed := 0, 0, 0
	for range statements {
		sql := g.statement()
		_, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol)
		var answer *pgconn.PgError
		switch {
		case err == nil:
			carried++
		case errors.As(err, &answer) && strings.HasPrefix(answer.Message, "opmux: "):
			refused++
		case errors.As(err, &answer):
			failed++
		default:
			t.Fatalf("%s: %v", sql, err)
		}
	}
	t.Logf("%d carried, %d refused, %d failed", carried, refused, failed)
	if carried < statements/4 {
		t.Errorf("only %d of %d statements were carried", carried, statements)
	}
	b.identical()
	if v, err := b.Verdicts(b.ctx); err != nil || v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, %v; want no mismatch and nothing missing", v, err)
	}
}

// withMaker makes random statements that write in WITH.
type withMaker struct{ *rand.Rand }

// refersTo are the tables that the rows of one refer to.
var refersTo = map[string]string{"b": "a", "c": "a", "d": "b", "f": "a", "g": "g", "i": "d", "k": "a", "l": "k", "m": "k", "n": "k", "o": "n"}

// alsoRefersTo are those of a second foreign key.
var alsoRefersTo = map[string]string{"l": "b", "m": "a", "n": "b", "o": "b"}

func (g withMaker) statement() string {
	tables := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "k", "l", "m", "n", "o"}
	if g.IntN(2) == 0 {
		tables = [][]string{{"a", "k", "n", "o", "b"}, {"k", "l", "b", "a"}, {"a", "k", "m", "b"}, {"k", "n", "b", "o"}}[g.IntN(4)] // close to one another
	}
	g.Shuffle(len(tables), func(i, k int) { tables[i], tables[k] = tables[k], tables[i] })
	if g.IntN(3) == 0 {
		tables[1] = tables[0] // two writes of one table
	}
	var with []string
	n := 1 + g.IntN(3)
	for i := range n {
		part := g.write(tables[i])
		if g.IntN(2) == 0 {
			part += " RETURNING *"
		}
		with = append(with, fmt.Sprintf("w%d AS (%s)", i, part))
	}
	main := "SELECT 1"
	if g.IntN(3) > 0 {
		main = g.write(tables[n])
	}
	return "WITH " + strings.Join(with, ", ") + " " + main
}

func (g withMaker) write(table string) string {
	some := func() string { from := g.IntN(30); return fmt.Sprintf("BETWEEN %d AND %d", from, from+g.IntN(8)) }
	parentIn := func(of map[string]string) string {
		p, ok := of[table]
		if !ok || g.IntN(4) == 0 {
			return "NULL"
		}
		if g.IntN(3) == 0 {
			return strconv.Itoa(g.IntN(30)) // a part may be about to write it
		}
		return fmt.Sprintf("(SELECT min(id) FROM %s WHERE id >= %d)", p, g.IntN(30))
	}
	parent := func() string { return parentIn(refersTo) }
	if table == "h" {
		return []string{"INSERT INTO h (id, v) SELECT i, 'h' FROM generate_series(1, 3) i", "DELETE FROM h WHERE id " + some()}[g.IntN(2)]
	}
	switch g.IntN(6) {
	case 0, 1, 2:
		columns, second := "id, u, v, r", ""
		if _, ok := alsoRefersTo[table]; ok {
			columns, second = columns+", w", ", "+parentIn(alsoRefersTo)+"::int"
		}
		from, to := g.IntN(25), 25+g.IntN(6)
		if g.IntN(2) == 0 {
			to = from + g.IntN(3) // fewer conflicts
		}
		rows := fmt.Sprintf("INSERT INTO %s (%s) SELECT i, i * %d, %d, %s::int%s FROM generate_series(%d, %d) i", table, columns, 1+g.IntN(2), g.IntN(100), parent(), second, from, to)
		return rows + []string{" ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET v = excluded.v", " ON CONFLICT (id) DO UPDATE SET u = excluded.u + 50", ""}[g.IntN(4)]
	case 3:
		set := []string{"v = v + 1", "r = " + parent(), "u = u + 100", "id = id + 40, v = 0", fmt.Sprintf("id = %d", g.IntN(30))}[g.IntN(5)]
		return fmt.Sprintf("UPDATE %s SET %s WHERE id %s", table, set, some())
	default:
		return fmt.Sprintf("DELETE FROM %s WHERE id %s", table, some())
	}
}

// What is held of such a statement is bounded; the client's own rows are not held.
func TestI7WritesInWithAreBounded(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: "capture: {chunk: 16KiB}\n"}, withTables...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		b.runParts(conn, mode, `WITH x AS (INSERT INTO h (id) VALUES (1) RETURNING id) SELECT repeat('read', 100), x.id FROM x, generate_series(1, 5000)`)
		err := execute(b.ctx, conn, mode, `WITH x AS (INSERT INTO e (u) SELECT generate_series(1, 5000) RETURNING id) SELECT count(*) FROM x`)
		var answer *pgconn.PgError
		if !errors.As(err, &answer) || answer.Code != "54000" || !strings.Contains(answer.Message, "capture.chunk") {
			t.Errorf("5,000 rows in %s: %v, want 54000", mode, err)
		}
	}
	if n := b.onPrimary("SELECT count(*) FROM e")[0][0]; n != "0" {
		t.Errorf("%s rows of what failed are there", n)
	}
	b.identical()
}
