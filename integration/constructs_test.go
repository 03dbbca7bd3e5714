package integration

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

var constructSchema = []string{
	"CREATE TABLE p (id int PRIMARY KEY, v text, n bigint)", "INSERT INTO p SELECT i, 'v' || i % 5, i FROM generate_series(1, 50) i",
	"CREATE TABLE q (id int PRIMARY KEY, v text, n bigint)",
	"CREATE TYPE pair AS (a int, b text)", "CREATE DOMAIN positive AS int CHECK (value > 0)",
	"CREATE TABLE part (id int PRIMARY KEY, c pair, cs pair[], a int[], aa text[][], j jsonb, d positive, r int4range, m int4multirange)", "INSERT INTO part SELECT generate_series(1, 3)",
	"CREATE TABLE item (id int NOT NULL UNIQUE, k int, v text, gone bool DEFAULT false)", "CREATE UNIQUE INDEX ON item (k) WHERE NOT gone", "CREATE UNIQUE INDEX ON item (lower(v))",
	"CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE, v text)", "INSERT INTO tree SELECT i, nullif(i / 2, 0) FROM generate_series(1, 9) i",
	"CREATE TABLE keyed (a int, b int, PRIMARY KEY (a, b))", "CREATE TABLE points (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES keyed ON DELETE SET NULL (b) ON UPDATE CASCADE)",
	"CREATE SEQUENCE drawn", "CREATE DOMAIN numbered AS int DEFAULT nextval('drawn')", "CREATE TABLE of_domain (id int PRIMARY KEY, n numbered)",
	"CREATE TABLE by_pair (k pair PRIMARY KEY, v text)",
	"INSERT INTO keyed VALUES (1, 1), (2, 2)", "INSERT INTO points VALUES (1, 1, 1), (2, 2, 2), (3, NULL, NULL)",
}

// constructs are what of docs/sql-safety.md other lists do not run. A line is one
// transaction.
var constructs = []string{
	"INSERT INTO q SELECT DISTINCT ON (v) id, v, n FROM p ORDER BY v, id DESC",
	"INSERT INTO q SELECT id + 100, v, row_number() OVER (PARTITION BY v ORDER BY random()) FROM p; UPDATE q SET n = s.r FROM (SELECT id, rank() OVER (ORDER BY v, random()) r FROM p) s WHERE q.id = s.id + 100",
	"INSERT INTO q SELECT id + 200, v, n FROM p TABLESAMPLE BERNOULLI (50); UPDATE q SET v = 'sampled' WHERE id IN (SELECT id + 100 FROM p TABLESAMPLE SYSTEM (60)); DELETE FROM q WHERE id IN (SELECT id FROM q TABLESAMPLE BERNOULLI (20))",
	"UPDATE q SET n = 7 FROM (SELECT id FROM p WHERE n < 10 FOR UPDATE NOWAIT) s WHERE q.id = s.id + 100; INSERT INTO q SELECT id + 300, v, n FROM p ORDER BY id LIMIT 3 FOR UPDATE NOWAIT",
	"INSERT INTO q VALUES (401, 'size', pg_relation_size('p')), (402, 'all', pg_total_relation_size('q'::regclass)); UPDATE p SET n = pg_table_size('p') WHERE id = 1; UPDATE p SET v = pg_size_pretty(pg_database_size(current_database())) WHERE id < 4",
	"DECLARE c CURSOR FOR SELECT * FROM p WHERE id < 9 ORDER BY id FOR UPDATE; FETCH 2 FROM c; UPDATE p SET v = 'through the cursor' WHERE CURRENT OF c; FETCH c; DELETE FROM p WHERE CURRENT OF c RETURNING *; MOVE c; UPDATE p SET n = n + 100 WHERE CURRENT OF c",
	"CREATE TEMP TABLE passing ON COMMIT DROP AS SELECT * FROM p WHERE id < 20; INSERT INTO passing VALUES (777, 'seven', 7); INSERT INTO q SELECT id + 500, v, n FROM passing; UPDATE p SET v = passing.v || '!' FROM passing WHERE passing.id = p.id; DELETE FROM p USING passing WHERE passing.id = p.id AND p.id > 15; INSERT INTO q VALUES (600, (SELECT max(v) FROM passing), 1)",
	"CREATE TEMP TABLE q (id int, v text) ON COMMIT DROP; INSERT INTO q VALUES (1, 'shadow'); UPDATE q SET v = 'of the table'; INSERT INTO public.q VALUES (700, 'lasting', 1)",
	"SET LOCAL search_path = pg_temp, public; CREATE TABLE q (id int PRIMARY KEY, v text); INSERT INTO q VALUES (1, 'shadow'); CREATE TABLE made AS SELECT * FROM q; SELECT 1 AS a INTO made2; CREATE VIEW seen AS SELECT * FROM p; CREATE SEQUENCE counted; CREATE TYPE kind AS ENUM ('a'); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; INSERT INTO public.q VALUES (701, 'lasting', 1)",
	"DISCARD TEMP",
	"UPDATE part SET c.a = 9, a[2] = 5, aa = '[0:1][2:3]={{a,b},{c,NULL}}', j['x']['y'] = '1' WHERE id = 1; UPDATE part SET c.b = 'z', a[3:4] = '{7,8}', aa[0][2] = 'q', j['arr'][3] = '\"e\"', cs[2].b = 'deep' WHERE id < 3; INSERT INTO part (id, c.a, a[2], j['k']) VALUES (9, 5, 6, '{}')",
	"UPDATE part SET d = 4, r = '[1,5]', m = '{[1,3),[5,8]}' WHERE id = 1; UPDATE part SET r = r * '[2,3]', m = m + '{[10,11)}' WHERE id = 1; UPDATE part SET c = ROW(1, 'x'), cs = ARRAY[ROW(2, 'y')::pair, NULL] WHERE id = 3; DELETE FROM part WHERE c = ROW(1, 'x')::pair",
	"INSERT INTO item VALUES (1, 1, 'A', false), (2, 1, 'b', true); INSERT INTO item VALUES (3, 1, 'c') ON CONFLICT (k) WHERE NOT gone DO UPDATE SET v = excluded.v || '!', gone = true; INSERT INTO item VALUES (4, 4, 'B') ON CONFLICT (lower(v)) DO UPDATE SET k = 44",
	"INSERT INTO item VALUES (1, 9, 'n') ON CONFLICT ON CONSTRAINT item_id_key DO UPDATE SET v = excluded.v, k = item.k + excluded.k WHERE item.k < 100; INSERT INTO item VALUES (1, 9, 'n') ON CONFLICT (id) DO UPDATE SET v = 'never' WHERE item.k > 1000; INSERT INTO item AS s (id, k, v) VALUES (1, 8, 'm'), (20, 20, 'new') ON CONFLICT (id) DO UPDATE SET (k, v) = (s.k + excluded.k, excluded.v)",
	"INSERT INTO item VALUES (1, 70, 'x'), (21, 71, 'y') ON CONFLICT (id) DO UPDATE SET id = excluded.id, k = excluded.k, v = excluded.v; INSERT INTO keyed VALUES (2, 2) ON CONFLICT (b, a) DO UPDATE SET a = excluded.a, b = excluded.b",
	"UPDATE tree SET id = 10 WHERE id = 1; DELETE FROM tree WHERE id = 2; SET CONSTRAINTS ALL DEFERRED; INSERT INTO tree VALUES (100, 101); INSERT INTO tree VALUES (101, 100)",
	"INSERT INTO of_domain (id) VALUES (1), (2); INSERT INTO of_domain (id) SELECT 3; UPDATE of_domain SET n = DEFAULT WHERE id = 1",
	"INSERT INTO by_pair VALUES (ROW(1, 'x'), 'a'), (ROW(2, NULL), 'b'); UPDATE by_pair SET v = 'one' WHERE (k).a = 1; DELETE FROM by_pair WHERE k = ROW(2, NULL)::pair",
	"DELETE FROM keyed WHERE a = 1 AND b = 1; UPDATE keyed SET b = 22 WHERE a = 2 AND b = 2",
}

// What the primary hit by chance, by order, or by what only its session has, the
// backup has too.
func TestI6ConstructsOfTheSafetyPage(t *testing.T) {
	for name, run := range map[string]struct {
		yaml string
		mode pgx.QueryExecMode
	}{
		"simple": {"", pgx.QueryExecModeSimpleProtocol}, "extended": {"", pgx.QueryExecModeCacheDescribe}, "triggers": {triggersOn, pgx.QueryExecModeCacheDescribe},
	} {
		t.Run(name, func(t *testing.T) {
			b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: run.yaml}, constructSchema...)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			for _, line := range constructs {
				b.runParts(conn, run.mode, "BEGIN; "+line+"; COMMIT")
			}
			b.identical()
			b.sequencesFollow()
			if v := b.verdicts(30); v.Match != v.Sum() {
				t.Errorf("verdicts %+v, want matches alone", v)
			}
		})
	}
}
