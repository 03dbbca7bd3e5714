package integration

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

var sleepingSchema = []string{
	`CREATE TABLE parent (id int PRIMARY KEY, v text)`, `CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE ON UPDATE SET NULL)`,
	`CREATE TABLE audit (n serial PRIMARY KEY, what text)`, `CREATE TABLE ruled (id int PRIMARY KEY, v text)`,
	`CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES (TG_OP || NEW.id); NEW.v := NEW.v || '+'; RETURN NEW; END $$`,
	`CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION noted()`,
	`CREATE RULE never AS ON DELETE TO ruled DO INSTEAD NOTHING`,
}

// Of each line the same runs with triggers and foreign keys, and in a session without.
var sleeping = []string{
	`INSERT INTO parent SELECT i, 'p' || i FROM generate_series($n, $n + 9) i; INSERT INTO child SELECT i, i FROM generate_series($n, $n + 9) i; INSERT INTO ruled VALUES ($n, 'r')`,
	`UPDATE parent SET v = 'text' WHERE id = $n; UPDATE parent SET v = v || 'rows' WHERE v LIKE 'p%'`,
	`DELETE FROM parent WHERE id = $n; DELETE FROM parent WHERE id = $n + 1 RETURNING *; UPDATE parent SET id = -id WHERE id = $n + 2; DELETE FROM ruled WHERE id = $n`,
	`DO $$ BEGIN DELETE FROM parent WHERE id = $n + 3;UPDATE child SET id = -id WHERE id BETWEEN $n + 8 AND $n + 9;END $$`,
	`CREATE TABLE made_$n (id int PRIMARY KEY REFERENCES child ON DELETE CASCADE); INSERT INTO made_$n VALUES ($n + 5); DELETE FROM child WHERE id = $n + 5; DELETE FROM made_$n; ALTER TABLE made_$n ADD v text DEFAULT 'x'`,
	`SAVEPOINT a; DELETE FROM parent WHERE id = $n + 6; ROLLBACK TO a; UPDATE child SET p = NULL WHERE id = $n + 6`,
}

// I6: where triggers and foreign keys slept on the primary they sleep on the backup, for
// as long.
func TestI6TriggersSleepAsInTheSession(t *testing.T) {
	for name, mode := range map[string]pgx.QueryExecMode{"simple": pgx.QueryExecModeSimpleProtocol, "extended": pgx.QueryExecModeDescribeExec} {
		t.Run(name, func(t *testing.T) {
			b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: triggersOn}, sleepingSchema...)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			for _, line := range sleeping {
				for n, around := range map[string][2]string{
					"100": {"BEGIN", "COMMIT"}, "200": {"BEGIN; SET session_replication_role = replica; COMMIT; BEGIN", "COMMIT; BEGIN; RESET session_replication_role; COMMIT"},
					"300": {"BEGIN; SET LOCAL session_replication_role = 'replica'", "SET LOCAL session_replication_role = origin; UPDATE parent SET v = 'awake' WHERE id > 300; COMMIT"},
					"400": {"BEGIN; SAVEPOINT s; SET session_replication_role = replica; ROLLBACK TO s; SELECT set_config('session_replication_role', 'local', true)", "COMMIT"},
				} {
					b.runParts(conn, mode, around[0]+"; "+strings.ReplaceAll(line, "$n", n)+"; "+around[1])
				}
			}
			b.sleepsBetweenExecutions()
			b.identical()
			if got := b.onPrimary(`SELECT count(*) FROM child c WHERE p IS NOT NULL AND NOT EXISTS (SELECT FROM parent WHERE id = p)`); got[0][0] == "0" {
				t.Error("no child has lost its parent: nothing slept")
			}
			if v := b.verdicts(20); v.Match != v.Sum() {
				t.Errorf("verdicts %+v, want matches alone", v)
			}
		})
	}
}

// sleepsBetweenExecutions runs one prepared statement under both.
func (b *bench) sleepsBetweenExecutions() {
	b.t.Helper()
	conn := testkit.Connect(b.t, b.agent("a1").DSN())
	for i, role := range []string{"origin", "replica", "origin", "replica"} {
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `SET session_replication_role = `+role)
		for _, sql := range []string{`INSERT INTO parent VALUES ($1, 'p')`, `INSERT INTO child VALUES ($1, $1)`, `UPDATE parent SET v = 'x' WHERE id = $1`, `DELETE FROM parent WHERE id = $1`} {
			if _, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeCacheStatement, 500+i); err != nil {
				b.t.Errorf("%s: %s: %v", role, sql, err)
			}
		}
	}
	if _, err := conn.Exec(b.ctx, `SET session_replication_role = replica; DELETE FROM parent WHERE id = 206; SET session_replication_role = origin; DELETE FROM parent WHERE id = 207; COMMIT`, pgx.QueryExecModeSimpleProtocol); err != nil {
		b.t.Error(err)
	}
}

// I6: without capture triggers nobody would tell a backup that they slept.
func TestI6WritesWhereTriggersSleepAreRefused(t *testing.T) {
	b := up(t, rig.Config{}, sleepingSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `INSERT INTO audit (what) VALUES ('a'); SET session_replication_role = replica`)
	for _, sql := range []string{`INSERT INTO child VALUES (1, 1)`, `DELETE FROM child WHERE id = 1`, `UPDATE child SET p = 3 WHERE id = 1`, `TRUNCATE child`, `MERGE INTO child c USING (VALUES (1)) x (id) ON c.id = x.id WHEN NOT MATCHED THEN INSERT VALUES (x.id)`} {
		if _, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol); err == nil || !strings.Contains(err.Error(), "opmux:") {
			t.Errorf("%s: %v, want a refusal", sql, err)
		}
	}
	b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `CREATE TABLE more (id int PRIMARY KEY REFERENCES child); SET session_replication_role = origin; INSERT INTO audit (what) VALUES ('b')`)
	b.identical()
}
