package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/rig"
)

// Under policy flag the worker goes on beside tables that were given up: what builds upon
// one is given up with it, by name, and everything else is the primary's (I6).
func TestI6WhatBuildsUponFlaggedTables(t *testing.T) {
	b := up(t, rig.Config{OnUnsafe: "flag"})
	for _, sql := range []string{
		"CREATE TABLE n (a int)", flags("n"), "ALTER TABLE n ALTER COLUMN a SET DEFAULT 5, ADD COLUMN x int",
		// Columns, parents, rows as a type: made here, they would be other ones.
		"CREATE TABLE copied (LIKE n INCLUDING ALL, b int)", "INSERT INTO copied (b) VALUES (1)",
		"CREATE TABLE heir (b int) INHERITS (n)", "INSERT INTO heir (b) VALUES (1)",
		"CREATE TABLE held (c n)", "INSERT INTO held VALUES (ROW (1, 2))",
		"CREATE TABLE holds (b int)", "ALTER TABLE holds ADD COLUMN c n", "INSERT INTO holds VALUES (1, ROW (1, 2))",
		// A view is made where it can be, and given up where it cannot.
		"CREATE VIEW seen AS SELECT a FROM n", "CREATE VIEW unseen AS SELECT x FROM n", "CREATE VIEW beyond AS SELECT x FROM unseen", "DROP VIEW beyond",
		// … also through a view or a type, which is made here with the columns of n here.
		"CREATE TABLE num (a int, b int)", flags("num"), "ALTER TABLE num ALTER COLUMN b TYPE numeric", "CREATE VIEW nums AS SELECT * FROM num", "CREATE VIEW sums AS SELECT b FROM nums",
		"CREATE TABLE of_view (LIKE sums)", "INSERT INTO of_view VALUES (1.5)", "CREATE TABLE row_of (r sums)", "INSERT INTO row_of VALUES (ROW (1.5))",
		"CREATE TYPE holder AS (r num)", "CREATE TABLE of_type (h holder)", "INSERT INTO of_type VALUES (ROW (ROW (1, 1.5)))",
		// Partitions that come after a table was given up get its rows.
		"CREATE TABLE p (a int) PARTITION BY LIST (a)", flags("p"), "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
		"CREATE TABLE p2 (a int)", "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2)", "INSERT INTO p VALUES (1), (2)",
		"CREATE TABLE q (a int) PARTITION BY LIST (a)", "CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1)", "CREATE TABLE q2 (a int)", flags("q2"),
		"ALTER TABLE q ATTACH PARTITION q2 FOR VALUES IN (2)", "INSERT INTO q VALUES (1), (2)",
		"CREATE TABLE z (a int PRIMARY KEY, v int) PARTITION BY LIST (a)", "CREATE TABLE z1 PARTITION OF z FOR VALUES IN (1)", "CREATE TABLE z2 PARTITION OF z FOR VALUES IN (2)",
		"INSERT INTO z VALUES (1, 1)", "WITH x AS (UPDATE z1 SET v = 2 RETURNING (SELECT v)) TABLE x", "UPDATE z SET a = 2 WHERE a = 1", // the row goes to another partition
		// Rows that refer to those that are missing, at once and at the COMMIT.
		"CREATE TABLE k (a int, b int UNIQUE)", "CREATE TABLE r (b int REFERENCES k (b))", "CREATE TABLE later (b int REFERENCES k (b) DEFERRABLE INITIALLY DEFERRED)",
		flags("k"), "INSERT INTO k VALUES (1, 1)", "INSERT INTO r VALUES (1)", "INSERT INTO later VALUES (1)",
		"CREATE TABLE o (b int REFERENCES k (b)) PARTITION BY LIST (b)", "CREATE TABLE o1 PARTITION OF o DEFAULT", "INSERT INTO o VALUES (1)",
		"CREATE TABLE master (b int PRIMARY KEY)", "CREATE TABLE detail (b int REFERENCES master)", "INSERT INTO master VALUES (1), (2)",
		"INSERT INTO detail VALUES (1)", "WITH x AS (DELETE FROM detail RETURNING (SELECT b)) TABLE x", "DELETE FROM master WHERE b = 1",
		"CREATE TABLE bound (b int)", "CREATE TABLE below () INHERITS (bound)", "INSERT INTO bound VALUES (1)", "ALTER TABLE bound ADD FOREIGN KEY (b) REFERENCES k (b)",
		"ALTER TABLE bound ALTER COLUMN b SET DEFAULT 7", "INSERT INTO below DEFAULT VALUES", // DDL of a parent is its children's, too
		// Names move.
		"CREATE TABLE old (a int)", flags("old"), "CREATE TABLE young (a int)", "ALTER TABLE old RENAME TO older", "ALTER TABLE young RENAME TO old",
		"INSERT INTO old VALUES (1)", "INSERT INTO older VALUES (1)", "ALTER TABLE held RENAME TO holding", "INSERT INTO holding VALUES (ROW (1, 2))",
		"CREATE SCHEMA s", "CREATE TABLE s.m (a int)", flags("s.m"), "ALTER SCHEMA s RENAME TO w", "INSERT INTO w.m VALUES (1)",
		"CREATE TABLE walks (a int)", flags("walks"), "ALTER TABLE walks SET SCHEMA w", "INSERT INTO w.walks VALUES (1)",
		`CREATE SCHEMA "d.s"`, `CREATE TABLE "d.s"."t.t" (a int)`, flags(`"d.s"."t.t"`), `ALTER TABLE "d.s"."t.t" RENAME TO uu`, `INSERT INTO "d.s".uu VALUES (1)`,
		`ALTER TABLE "d.s".uu SET SCHEMA w`, `INSERT INTO w.uu VALUES (1)`,
		// … as do those that the server has numbered: of what is here, and of what was given up.
		"BEGIN; CREATE TABLE counted_id_seq (); CREATE TABLE counted (id serial); DROP TABLE counted_id_seq; COMMIT", "INSERT INTO counted DEFAULT VALUES",
		"BEGIN; CREATE INDEX kept_idx1 ON old (a); CREATE INDEX n_idx1 ON n (a); COMMIT",
		// What is dropped is gone on both sides, whatever it held, and may come again.
		"CREATE TABLE again (a int)", flags("again"), "ALTER TABLE again ADD COLUMN b int", "DROP TABLE again", "CREATE TABLE again (c int)", "INSERT INTO again VALUES (1)",
		"CREATE DOMAIN d AS int", "CREATE TABLE of_d (a d)", flags("of_d"), "DROP TABLE of_d", "DROP DOMAIN d",
		"CREATE TABLE referred (b int PRIMARY KEY)", "CREATE TABLE refers (a int REFERENCES referred)", flags("refers"),
		"ALTER TABLE refers DROP CONSTRAINT refers_a_fkey", "DROP TABLE referred",
		// Foreign tables are on no backup.
		"CREATE FOREIGN DATA WRAPPER nobody", "CREATE SERVER nowhere FOREIGN DATA WRAPPER nobody", "CREATE FOREIGN TABLE far (a int) SERVER nowhere",
		"COMMENT ON FOREIGN TABLE far IS 'far'", "CREATE STATISTICS far_s ON a, (a + 1) FROM far", "ALTER FOREIGN TABLE far RENAME TO farther", "COMMENT ON COLUMN farther.a IS 'far'",
		// An index that failed to be built is on the primary alone, and its table is not given up for it.
		"CREATE TABLE i (a int, b int, PRIMARY KEY (a, b)) PARTITION BY LIST (a)", "CREATE TABLE i1 PARTITION OF i DEFAULT", "INSERT INTO i1 VALUES (1, 0)",
		fails + "CREATE INDEX CONCURRENTLY i1_odd ON i1 ((a / b))", "DELETE FROM i1 WHERE a = 1", "REINDEX INDEX CONCURRENTLY i1_odd",
		"CREATE INDEX i_odd ON ONLY i ((a / b))", "ALTER INDEX i_odd ATTACH PARTITION i1_odd", "INSERT INTO i VALUES (1, 1)",
		"CREATE TABLE j (a int, b int) PARTITION BY LIST (a)", "CREATE TABLE j1 PARTITION OF j DEFAULT", "INSERT INTO j1 VALUES (1, 0)",
		fails + "CREATE INDEX CONCURRENTLY j1_odd ON j1 ((a / b))", "CREATE INDEX j_odd ON j ((a / b))", // the backup would have to build it
		"CREATE TABLE kept (a int)", "INSERT INTO kept VALUES (1)",
	} {
		sql, failing := strings.CutPrefix(sql, fails)
		if result := b.psql(sql); (result.Code != 0) != failing {
			t.Errorf("%s: exit code %d\n%s", sql, result.Code, result.Stderr)
		}
	}
	b.must(b.Wait(b.ctx, catchUpTimeout))
	status, err := b.Status(b.ctx)
	b.must(err)
	var diverged []string
	for _, d := range status.Diverged {
		diverged = append(diverged, strings.TrimPrefix(d.Table, "public."))
	}
	slices.Sort(diverged)
	const want = "below bound copied detail far farther heir held holding holds i1_odd i_odd j j1 j1_odd k later master n num o o1 of_type of_view older p p1 p2 q q1 q2 r referred refers row_of s.m unseen w.m w.uu w.walks z z1 z2"
	if got := strings.Join(diverged, " "); got != want {
		t.Errorf("diverged are\n%s, want\n%s", got, want)
	}
	diffs, err := b.Compare(b.ctx)
	b.must(err)
	same := 0
	for _, d := range diffs {
		switch name := strings.TrimPrefix(d.Table, "public."); {
		case slices.Contains(diverged, name):
		case !d.Identical():
			t.Errorf("differs, and nothing says so: %s", d)
		default:
			same++
		}
	}
	if same != 5 {
		t.Errorf("%d tables are the same and listed nowhere, want again, counted, i1, kept and old", same)
	}
	if rows := b.onBackup("SELECT count(*) FROM pg_class WHERE relname IN ('seen', 'of_d', 'beyond', 'walks', 'older')"); rows[0][0] != "3" {
		t.Errorf("%s of seen, of_d, beyond, walks and older are on the backup, want seen, walks and older", rows[0][0])
	}
}

// fails begins a statement that fails.
const fails = "! "

// flags is a statement that gives up a table without a key, and no other.
func flags(table string) string { return "UPDATE " + table + " SET a = a WHERE random() > 2" }
