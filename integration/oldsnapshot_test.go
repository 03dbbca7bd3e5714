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

// A transaction that has changed the catalogue is asked for what it sees of it; at REPEATABLE READ
// and above that is what its snapshot sees, whereas its statements run by what others
// have committed since. It may not commit then (I6), and does where nothing has changed.
func TestI6CatalogueOfAnOldSnapshot(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, `CREATE TABLE seen (id int PRIMARY KEY)`, `INSERT INTO seen VALUES (0)`,
		`CREATE FUNCTION number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'`,
		`CREATE TABLE altered (id int PRIMARY KEY, n int DEFAULT 1)`, `CREATE TABLE computed (id int PRIMARY KEY, n int DEFAULT number())`,
		`CREATE TABLE swapped (id int PRIMARY KEY, a int, b int)`, `CREATE TABLE dropped (id int PRIMARY KEY, a int, b int)`)
	b.unlike = true // while others' DDL is under way
	levels := map[pgx.QueryExecMode]string{pgx.QueryExecModeSimpleProtocol: "REPEATABLE READ", pgx.QueryExecModeExec: "SERIALIZABLE"}
	round := 0
	for mode, level := range levels {
		for _, own := range []string{`CREATE TEMP TABLE mine (id int) ON COMMIT DROP`, `CREATE TABLE mine (id int); DROP TABLE mine`, `DO $$ BEGIN CREATE TABLE mine (id int);DROP TABLE mine;END $$`} {
			for _, c := range []struct {
				theirs, writes string
				moved          bool
			}{
				{`ALTER TABLE altered ALTER n SET DEFAULT (random() * 1000000)::int`, `INSERT INTO altered (id) VALUES (%d)`, true},
				{`CREATE OR REPLACE FUNCTION number() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT (random() * 1000000)::int'`, `INSERT INTO computed (id) VALUES (%d)`, true},
				{`DROP TABLE swapped; CREATE TABLE swapped (id int PRIMARY KEY, b int, a int)`, `INSERT INTO swapped SELECT %d, 10, 20 FROM seen LIMIT 1`, true},
				{`DROP TABLE dropped`, `CREATE TABLE dropped (b int, a int, id int PRIMARY KEY); INSERT INTO dropped VALUES (%d, 2, 3)`, true},
				{`CREATE TEMP TABLE theirs (id int); INSERT INTO seen SELECT max(id) + 1 FROM seen; DROP TABLE theirs`, `INSERT INTO seen VALUES (-%d)`, false},
			} {
				round++
				old, other := testkit.Connect(t, b.agent("a1").DSN()), testkit.Connect(t, b.agent("a1").DSN())
				b.runParts(old, mode, `BEGIN ISOLATION LEVEL `+level+`; SELECT count(*) FROM seen`)
				b.runParts(other, pgx.QueryExecModeSimpleProtocol, c.theirs)
				for sql := range strings.SplitSeq(`SAVEPOINT s; CREATE TEMP TABLE undone (id int); ROLLBACK TO s; `+own+`; `+fmt.Sprintf(c.writes, round), "; ") {
					b.runParts(old, mode, sql)
				}
				var refused *pgconn.PgError
				_, err := old.Exec(b.ctx, `COMMIT`, mode)
				if moved := errors.As(err, &refused) && refused.Code == "40001"; moved != c.moved || !moved && err != nil {
					t.Errorf("%s, %s, beside %s: %s commits with %v", level, own, c.theirs, c.writes, err)
				}
				b.runParts(other, pgx.QueryExecModeSimpleProtocol, `ALTER TABLE altered ALTER n SET DEFAULT 1; CREATE OR REPLACE FUNCTION number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'; `+
					`DROP TABLE IF EXISTS dropped; CREATE TABLE dropped (id int PRIMARY KEY, a int, b int); DROP TABLE swapped; CREATE TABLE swapped (id int PRIMARY KEY, a int, b int)`)
			}
		}
	}
	b.identical()
	b.sameCatalogue()
}

// What the capture triggers kept is told by the names that the transaction's snapshot sees: of tables that have swapped
// their names since, those of each other. It may not commit then (I6), and does at READ COMMITTED, or where nothing has changed.
func TestI6ImagesUnderAnOldSnapshot(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn, PrimarySettings: []string{"max_prepared_transactions = 5"}}, `CREATE TABLE seen (id int PRIMARY KEY)`, `CREATE TABLE used (id int PRIMARY KEY, a int)`, `CREATE TABLE spare (id int PRIMARY KEY, a int)`)
	const swap = `BEGIN; ALTER TABLE used RENAME TO third; ALTER TABLE spare RENAME TO used; ALTER TABLE third RENAME TO spare; COMMIT`
	id := 0
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		for _, c := range []struct {
			level, theirs, ends string
			moved               bool
		}{
			{"READ COMMITTED", swap, `COMMIT`, false}, {"REPEATABLE READ", swap, `COMMIT`, true}, {"SERIALIZABLE", swap, `COMMIT`, true},
			{"REPEATABLE READ", swap, `PREPARE TRANSACTION 'old'`, true}, {"SERIALIZABLE", `ANALYZE used`, `COMMIT`, false},
		} {
			id++
			old := testkit.Connect(t, b.agent("a1").DSN())
			b.runParts(old, mode, `BEGIN ISOLATION LEVEL `+c.level+`; SELECT count(*) FROM seen`)
			b.runParts(testkit.Connect(t, b.agent("a1").DSN()), pgx.QueryExecModeSimpleProtocol, c.theirs)
			b.runParts(old, mode, fmt.Sprintf(`DO $$ BEGIN INSERT INTO used VALUES (%d, 1); END $$`, id))
			var refused *pgconn.PgError
			_, err := old.Exec(b.ctx, c.ends, mode)
			if moved := errors.As(err, &refused) && refused.Code == "40001"; moved != c.moved || !moved && err != nil {
				t.Errorf("%s, %s, beside %s: %v", c.level, c.ends, c.theirs, err)
			}
		}
	}
	b.identical()
}
