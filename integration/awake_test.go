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
