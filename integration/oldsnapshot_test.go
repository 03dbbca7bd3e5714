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

// What the transaction itself did in subtransactions, and what others do to temporary tables or
// by maintenance, is no reason to refuse it; what others made is one also where the transaction
// has dropped it in the end.
func TestI6OwnCatalogueOfAnOldSnapshot(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, `CREATE TABLE seen (id int PRIMARY KEY)`, `CREATE TABLE w (id int PRIMARY KEY, n int DEFAULT 1)`,
		`CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := (random() * 1000000)::int; RETURN NEW; END'`,
		`CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`, `CREATE TRIGGER z BEFORE DELETE ON w FOR EACH ROW EXECUTE FUNCTION kept()`)
	b.unlike = true // while others' DDL is under way
	for i, c := range []struct {
		theirs, own []string
		moved       bool
	}{
		{theirs: []string{`ANALYZE`, `VACUUM FREEZE pg_class`, `VACUUM w`}, own: []string{`CREATE TEMP TABLE mine (id int) ON COMMIT DROP`}},
		{theirs: []string{`CREATE TEMP TABLE a (id serial PRIMARY KEY, t text, CHECK (id > 0)); CREATE TEMP VIEW v AS SELECT 1; CREATE INDEX ON a (t)`}, own: []string{`CREATE TEMP TABLE mine (id int) ON COMMIT DROP`}},
		{own: []string{`SAVEPOINT s`, `ALTER TABLE w ADD COLUMN x int`, `ALTER TABLE w ALTER n SET DEFAULT 5`, `ROLLBACK TO s`, `ALTER TABLE w ALTER n SET DEFAULT 6`,
			`SAVEPOINT t`, `ALTER TABLE w ALTER n SET DEFAULT 1`, `RELEASE t`, `SAVEPOINT u`, `CREATE INDEX own ON w (n)`, `SAVEPOINT v`, `DROP INDEX own`, `RELEASE u`}},
		{own: []string{`DO $$ BEGIN FOR i IN 1..100 LOOP BEGIN EXECUTE format('CREATE TABLE d_%s (id serial PRIMARY KEY)', i); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$`}},
		{own: []string{`REINDEX TABLE w`, `ALTER TABLE w ALTER n TYPE bigint`, `CLUSTER w USING w_pkey`}},
		{theirs: []string{`CREATE TRIGGER tr BEFORE INSERT ON w FOR EACH ROW EXECUTE FUNCTION fill()`}, own: []string{`CREATE TEMP TABLE mine (id int) ON COMMIT DROP`, `INSERT INTO w (id) VALUES (-1)`, `DROP TRIGGER tr ON w`}, moved: true},
	} {
		old := testkit.Connect(t, b.agent("a1").DSN())
		b.runParts(old, pgx.QueryExecModeExec, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM seen`)
		for _, sql := range c.theirs {
			dsn := b.agent("a1").DSN()
			if i == 0 {
				dsn = b.Primary.DSN(rig.Database)
			}
			b.runParts(testkit.Connect(t, dsn), pgx.QueryExecModeSimpleProtocol, sql)
		}
		for _, sql := range append(c.own, fmt.Sprintf(`INSERT INTO w (id) VALUES (%d)`, i)) {
			b.runParts(old, pgx.QueryExecModeExec, sql)
		}
		var refused *pgconn.PgError
		_, err := old.Exec(b.ctx, `COMMIT`, pgx.QueryExecModeExec)
		if moved := errors.As(err, &refused) && refused.Code == "40001"; moved != c.moved || !moved && err != nil {
			t.Errorf("beside %q: %q commits with %v", c.theirs, c.own, err)
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
