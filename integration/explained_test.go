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

// explained gives what EXPLAIN says of a statement in a transaction that is rolled back.
func explained(b *bench, dsn string, mode pgx.QueryExecMode, sql string) []string {
	b.t.Helper()
	conn := testkit.Connect(b.t, dsn)
	tx, err := conn.Begin(b.ctx)
	b.must(err)
	defer func() { b.must(tx.Rollback(b.ctx)) }()
	rows, err := tx.Query(b.ctx, sql, mode)
	b.must(err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	b.must(err)
	return lines
}

// I5: the triggers that the agent wakes for EXPLAIN ANALYZE are not in what it says, and those of the user's are.
func TestI5ExplainDoesNotTellOfTheAgentsTriggers(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn},
		`CREATE TABLE plain (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED)`, `INSERT INTO plain SELECT i, i FROM generate_series(1, 9) i`,
		`CREATE TABLE noted (id int PRIMARY KEY, v int)`, `INSERT INTO noted SELECT i, i FROM generate_series(1, 9) i`, `CREATE TABLE note (id int)`,
		`CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO note VALUES (NEW.id); RETURN NULL; END $$`,
		`CREATE TRIGGER "a note" AFTER UPDATE ON noted FOR EACH ROW EXECUTE FUNCTION notes()`, `CREATE TRIGGER notes AFTER UPDATE ON noted FOR EACH ROW EXECUTE FUNCTION notes()`)
	for _, format := range []string{"TEXT", "JSON", "XML", "YAML", "TEXT, VERBOSE", "JSON, VERBOSE"} {
		for _, sql := range []string{`UPDATE plain SET v = v + 1`, `UPDATE noted SET v = v + 1`, `WITH p AS (UPDATE plain SET v = 0 RETURNING *) UPDATE noted SET v = p.v FROM p WHERE p.id = noted.id`,
			`MERGE INTO noted n USING plain p ON n.id = p.id WHEN MATCHED THEN UPDATE SET v = p.v`, `SELECT count(*) FROM noted`} {
			sql = fmt.Sprintf(`EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT %s) %s`, format, sql)
			want := explained(b, b.Primary.DSN(rig.Database), pgx.QueryExecModeSimpleProtocol, sql)
			for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
				if got := explained(b, b.agent("a1").DSN(), mode, sql); !slices.Equal(got, want) {
					t.Errorf("%s:\n%s\nwant\n%s", sql, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
	b.throughAgent(`EXPLAIN ANALYZE UPDATE noted SET v = v + 1`)
	b.identical()
}
