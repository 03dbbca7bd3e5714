package session_test

import (
	"strings"
	"testing"
)

// TestI6InvalidIndexesStayInvalid: what makes an index valid that the backups do
// not have is refused, whichever way it would; once the index is dropped it runs.
func TestI6InvalidIndexesStayInvalid(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (a int, b text)`, `INSERT INTO t VALUES (1, '1'), (1, '1')`,
		`CREATE TABLE other (a int)`, `CREATE TABLE parent (a int) PARTITION BY LIST (a)`, `CREATE TABLE part PARTITION OF parent FOR VALUES IN (1)`,
		`INSERT INTO parent VALUES (1), (1)`)
	c := r.client()
	is := func(sql, code, words string) {
		t.Helper()
		c.take()
		c.query(sql).ready()
		got := c.take()
		if failed := strings.Contains(got, "E S=ERROR"); failed != (code != "") || !strings.Contains(got, code) || !strings.Contains(got, words) {
			t.Errorf("%s: %s", sql, got)
		}
	}
	is(`INSERT INTO t VALUES (7, '7')`, "", "")
	is(`CREATE UNIQUE INDEX CONCURRENTLY odd ON t (a)`, "23505", "")
	is(`INSERT INTO t VALUES (8, '8')`, "", "") // what is known of t is not from before
	is(`CREATE UNIQUE INDEX CONCURRENTLY part_odd ON part (a)`, "23505", "")
	is(`TRUNCATE t`, "", "") // it builds other indexes than unique ones
	r.pg.Exec(t, r.db, `CREATE INDEX odder ON t (b)`, `CREATE INDEX part_odder ON part (a)`,
		`UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('odder'::regclass, 'part_odder'::regclass)`)
	is(`TRUNCATE t`, "0A000", "the index public.odder of table t is invalid")
	is(`TRUNCATE parent`, "0A000", "the index public.part_odder of table part is invalid")
	for _, sql := range []string{
		`ALTER TABLE t ALTER a TYPE bigint`, `ALTER TABLE t ALTER b TYPE int USING b::int`, `REINDEX TABLE t`, `REINDEX INDEX odd`,
		`REINDEX INDEX CONCURRENTLY odd`, `VACUUM FULL t`, `VACUUM (FULL) t`, `VACUUM FULL`, `CREATE INDEX IF NOT EXISTS odd ON t (a)`,
		`CREATE INDEX CONCURRENTLY IF NOT EXISTS odd ON t (a)`, `CREATE INDEX ON t (b)`, `CREATE INDEX CONCURRENTLY ON t (b)`,
	} {
		is(sql, "0A000", "the index public.odd of table t is invalid")
	}
	is(`REINDEX TABLE parent`, "0A000", "the index public.part_odd of table part is invalid")
	if rows := r.pg.Query(t, r.db, `SELECT FROM pg_index WHERE NOT indisvalid`); len(rows) != 4 {
		t.Errorf("%d invalid indexes, 4 expected", len(rows))
	}
	for _, sql := range []string{`TRUNCATE other`, `REINDEX TABLE other`, `VACUUM t`, `VACUUM (FULL false) t`, `ALTER TABLE t ADD c int`} {
		is(sql, "", "")
	}
	is(`DROP INDEX odd, odder`, "", "")
	is(`TRUNCATE t`, "", "")
}
