package session_test

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/internal/testkit"
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
		`CREATE TABLE copied (LIKE t INCLUDING INDEXES)`, `CREATE TABLE copied (LIKE t INCLUDING ALL, LIKE other INCLUDING ALL)`,
	} {
		is(sql, "0A000", "the index public.odd of table t is invalid")
	}
	// Nor does DDL change it otherwise, or take it for a part of another one.
	is(`CREATE INDEX over ON ONLY parent (a)`, "", "")
	for _, sql := range []string{`ALTER INDEX over ATTACH PARTITION part_odder`, `CREATE INDEX again ON parent (a)`, `ALTER INDEX part_odder RENAME TO other_name`,
		`ALTER TABLE part_odder SET (fillfactor = 50)`, `COMMENT ON INDEX part_odder IS 'x'`} {
		is(sql, "0A000", "the index public.part_odder of table part is invalid")
	}
	r.pg.Exec(t, r.db, `CREATE UNIQUE INDEX other_a_key ON other (a)`, `CREATE INDEX other_3 ON other (a)`,
		`UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('other_a_key'::regclass, 'other_3'::regclass)`)
	is(`ALTER TABLE other ADD UNIQUE (a)`, "0A000", "the index public.other_a_key of table other is invalid") // it would be other_a_key1 here
	for _, sql := range []string{`CREATE INDEX other_by_another_name ON other (a)`, `CREATE INDEX other_9 ON other (a)`, `DROP INDEX other_9`} {
		is(sql, "", "")
	}
	is(`DROP INDEX over, other_3, other_a_key, other_by_another_name`, "", "")
	is(`CREATE TABLE copied (LIKE t INCLUDING ALL EXCLUDING INDEXES, LIKE parent)`, "42701", "")
	is(`CREATE TABLE copied (LIKE t INCLUDING ALL EXCLUDING INDEXES)`, "", "")
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

// TestI6HalfDetachedPartitions: a DETACH … CONCURRENTLY that was cancelled has taken
// its partition out here and on no backup. What a parent's TRUNCATE or DDL would do
// to one and not to the other is refused; rows go on.
func TestI6HalfDetachedPartitions(t *testing.T) {
	locking := []classify.Predicates{{Tables: "public.*", Carry: classify.CarryLock}}
	r := rigWith(t, setting{predicates: locking}, `CREATE TABLE top (a int, b int, PRIMARY KEY (a, b)) PARTITION BY LIST (a)`, `CREATE TABLE parent PARTITION OF top FOR VALUES IN (1, 2) PARTITION BY LIST (a)`,
		`CREATE TABLE part1 PARTITION OF parent FOR VALUES IN (1)`, `CREATE TABLE part2 PARTITION OF parent FOR VALUES IN (2)`, `CREATE TABLE other (a int)`,
		`INSERT INTO top VALUES (1, 1), (2, 2)`, `ALTER TABLE top ADD v int`)
	old := r.client()
	old.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1`).ready()
	c := r.client()
	halfDetach(t, r, c)
	for _, sql := range []string{`TRUNCATE parent`, `TRUNCATE top`, `TRUNCATE other, top`, `CREATE TABLE part3 PARTITION OF parent DEFAULT`, `UPDATE top SET v = 1 WHERE b > 0`, `DELETE FROM parent WHERE b > 0`} {
		c.take()
		c.query(sql).says(`C=0A000`, `part1 is half detached`)
	}
	old.query(`TRUNCATE parent`).ready() // its snapshot is from before the DETACH
	old.take()
	old.query(`COMMIT`).says(`C=0A000`, `part1 is half detached`)
	for _, sql := range []string{`INSERT INTO top VALUES (2, 3)`, `INSERT INTO part1 VALUES (1, 3)`, `UPDATE top SET b = 20 WHERE a = 2 AND b = 2`, `TRUNCATE other`, `UPDATE part2 SET v = 1 WHERE b > 0`, `TRUNCATE part2`} {
		c.take()
		c.query(sql).ready()
		if got := c.take(); strings.Contains(got, "E S=ERROR") {
			t.Errorf("%s: %s", sql, got)
		}
	}
	// Dropped with its parent it is gone on the backups too, unless rows of the parent left it before.
	for _, sql := range []string{`BEGIN; DROP TABLE part1; COMMIT`, `BEGIN; UPDATE top SET v = 2 WHERE b > 0; DROP TABLE parent; COMMIT`,
		`BEGIN; SAVEPOINT s; DROP TABLE parent; ROLLBACK TO s; TRUNCATE top; COMMIT`} {
		c.take()
		c.query(sql).says(`C=0A000`, `half detached`)
	}
	for _, sql := range []string{`BEGIN; DROP TABLE parent; ROLLBACK`, `BEGIN; DROP TABLE parent; CREATE TABLE parent PARTITION OF top FOR VALUES IN (1, 2) PARTITION BY LIST (a); COMMIT`,
		`CREATE TABLE part1 PARTITION OF parent FOR VALUES IN (1)`} {
		c.take()
		c.query(sql).ready()
		if got := c.take(); strings.Contains(got, "E S=ERROR") {
			t.Errorf("%s: %s", sql, got)
		}
	}
	halfDetach(t, r, c)
	r.pg.Exec(t, r.db, `ALTER TABLE parent DETACH PARTITION part1 FINALIZE`)
	c.take()
	c.query(`TRUNCATE top`).ready()
	if got := c.take(); strings.Contains(got, "E S=ERROR") {
		t.Errorf("TRUNCATE of what is whole again: %s", got)
	}
}

// halfDetach has a client's DETACH … CONCURRENTLY of part1 wait for a reader of its parent and give up.
func halfDetach(t *testing.T, r *rig, c *rawClient) {
	t.Helper()
	tx, err := testkit.Connect(t, r.pg.DSN(r.db)).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM parent`); err != nil { // whoever reads the parent is waited for
		t.Fatal(err)
	}
	c.query(`SET lock_timeout = '100ms'`).ready()
	c.take()
	c.query(`ALTER TABLE parent DETACH PARTITION part1 CONCURRENTLY`).says(`C=55P03`)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.query(`SET lock_timeout = 0`).ready()
}
