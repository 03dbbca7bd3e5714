package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Tables that are made of what a query returns.
var madeSchema = []string{
	`CREATE TYPE mood AS ENUM ('sad', 'ok')`,
	`CREATE DOMAIN short AS varchar(4)`,
	`CREATE TYPE pair AS (a int, b text)`,
	`CREATE SCHEMA other`,
	`CREATE TABLE t (id int PRIMARY KEY, c char(5), v varchar(7), n numeric(8,3), f float8, r real, at timestamptz(3), d date, i interval, b bytea, a int[], j jsonb, x text COLLATE "C", m mood, s short, p pair, bits varbit(9))`,
	`INSERT INTO t SELECT i, 'c' || i, 'v' || i, i / 7.0, i / 3.0, i / 3.0, '2026-01-02 03:04:05.678+00', '2026-01-02', i * interval '1 day 2 hours', decode('00ff5c22', 'hex'),
		ARRAY[i, NULL], '{"a" : 1}', 'x' || chr(9) || '\"''', 'ok', 'ab', ROW(i, 'q,"')::pair, B'1011' FROM generate_series(1, 300) i`,
	`CREATE SEQUENCE drawn`,
	`CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t'`,
}

var madeStatements = []string{
	`CREATE TABLE all_types AS SELECT * FROM t`,
	`SELECT id, random() AS r, clock_timestamp() AS at, gen_random_uuid() AS u, nextval('drawn') AS n INTO drawn_values FROM t`,
	`CREATE TABLE renamed (one, "Two ""quoted"" $1") AS SELECT NULL, 'unknown' UNION ALL SELECT 'a', 'b'`,
	`CREATE TABLE other.options WITH (fillfactor = 70, autovacuum_enabled = off) AS SELECT id, x COLLATE "POSIX" AS x, lower(v) AS v FROM t ORDER BY random() LIMIT 20`,
	`CREATE TABLE "odd () name" USING heap AS SELECT reads() AS r, now() AS at, current_user AS who, 'now'::timestamptz AS moment, ARRAY['ok'::mood] AS moods, ROW(1, 'x')::pair AS p, NULL::short[] AS s`,
	`CREATE TABLE bare AS SELECT FROM t WHERE id < 6`,
	`CREATE TABLE empty AS SELECT * FROM t WHERE false`,
	`CREATE TABLE IF NOT EXISTS empty AS SELECT 1 AS other`,
	`CREATE TABLE IF NOT EXISTS fresh AS VALUES (1, 'a'), (2, NULL)`,
	`CREATE TEMP TABLE mine AS SELECT id, v FROM t WHERE id < 10`,
	`CREATE TABLE of_temporary AS SELECT m.id, m.v || '!' AS v FROM mine m`,
	`SELECT 1 AS id INTO combined UNION SELECT 2 INTERSECT SELECT 2`,
	`PREPARE few (int) AS SELECT id, nextval('drawn') AS n FROM t WHERE id <= $1`,
	`CREATE TABLE of_prepared AS EXECUTE few (1 + 2)`,
	`PREPARE fewer (int) AS SELECT id FROM t WHERE id <= $1`,
	`CREATE TEMP TABLE temporary_of_prepared AS EXECUTE fewer (4)`,
	`BEGIN; INSERT INTO t (id) VALUES (1000); CREATE TABLE in_block AS SELECT * FROM t; SAVEPOINT s; CREATE TABLE undone AS SELECT 1 AS a; ROLLBACK TO s; CREATE TABLE undone AS SELECT 2 AS b; ALTER TABLE in_block ADD PRIMARY KEY (id); UPDATE in_block SET v = 'after' WHERE id < 9; COMMIT`,
	`BEGIN; CREATE TABLE never AS SELECT nextval('drawn') AS n; ROLLBACK`,
	`BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; SET LOCAL IntervalStyle = 'sql_standard'; SET LOCAL bytea_output = 'escape'; CREATE TABLE styled AS SELECT * FROM t; COMMIT`,
	`BEGIN; SET LOCAL search_path = other, public; CREATE TABLE elsewhere AS SELECT m, s, p FROM t; COMMIT`,
	`CREATE TABLE large AS SELECT i AS id, repeat('large', 20) || i AS v FROM generate_series(1, 5000) i`,
	`INSERT INTO renamed VALUES ('more', 'x')`,
}

// columnsSQL is what a table is beside its rows.
const columnsSQL = `SELECT c.oid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, a.attstorage, a.attcompression, c.reloptions, c.relpersistence
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	WHERE c.relkind = 'r' AND n.nspname IN ('public', 'other') ORDER BY 1, 2`

// What a query made is on the backup what it is on the primary, whatever the query
// was, in both protocols, with capture triggers and without.
func TestTablesMadeOfQueries(t *testing.T) {
	for _, triggers := range []string{"off", "on"} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
			t.Run("triggers "+triggers+", "+mode.String(), func(t *testing.T) {
				b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: "capture: {triggers: " + triggers + ", chunk: 16KiB}\n"}, madeSchema...)
				conn := testkit.Connect(t, b.agent("a1").DSN())
				for _, sql := range madeStatements {
					b.runParts(conn, mode, sql)
				}
				if triggers == "on" { // the new tables have their triggers
					b.runParts(conn, mode, `DO $$ BEGIN UPDATE bare SET id = 1; EXCEPTION WHEN undefined_column THEN UPDATE all_types SET v = 'do' WHERE id = 3; DELETE FROM combined; END $$`)
				}
				b.identical()
				b.sequencesFollow()
				b.sameColumns()
				if v := b.verdicts(20); v.Match != v.Sum() {
					t.Errorf("verdicts %+v, want matches alone", v)
				}
			})
		}
	}
}

// sameColumns compares the tables' definitions.
func (b *bench) sameColumns() {
	b.t.Helper()
	primary, backup := b.onPrimary(columnsSQL), b.onBackup(columnsSQL)
	if len(primary) < 60 || fmt.Sprint(primary) != fmt.Sprint(backup) {
		b.t.Errorf("columns differ:\nprimary %v\nbackup  %v", primary, backup)
	}
}

// A table that a query makes is written out in parts while it is read back, and what
// cannot be carried of one is refused by name, and undone.
func TestRefusedTablesOfQueries(t *testing.T) {
	b := up(t, rig.Config{}, append(slices.Clone(madeSchema),
		`CREATE FUNCTION restyle() RETURNS text LANGUAGE plpgsql STABLE AS $$ DECLARE r text; BEGIN EXECUTE 'SELECT set_' || 'config(''DateStyle'', ''SQL, DMY'', false)' INTO r; RETURN r; END $$`,
		`CREATE DOMAIN limited AS int CHECK (VALUE < current_setting('test.most')::int)`,
		`CREATE TABLE defaults (a int DEFAULT 1 + 1)`,
		`CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'UPDATE t SET v = NULL RETURNING 1'`,
		`CREATE FUNCTION more() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF current_setting('test.more', true) = 'on' THEN ALTER TABLE made ADD PRIMARY KEY (id); END IF; END $$`,
		`CREATE EVENT TRIGGER more ON ddl_command_end WHEN TAG IN ('CREATE TABLE AS') EXECUTE FUNCTION more()`)...)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for _, c := range [][2]string{
			{`CREATE TABLE made AS SELECT id, writes() FROM t`, "writes"},
			{`SELECT setval('drawn', 5) INTO made`, "setval"},
			{`CREATE TABLE made AS SELECT set_config('DateStyle', 'SQL', false)`, "set_config"},
			{`CREATE TABLE made AS SELECT at, restyle() FROM t`, "changed session settings"},
			{`CREATE UNLOGGED TABLE made AS SELECT 1 AS a`, "unlogged"},
			{`SET extra_float_digits = 0; CREATE TABLE made AS SELECT f FROM t`, "rounds column f"},
			{`CREATE TABLE made AS SELECT point(1, 2) AS p`, "rounds column p"},
			{`RESET extra_float_digits; SET array_nulls = off; CREATE TABLE made AS SELECT a FROM t`, "array_nulls = off"},
			{`RESET array_nulls; CREATE TABLE made AS SELECT * FROM pg_attrdef`, "the server does not read"},
			{`SET test.most = '10'; CREATE TABLE made AS SELECT 5::limited AS l`, "reads a setting"},
			{`SET DateStyle = 'SQL, DMY'; CREATE TABLE made AS SELECT at FROM t`, "ambiguously"},
			{`RESET DateStyle; SET test.more = 'on'; CREATE TABLE made AS SELECT id FROM t`, "event trigger"},
			{`RESET test.more; CREATE TEMP TABLE made (a int); CREATE TABLE public.made AS SELECT 1 AS a`, "temporary table has its name"},
			{`CREATE TABLE public.other_made AS SELECT m FROM made m`, "type is temporary"},
			{`DROP TABLE made; PREPARE w AS UPDATE t SET v = 'x' WHERE id = 1 RETURNING id; CREATE TABLE public.other_made AS EXECUTE w`, "more than read"},
		} {
			var err error
			for _, sql := range strings.Split(c[0], "; ") {
				err = execute(b.ctx, conn, mode, sql)
			}
			if err == nil || !strings.Contains(err.Error(), c[1]) || !strings.Contains(err.Error(), "opmux: ") {
				t.Errorf("%s (%s): error %v, want one of %q", c[0], mode, err, c[1])
			}
		}
		if n := b.onPrimary("SELECT count(*) FROM pg_class WHERE relname IN ('made', 'other_made') AND relpersistence = 'p'")[0][0]; n != "0" {
			t.Error("what was refused has stayed")
		}
	}
	b.identical()
}
