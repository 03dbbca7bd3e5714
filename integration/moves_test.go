package integration

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// I6: an UPDATE that moves a row to another partition fires the triggers of DELETE and
// INSERT, too; one of other columns than a trigger is for does not fire it, on either side.
func TestI6TriggersThatAnUpdateFires(t *testing.T) {
	for name, yaml := range map[string]string{"refused": "", "by triggers": triggersOn} {
		t.Run(name, func(t *testing.T) {
			b := up(t, rig.Config{AgentYAML: yaml},
				`CREATE TABLE part (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k)`,
				`CREATE TABLE p1 PARTITION OF part FOR VALUES FROM (0) TO (100)`, `CREATE TABLE p2 PARTITION OF part FOR VALUES FROM (100) TO (200)`,
				`CREATE TABLE named (id int PRIMARY KEY, name text, n int)`, `INSERT INTO part VALUES (1, 1, 'a'), (2, 2, 'b')`, `INSERT INTO named VALUES (1, 'a', 1), (2, 'b', 2)`,
				`CREATE TABLE audit (at timestamptz, what text)`,
				`CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (clock_timestamp(), TG_OP); RETURN NULL; END $$`,
				`CREATE TRIGGER noted AFTER INSERT ON part FOR EACH ROW EXECUTE FUNCTION noted()`, `CREATE TRIGGER noted AFTER UPDATE OF name ON named FOR EACH ROW EXECUTE FUNCTION noted()`)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			for _, sql := range []string{`UPDATE part SET k = 150 WHERE id = 1 AND k = 1`, `UPDATE named SET name = 'x' WHERE id = 1`, `INSERT INTO named VALUES (2, 'y', 3) ON CONFLICT (id) DO UPDATE SET n = excluded.n`} {
				_, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol)
				if refused := err != nil && strings.Contains(err.Error(), "trigger noted"); refused != (yaml == "") || err != nil && !refused {
					t.Errorf("%s: %v", sql, err)
				}
			}
			for _, sql := range []string{`UPDATE part SET v = 'x' WHERE id = 2 AND k = 2`, `UPDATE part SET v = v || 'y'`, `UPDATE named SET n = 5 WHERE id = 1`, `UPDATE named SET n = n + 1 WHERE n > 2`} {
				b.runParts(conn, pgx.QueryExecModeSimpleProtocol, sql)
			}
			b.identical()
		})
	}
}

// I6: a stored generated column that the server has computed of a row as it was before a BEFORE INSERT
// trigger changed it, as it does where the UPDATE that moves it has changed another row of its new
// partition: no backup computes that. Moves whose generated columns are right are carried. (Without capture
// triggers no key that tells rows apart stays the same where one moves.)
func TestI6GeneratedColumnsOfRowsThatMove(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn},
		`CREATE TABLE part (k int PRIMARY KEY, a int, b int, g int GENERATED ALWAYS AS (a * 10) STORED) PARTITION BY RANGE (k)`,
		`CREATE TABLE p1 (g int GENERATED ALWAYS AS (a * 10) STORED, b int, a int, k int NOT NULL)`, `ALTER TABLE part ATTACH PARTITION p1 FOR VALUES FROM (0) TO (10)`,
		`CREATE TABLE p2 PARTITION OF part FOR VALUES FROM (10) TO (20)`,
		`CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.b < 5 THEN NEW.a = NEW.a + 100; ELSE NEW.b = NEW.b + 1; END IF; RETURN NEW; END $$`,
		`CREATE TRIGGER changed BEFORE INSERT ON p1 FOR EACH ROW EXECUTE FUNCTION changed()`,
		`INSERT INTO part VALUES (1, 1, 1), (12, 2, 2), (13, 3, 3), (14, 4, 6), (15, 4, 7)`)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for _, sql := range []string{
		`UPDATE part SET k = CASE k WHEN 1 THEN 2 ELSE k - 5 END WHERE k IN (1, 12)`,
		`UPDATE part SET k = CASE k WHEN 1 THEN 11 ELSE k - 5 END WHERE k IN (1, 12)`, // what leaves p1 is computed there, too
	} {
		if _, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol); err == nil || !strings.Contains(err.Error(), "generated columns") {
			t.Errorf("%s: %v, want it refused", sql, err)
		}
	}
	for _, sql := range []string{
		`UPDATE part SET k = 7 WHERE k = 12`,
		`UPDATE part SET k = CASE k WHEN 1 THEN 2 ELSE k - 6 END WHERE k IN (1, 14, 15)`, // b alone is changed
		`WITH d AS (DELETE FROM part WHERE k = 13 RETURNING *) INSERT INTO part SELECT 3, a, b FROM d`,
	} {
		if _, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	b.identical()
}
