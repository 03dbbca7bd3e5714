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

// I6: a table that is partitioned by hashes of an enum has its rows in other partitions on
// a backup. As a whole it is the same, and what names a partition is refused, or travels by
// the name of the whole.
func TestI6PartitionedByHashesOfEnums(t *testing.T) {
	for _, triggers := range []string{"off", "on"} {
		t.Run("triggers "+triggers, func(t *testing.T) {
			b := setUp(t, rig.Config{AgentYAML: "capture: {triggers: " + triggers + "}\n"})
			for range 20 { // numbers are others there
				b.onBackup(`CREATE TYPE pad AS ENUM ('a', 'b', 'c')`)
				b.onBackup(`DROP TYPE pad`)
			}
			for _, sql := range []string{
				`CREATE TYPE mood AS ENUM ('m0', 'm1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7')`,
				`CREATE TABLE h (id int, m mood, v text, PRIMARY KEY (id, m)) PARTITION BY HASH (m)`,
				`CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0)`, `CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1)`,
				`INSERT INTO h SELECT i, ('m' || i % 8)::mood, 'v' FROM generate_series(1, 40) i`,
			} {
				b.onPrimary(sql)
				b.onBackup(sql)
			}
			b.must(b.agent("a1").Start(b.ctx))
			b.must(b.worker("w1").Start(b.ctx))
			conn := testkit.Connect(t, b.agent("a1").DSN())
			for _, sql := range []string{`INSERT INTO h VALUES (100, 'm3', 'x')`, `UPDATE h SET v = 'y' WHERE id = 100 AND m = 'm3'`, `UPDATE h SET v = 'z' WHERE id < 9`, `DELETE FROM h WHERE id = 40`, `UPDATE h SET m = 'm7' WHERE id = 1 AND m = 'm1'`} {
				b.runParts(conn, pgx.QueryExecModeDescribeExec, sql)
			}
			byName := []string{`UPDATE h0 SET v = 'leaf' WHERE id < 30`, `DELETE FROM h1 WHERE id IN (11, 12, 13, 14)`}
			refused := []string{`TRUNCATE h0`, `DROP TABLE h0`, `ALTER TABLE h DETACH PARTITION h0`, `DO $$ BEGIN TRUNCATE h0; END $$`, `DO $$ BEGIN DROP TABLE h0; END $$`, `DO $$ BEGIN ALTER TABLE h DETACH PARTITION h0; END $$`}
			if triggers == "on" { // as images of the whole table's rows
				for _, sql := range byName {
					b.runParts(conn, pgx.QueryExecModeDescribeExec, sql)
				}
			} else {
				refused = append(refused, byName...)
			}
			for _, sql := range refused {
				if err := execute(b.ctx, conn, pgx.QueryExecModeDescribeExec, sql); err == nil || !strings.Contains(err.Error(), "opmux: ") || triggers == "on" && !strings.Contains(err.Error(), "differ between servers") {
					t.Errorf("%s: %v, want a refusal", sql, err)
				}
			}
			b.runParts(conn, pgx.QueryExecModeDescribeExec, `CREATE TABLE last (id int PRIMARY KEY)`)
			testkit.Eventually(t, testkit.Patience, func() error { return b.same(`SELECT to_regclass('last') IS NOT NULL`) })
			if err := b.same(`SELECT id, m, v FROM h ORDER BY id`); err != nil {
				t.Error(err)
			}
			if slices.EqualFunc(b.onPrimary(`SELECT id FROM h0 ORDER BY id`), b.onBackup(`SELECT id FROM h0 ORDER BY id`), slices.Equal) {
				t.Log("the partitions are the same by chance")
			}
		})
	}
}

// same compares what a query answers on both sides.
func (b *bench) same(sql string) error {
	if primary, backup := b.onPrimary(sql), b.onBackup(sql); !slices.EqualFunc(primary, backup, slices.Equal) {
		return fmt.Errorf("%s: primary %q, backup %q", sql, primary, backup)
	}
	return nil
}
