package integration

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// A sequence that begins anew is its transaction's alone until the end, and drawn from in it.
func TestSequencesThatBeginAnewAreDrawnFrom(t *testing.T) {
	b := up(t, rig.Config{}, `CREATE TABLE seeds (id serial PRIMARY KEY, v text)`)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for _, sql := range []string{
			`BEGIN`, `TRUNCATE seeds RESTART IDENTITY`, `INSERT INTO seeds (v) VALUES ('a'), ('b')`, `COMMIT`, `INSERT INTO seeds (v) VALUES ('c')`,
			`BEGIN`, `INSERT INTO seeds (v) VALUES ('d')`, `SAVEPOINT s`, `TRUNCATE seeds RESTART IDENTITY`, `ROLLBACK TO s`, `INSERT INTO seeds (v) VALUES ('e')`, `COMMIT`,
			`BEGIN`, `TRUNCATE seeds RESTART IDENTITY`, `INSERT INTO seeds (v) SELECT 'f'`, `ROLLBACK`, `INSERT INTO seeds (v) VALUES ('g')`,
		} {
			b.must(execute(b.ctx, conn, mode, sql))
		}
	}
	b.identical()
	b.sequencesFollow()
	if n := b.onBackup("SELECT max(id) FROM seeds")[0][0]; n != "6" {
		t.Errorf("the last row of the backup is %s", n)
	}
}
