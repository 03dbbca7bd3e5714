package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// keylessSchema has tables without a key: what ORMs make of collections, values that
// no equality compares or that have equals which are not the same, partitions, a parent.
var keylessSchema = []string{
	`CREATE TYPE mood AS ENUM ('glad', 'sad')`, `CREATE TYPE pair AS (a int, b text)`, `CREATE DOMAIN short AS varchar(4) CHECK (value <> 'bad')`,
	`CREATE TABLE person (id int PRIMARY KEY)`, `INSERT INTO person SELECT generate_series(1, 9)`,
	`CREATE TABLE person_tags (person_id int NOT NULL REFERENCES person ON DELETE CASCADE, tag text)`,
	`CREATE TABLE odd (j json, c char(4), f float8, n numeric, m mood, p pair, s short, a text[], b box, bs box[], x bytea, i interval, at timestamptz, g int GENERATED ALWAYS AS (length(s)) STORED)`,
	`CREATE TABLE parts (k int, v text) PARTITION BY RANGE (k)`, `CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (5)`,
	`CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (5) TO (100)`,
	`CREATE TABLE loose (n int UNIQUE, v text)`, `CREATE TABLE clinging (n int REFERENCES loose (n) ON DELETE SET NULL, id int PRIMARY KEY)`,
	`CREATE SEQUENCE drawn`, `CREATE TABLE notes (x xml)`,
}

var keylessWork = []string{
	`INSERT INTO person_tags SELECT 1 + i % 9, 't' || i % 4 FROM generate_series(1, 400) i`,
	`INSERT INTO person_tags VALUES (1, NULL), (1, ''), (1, NULL), (1, '"\,{}'), (2, 'NULL'), (2, NULL)`,
	`DELETE FROM person_tags WHERE person_id = 1 AND tag = 't0'`,
	`DELETE FROM person_tags WHERE person_id = 1 AND (tag IS NULL OR tag = '"\,{}')`,
	`DELETE FROM person_tags WHERE ctid IN (SELECT ctid FROM person_tags WHERE person_id = 2 ORDER BY tag LIMIT 3)`,
	`DELETE FROM person_tags AS g USING person p WHERE p.id = g.person_id AND p.id = 3 AND g.tag > 't1' RETURNING p.id, g.*`,
	`DELETE FROM person_tags WHERE nextval('drawn') < 3 AND person_id > 4`,
	`DELETE FROM person_tags WHERE person_id = 77`,
	`INSERT INTO odd SELECT json('{"a": ' || i % 3 || '}'), 'c', CASE i % 4 WHEN 0 THEN 0.0 WHEN 1 THEN '-0'::float8 WHEN 2 THEN 1e-300 ELSE 'NaN' END,
		CASE i % 2 WHEN 0 THEN 1.0 ELSE 1.00 END, 'sad', ('(' || i % 2 || ',"x, ""y""")')::pair, 'a', ARRAY['q', NULL, 'NULL', '{"'], '(1,1),(0,0)', '{(1,1),(0,0);(2,2),(0,0)}', '\x00ff', '1 mon -2 days', '2026-05-01 12:00+00'
		FROM generate_series(1, 48) i`,
	`INSERT INTO odd (s) VALUES ('a'), (NULL)`,
	`SET TimeZone = 'Asia/Tokyo'`, `SET IntervalStyle = 'iso_8601'`, `SET bytea_output = 'escape'`,
	`DELETE FROM odd WHERE ctid IN (SELECT ctid FROM odd WHERE f::text = '-0' LIMIT 3)`,
	`DELETE FROM odd WHERE ctid IN (SELECT ctid FROM odd WHERE n::text = '1.00' LIMIT 5)`, `DELETE FROM odd WHERE m IS NULL`,
	`DELETE FROM odd WHERE ctid IN (SELECT ctid FROM odd LIMIT 9)`,
	`ALTER DOMAIN short ADD CONSTRAINT later CHECK (value <> 'a') NOT VALID`, `DELETE FROM odd WHERE ctid IN (SELECT ctid FROM odd LIMIT 5)`, `ALTER DOMAIN short DROP CONSTRAINT later`,
	`INSERT INTO notes SELECT '<a/><b/>' FROM generate_series(1, 3)`, `SET xmloption = 'document'`, `DELETE FROM notes WHERE ctid = (SELECT ctid FROM notes LIMIT 1)`,
	`RESET ALL`,
	`INSERT INTO parts SELECT i % 9, 'v' FROM generate_series(1, 90) i`,
	`DELETE FROM parts WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM parts WHERE k IN (3, 7) ORDER BY k LIMIT 13)`, `DELETE FROM parts_low WHERE k < 2`,
	`INSERT INTO loose VALUES (1, 'a'), (2, 'b'), (NULL, 'c'), (NULL, 'c')`, `INSERT INTO clinging VALUES (1, 1), (2, 2), (1, 3)`,
	`DELETE FROM loose WHERE n = 1`, `DELETE FROM loose WHERE ctid = (SELECT ctid FROM loose WHERE v = 'c' LIMIT 1)`,
	`BEGIN; SAVEPOINT a; DELETE FROM parts; ROLLBACK TO a; DELETE FROM parts WHERE k = 8; INSERT INTO parts VALUES (8, 'v'), (8, 'w'); DELETE FROM parts WHERE v = 'w'; COMMIT`,
	`DELETE FROM person WHERE id = 5`,
}

// I6: a DELETE of a table without a key takes the same rows away on a backup, or ones
// that are the same in every column.
func TestI6DeletesWithoutAKey(t *testing.T) {
	b := up(t, rig.Config{Digest: "full", Verify: "full"}, keylessSchema...)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for _, sql := range keylessWork {
			b.runParts(conn, mode, sql)
		}
		b.identical()
		b.runParts(conn, mode, `TRUNCATE loose, clinging, parts, odd, notes`)
		b.runParts(conn, mode, `INSERT INTO person VALUES (5)`)
	}
	b.throughAgent(`INSERT INTO parts SELECT i % 90, repeat('long', 50) FROM generate_series(1, 20000) i`)
	b.throughAgent(`DELETE FROM parts WHERE k % 3 > 0`) // in several pieces
	b.identical()
	b.sequencesFollow()
	if v, err := b.Verdicts(b.ctx); err != nil || v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, %v; want no mismatch and nothing missing", v, err)
	}
}

// I3: of rows that are the same in every column, each DELETE on the primary takes
// another one, while transactions that ran beside one another on a backup would take
// the same. So each of them follows all before it: also those which got their places
// while it read the sequences that it had drawn from, just before its own.
func TestI3EqualRowsAreTakenAwayOneByOne(t *testing.T) {
	t.Run("by RETURNING", func(t *testing.T) { takeEqualRows(t, "", "DELETE FROM twins WHERE ctid = $(one)") })
	t.Run("by triggers", func(t *testing.T) {
		takeEqualRows(t, triggersOn, "UPDATE twins SET b = 'taken' WHERE ctid = $(one)")
	})
}

func takeEqualRows(t *testing.T, agentYAML, statement string) {
	b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: agentYAML},
		`CREATE TABLE twins (a int, b text)`, `CREATE TABLE drawn (id serial PRIMARY KEY)`,
		`INSERT INTO twins SELECT i % 2, 'same' FROM generate_series(1, 2000) i`)
	script := filepath.Join(t.TempDir(), "twins.sql")
	statement = strings.Replace(statement, "$(one)", "(SELECT ctid FROM twins WHERE a = 1 AND b = 'same' LIMIT 1 FOR UPDATE SKIP LOCKED)", 1)
	b.must(os.WriteFile(script, []byte("BEGIN;\nINSERT INTO drawn DEFAULT VALUES;\n"+statement+";\n\\sleep 10 ms\nCOMMIT;\n"), 0o600))
	b.pgbench(b.agent("a1").DSN(), "-n", "-c", "16", "-j", "2", "-t", "12", "-f", script)
	b.identical()
	if v, err := b.Verdicts(b.ctx); err != nil || v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, %v; want no mismatch and nothing missing", v, err)
	}
	out, err := b.Must(b.ctx, "tail", "--config", b.AgentConfig("a1"), "--json")
	b.must(err)
	removals := 0
	for record := range strings.Lines(out) {
		var r struct {
			N         int64
			DependsOn *int64 `json:"depends_on"`
		}
		b.must(json.Unmarshal([]byte(record), &r))
		if !strings.Contains(record, `DELETE FROM ONLY \"public\".\"twins\"`) {
			continue
		}
		if removals++; r.DependsOn == nil || *r.DependsOn != r.N-1 {
			t.Errorf("a transaction that takes a row without a key away does not follow the one before it: %s", record)
		}
	}
	if removals != 16*12 {
		t.Errorf("%d of %d transactions were found", removals, 16*12)
	}
}

// I6: a DELETE of rows that refer to one another is one statement on a backup, or, where no key
// names the rows, it is refused: done in pieces, it would be refused there, or its later pieces not find the rows
// that the first ones changed.
func TestI6DeletesOfRowsThatReferToOneAnother(t *testing.T) {
	b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: "capture: {chunk: 16KiB}\n"},
		`CREATE TABLE keyed (id int PRIMARY KEY, parent int REFERENCES keyed, filler text)`,
		`CREATE TABLE held (n int UNIQUE, parent int REFERENCES held (n) ON DELETE RESTRICT DEFERRABLE, filler text)`,
		`CREATE TABLE late (id int PRIMARY KEY, parent int REFERENCES late DEFERRABLE, filler text)`,
		`CREATE TABLE cut (n int UNIQUE, parent int REFERENCES cut (n) ON DELETE SET NULL, filler text)`,
		`CREATE TABLE falls (n int UNIQUE, parent int REFERENCES falls (n) ON DELETE CASCADE, filler text)`,
		`CREATE TABLE plain (n int UNIQUE, parent int REFERENCES plain (n), filler text)`)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for table, few := range map[string]string{
		"keyed": "", "held": "parent >= 480 OR parent BETWEEN 240 AND 249", "late": "", "cut": "n % 2 = 1 AND n < 99",
		"falls": "n > 400 AND n % 7 < 5 AND n < 499", "plain": "parent >= 480 OR parent BETWEEN 240 AND 249",
	} {
		b.throughAgent("INSERT INTO " + table + " SELECT i, CASE WHEN i > 1 THEN i / 2 END, repeat('f', 100) FROM generate_series(1, 1000) i")
		_, err := conn.Exec(b.ctx, "DELETE FROM "+table+" WHERE filler > ''")
		if few == "" {
			b.must(err)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "refer to one another") {
			t.Errorf("all rows of %s: %v", table, err)
		}
		_, err = conn.Exec(b.ctx, "DELETE FROM "+table+" WHERE "+few)
		b.must(err)
	}
	b.identical()
	if v, err := b.Verdicts(b.ctx); err != nil || v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, %v; want no mismatch and nothing missing", v, err)
	}
}

// I6: rows that no key names are compared as their types print them, and not by a cast of
// the user's to text, by which other rows may be the same.
func TestI6RowsAreNotComparedByCastsOfTheUsers(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, `CREATE TYPE pair AS (a int, b text)`, `CREATE TABLE worn (p pair, n int)`,
		`CREATE FUNCTION name_of(pair) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''a pair'''`, `CREATE CAST (pair AS text) WITH FUNCTION name_of(pair)`)
	b.throughAgent(`INSERT INTO worn SELECT ROW(i, 'x')::pair, i % 2 FROM generate_series(1, 6) i`)
	b.throughAgent(`INSERT INTO worn VALUES (NULL, 1), (ROW(NULL, NULL), NULL)`)
	b.throughAgent(`DELETE FROM worn WHERE (p).a = 4`)
	b.throughAgent(`UPDATE worn SET n = 7 WHERE (p).a = 5`)
	b.throughAgent(`UPDATE worn SET n = 8 WHERE n IS NULL`)
	b.identical()
}
