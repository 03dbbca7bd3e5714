package integration

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// I6: triggers and rules that act on replicas, too, would act on a backup once more,
// behind the rows that say what they did.
func TestI6TriggersThatNeverSleep(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn},
		`CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := NEW.v || '+'; RETURN NEW; END $$`,
		`CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TRIGGER more BEFORE INSERT OR UPDATE ON a FOR EACH ROW EXECUTE FUNCTION more()`,
		`CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)`, `CREATE TABLE parted_1 PARTITION OF parted DEFAULT`,
		`CREATE TRIGGER more BEFORE INSERT OR UPDATE ON parted_1 FOR EACH ROW EXECUTE FUNCTION more()`,
		`CREATE TABLE ruled (id int PRIMARY KEY, v text)`, `CREATE TABLE seen (v text)`, `CREATE RULE sees AS ON INSERT TO ruled DO ALSO INSERT INTO seen VALUES (NEW.v)`)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	ordinary := []string{`INSERT INTO a VALUES (1, 'a')`, `UPDATE a SET v = v || 'b' WHERE v <> ''`, `INSERT INTO parted VALUES (1, 'a')`, `INSERT INTO ruled VALUES (1, 'a')`}
	refused := []string{`INSERT INTO a VALUES (2, 'a')`, `UPDATE a SET v = v || 'b' WHERE v <> ''`, `INSERT INTO parted VALUES (2, 'a')`, `INSERT INTO ruled VALUES (2, 'a')`}
	for _, sql := range ordinary {
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, sql)
	}
	for _, when := range []string{"ALWAYS", "REPLICA"} {
		for _, sql := range []string{`ALTER TABLE a ENABLE ` + when + ` TRIGGER more`, `ALTER TABLE parted_1 ENABLE ` + when + ` TRIGGER more`, `ALTER TABLE ruled ENABLE ` + when + ` RULE sees`} {
			b.runParts(conn, pgx.QueryExecModeSimpleProtocol, sql)
		}
		for _, sql := range refused {
			if _, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol); err == nil || !strings.Contains(err.Error(), "acts ALWAYS or on replicas") {
				t.Errorf("%s, %s: %v, want a refusal", when, sql, err)
			}
		}
	}
	b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `ALTER TABLE a ENABLE TRIGGER more`)
	// Triggers run by their names: what one wrote came before the row that set it off.
	for _, sql := range []string{`CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE a SET v = v || ''!'' WHERE id = NEW.id; RETURN NULL; END'`,
		`CREATE TRIGGER " again" AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION again()`} {
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, sql)
	}
	if _, err := conn.Exec(b.ctx, refused[0], pgx.QueryExecModeSimpleProtocol); err == nil || !strings.Contains(err.Error(), "before the agent's own") {
		t.Errorf("behind a trigger that runs first: %v, want a refusal", err)
	}
	b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `ALTER TRIGGER " again" ON a RENAME TO again`)
	b.runParts(conn, pgx.QueryExecModeSimpleProtocol, refused[0])
	b.identical()
}

// I6: what a trigger writes is kept before rows of its statement that were written before
// it. Where it wrote one of these, a backup would be left with the wrong one.
func TestI6TriggersThatOvertakeTheirStatement(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn},
		`CREATE TABLE node (id int PRIMARY KEY, up int, total int DEFAULT 0)`, `INSERT INTO node VALUES (2, 1), (1, NULL), (4, 3), (3, NULL)`,
		`CREATE FUNCTION rolls() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE node SET total = total + NEW.total - OLD.total WHERE id = NEW.up; RETURN NULL; END $$`,
		`CREATE TRIGGER rolls AFTER UPDATE ON node FOR EACH ROW EXECUTE FUNCTION rolls()`,
		`CREATE TABLE one (id int PRIMARY KEY, main bool)`, `INSERT INTO one VALUES (1, false), (2, false)`,
		`CREATE FUNCTION alone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE one SET main = false WHERE id <> NEW.id AND main; RETURN NULL; END $$`,
		`CREATE TRIGGER alone AFTER UPDATE ON one FOR EACH ROW WHEN (NEW.main) EXECUTE FUNCTION alone()`,
		`CREATE TABLE kept (id int PRIMARY KEY, n int DEFAULT 0)`, `INSERT INTO kept VALUES (1), (2)`,
		`CREATE FUNCTION comes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO kept VALUES (OLD.id % 2 + 1, 9) ON CONFLICT DO NOTHING; RETURN NULL; END $$`,
		`CREATE TRIGGER comes AFTER DELETE ON kept FOR EACH ROW EXECUTE FUNCTION comes()`,
		`CREATE TABLE bag (v text, seen bool DEFAULT false)`, `INSERT INTO bag VALUES ('a'), ('b')`,
		`CREATE FUNCTION sees() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE bag SET seen = true WHERE v <> NEW.v AND NOT seen AND v LIKE '%!'; RETURN NULL; END $$`,
		`CREATE TRIGGER sees AFTER UPDATE ON bag FOR EACH ROW WHEN (NOT NEW.seen) EXECUTE FUNCTION sees()`)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for _, sql := range []string{`UPDATE node SET total = total + 5`, `UPDATE one SET main = true`, `DELETE FROM kept`, `UPDATE bag SET v = v || '!'`} {
			if _, err := conn.Exec(b.ctx, sql, mode); err == nil || !strings.Contains(err.Error(), "which of these came last") {
				t.Errorf("%s: %v, want a refusal", sql, err)
			}
		}
		// One at a time, in one statement too.
		for _, sql := range []string{`UPDATE node SET total = total + 5 WHERE id IN (2, 4)`, `UPDATE node SET total = total + 1 WHERE up IS NULL`, `UPDATE one SET main = true WHERE id = 1`,
			`UPDATE bag SET v = v || '?' WHERE v LIKE 'a%'`,
			`DO $$ BEGIN UPDATE node SET total = 7 WHERE id = 2; UPDATE node SET total = 9 WHERE id = 1; UPDATE node SET total = 8 WHERE id = 2; END $$`} {
			b.runParts(conn, mode, sql)
		}
	}
	b.identical()
}
