package integration

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Transactions at SERIALIZABLE that read and write rows of their own do not fail for what the
// capture triggers keep of each; and what they keep is carried, inner blocks that were rolled
// back, many images, and notes of other kinds among it.
func TestI6SerializableTransactionsBesideOneAnother(t *testing.T) {
	for name, mode := range map[string]pgx.QueryExecMode{"simple": pgx.QueryExecModeSimpleProtocol, "extended": pgx.QueryExecModeExec} {
		t.Run(name, func(t *testing.T) {
			b := up(t, rig.Config{AgentYAML: triggersOn},
				`CREATE TABLE one (id int PRIMARY KEY, n int, g int GENERATED ALWAYS AS (n * 2) STORED)`, `CREATE TABLE other (LIKE one INCLUDING ALL)`,
				`INSERT INTO one (id, n) SELECT i, 0 FROM generate_series(1, 100) i`, `INSERT INTO other (id, n) SELECT i, 0 FROM generate_series(1, 100) i`,
				`CREATE FUNCTION bump(t regclass, upto int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
				   EXECUTE format('UPDATE %s SET n = n + 1 WHERE id <= $1', t) USING upto;
				   BEGIN EXECUTE format('UPDATE %s SET n = n + 100', t); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
				   EXECUTE format('INSERT INTO %s (id, n) SELECT max(id) + 1, 7 FROM %1$s', t);
				 END $$`,
				`CREATE FUNCTION fill(upto int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO other (id, n) SELECT i, i FROM generate_series(1000, upto) i; DELETE FROM other WHERE id % 2 = 0 AND id >= 1000; END $$`,
				`CREATE FUNCTION empty(t regclass) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('TRUNCATE %s', t); EXECUTE format('INSERT INTO %s (id, n) VALUES (1, 1), (2, 2)', t); END $$`)
			agent := b.agent("a1")
			first, second := testkit.Connect(t, agent.DSN()), testkit.Connect(t, agent.DSN())
			do := func(conn *pgx.Conn, sql string) {
				t.Helper()
				if _, err := conn.Exec(b.ctx, sql, mode); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
			for range 5 {
				do(first, `BEGIN ISOLATION LEVEL SERIALIZABLE`)
				do(second, `BEGIN ISOLATION LEVEL SERIALIZABLE`)
				do(first, `SELECT bump('one', 30)`)
				do(second, `SELECT bump('other', 40)`)
				do(first, `SAVEPOINT s`)
				do(first, `SELECT bump('one', 50)`)
				do(first, `ROLLBACK TO s`)
				do(second, `SELECT bump('other', 50)`)
				do(first, `SELECT bump('one', 60)`)
				do(first, `COMMIT`)
				do(second, `COMMIT`)
			}
			for _, conn := range []*pgx.Conn{first, second} {
				do(conn, `BEGIN ISOLATION LEVEL SERIALIZABLE`)
			}
			do(first, `SELECT empty('one')`)
			do(second, `SELECT empty('other')`)
			do(first, `COMMIT`)
			do(second, `COMMIT`)
			do(first, `SET default_transaction_isolation = serializable`)
			do(first, `SELECT fill(20000)`)
			do(first, `SELECT bump('other', 2000)`)
			do(first, `SELECT empty('other')`)
			do(first, `SELECT bump('other', 1)`)
			b.identical()
		})
	}
}
