package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// A large transaction goes back to a savepoint and so gives up the locks of what it wrote since, which is written out
// already and runs on targets all the same, before it is undone there. What others then do to the table,
// it may not commit behind: the rows may not be possible any more, and the worker would stop (I6).
func TestI6WrittenOutAndRolledBack(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: "capture: {chunk: 16KiB}\n"}, `CREATE TABLE par (id int PRIMARY KEY)`, `CREATE TABLE stays (id int PRIMARY KEY)`, `CREATE DOMAIN small AS int`,
		`DO $$ BEGIN FOR i IN 0 .. 20 LOOP EXECUTE format('CREATE TABLE t_%s (id int PRIMARY KEY, n int, s small, v text)', i);END LOOP;END $$`)
	for i, ddl := range []string{
		`ALTER TABLE $t ADD FOREIGN KEY (n) REFERENCES par`, `CREATE UNIQUE INDEX ON $t (n)`, `ALTER TABLE $t ALTER v SET NOT NULL`, `ALTER TABLE $t ADD CHECK (n > 0)`, `ALTER TABLE $t ADD EXCLUDE (n WITH =)`, `ALTER DOMAIN small ADD CHECK (value > 0)`,
	} {
		table := fmt.Sprintf("t_%d", i)
		conn, other := testkit.Connect(t, b.agent("a1").DSN()), testkit.Connect(t, b.agent("a1").DSN())
		for _, sql := range []string{`BEGIN`, fmt.Sprintf(`INSERT INTO stays VALUES (%d)`, i), `SAVEPOINT s`, `INSERT INTO ` + table + ` SELECT i, -1, -1 FROM generate_series(1, 3000) i WHERE i > random()`, `ROLLBACK TO s`} {
			b.runParts(conn, pgx.QueryExecModeSimpleProtocol, sql)
		}
		b.runParts(other, pgx.QueryExecModeSimpleProtocol, strings.ReplaceAll(ddl, "$t", table))
		var refused *pgconn.PgError
		if err := execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, `COMMIT`); !errors.As(err, &refused) || refused.Code != "40001" {
			t.Errorf("behind %s: %v", ddl, err)
		}
	}
	b.identical()
	b.sameCatalogue()
}
