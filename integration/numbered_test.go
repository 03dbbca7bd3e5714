package integration

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// The server numbers the name of what it makes where another's DROP is still open, or the
// transaction itself frees the name later on. At their place on the backup the name
// is free, or is not, and what is there has the primary's.
func TestI3NamesThatTheServerNumbers(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, `CREATE TABLE parent (v text)`, `CREATE SCHEMA "Odd ""schema"`, `CREATE SCHEMA private`, `CREATE ROLE of_few_rights`, `CREATE TABLE granted (id int)`, `GRANT INSERT ON granted TO of_few_rights`,
		`CREATE TABLE other (a int, b int)`, `CREATE INDEX taken_b_idx ON other (a)`)
	for i, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
		b.raced(mode)
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for _, sql := range []string{
			`BEGIN; CREATE TABLE freed_id_seq (); CREATE TABLE freed (id serial PRIMARY KEY, v text, UNIQUE (v)); DROP TABLE freed_id_seq; COMMIT`,
			`BEGIN; CREATE TABLE "Odd ""schema"."t'a" (id serial, a int UNIQUE); CREATE UNIQUE INDEX ON "Odd ""schema"."t'a" (id); CREATE UNIQUE INDEX ON "Odd ""schema"."t'a" (id);` +
				` SAVEPOINT s; DROP INDEX "Odd ""schema"."t'a_id_idx"; RELEASE s; COMMIT`,
			`BEGIN; CREATE TABLE taken (id serial PRIMARY KEY, b int); CREATE INDEX ON taken (b); COMMIT`,                                                               // taken here and there
			`BEGIN; SELECT age('3'::xid); other; CREATE TABLE young_id_seq (); SAVEPOINT s; CREATE TABLE young (id serial); RELEASE s; DROP TABLE young_id_seq; COMMIT`, // age() stays
			`BEGIN; CREATE TABLE private.p_id_seq (); CREATE TABLE private.p (id serial); DROP TABLE private.p_id_seq; SET LOCAL ROLE of_few_rights; INSERT INTO granted VALUES (1); COMMIT`,
			`BEGIN; SAVEPOINT s; CREATE TABLE undone (id serial); ROLLBACK TO s; CREATE INDEX own_key1 ON other (a); COMMIT`,
			`INSERT INTO freed (v) VALUES ('a')`, `INSERT INTO taken (b) VALUES (1)`, `INSERT INTO "Odd ""schema"."t'a" (a) VALUES (1)`,
		} {
			before, after, found := strings.Cut(sql, "; other; ")
			b.runParts(conn, mode, before)
			if found {
				b.onPrimary(`SELECT pg_current_xact_id()`)
				for sql := range strings.SplitSeq(after, "; ") {
					b.runParts(conn, mode, sql)
				}
			}
		}
		b.identical()
		b.sequencesFollow()
		b.sameCatalogue()
		here := `SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = '"Odd ""schema"."t''a"'::regclass ORDER BY 1`
		if there, here := lines(b.onPrimary(here)), lines(b.onBackup(here)); there != here {
			t.Errorf("round %d: indexes on the primary\n%s\nand on the backup\n%s", i, there, here)
		}
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, `DROP TABLE freed, taken, young, private.p, "Odd ""schema"."t'a"; DROP INDEX own_key1`)
	}
}

// raced makes tables whose names others are about to free; LIKE waits when they are chosen.
func (b *bench) raced(mode pgx.QueryExecMode) {
	b.t.Helper()
	long, short, wide := strings.Repeat("t", 60), strings.Repeat("c", 29), strings.Repeat("é", 31)
	for _, c := range []struct{ table, column, form string }{
		{"raced", "id", `CREATE TABLE raced (id serial PRIMARY KEY, LIKE parent, UNIQUE (v))`},
		{"raced", "id", `DO $$ BEGIN CREATE TABLE raced (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, LIKE parent); INSERT INTO raced (v) VALUES ('in the block'); END $$`},
		{long, "id", `CREATE TABLE ` + long + ` (id serial PRIMARY KEY, LIKE parent)`}, // the server cuts names
		{long, short, `CREATE TABLE ` + long + ` (` + short + ` serial PRIMARY KEY, LIKE parent)`},
		{short, long, `CREATE TABLE ` + short + ` (` + long + ` serial PRIMARY KEY, LIKE parent)`},
		{wide, wide, `CREATE TABLE ` + wide + ` (` + wide + ` serial PRIMARY KEY, LIKE parent)`},
	} {
		drops, makes := testkit.Connect(b.t, b.agent("a1").DSN()), testkit.Connect(b.t, b.agent("a1").DSN())
		b.runParts(drops, mode, `CREATE TABLE `+c.table+` (`+c.column+` serial PRIMARY KEY, v text)`)
		b.runParts(drops, mode, `BEGIN; DROP TABLE `+c.table+`; TRUNCATE parent`)
		made := make(chan struct{})
		go func() {
			defer close(made)
			b.runParts(makes, mode, c.form)
		}()
		testkit.Eventually(b.t, testkit.Patience, func() error {
			if len(b.onPrimary("SELECT FROM pg_locks WHERE relation = 'parent'::regclass AND NOT granted")) == 0 {
				return errors.New("nobody waits for the parent, with a name chosen")
			}
			return nil
		})
		b.runParts(drops, mode, `COMMIT`)
		<-made
		sequence := `SELECT pg_get_serial_sequence('` + c.table + `', '` + c.column + `')`
		there := b.onPrimary(sequence)
		if !strings.HasSuffix(there[0][0], "_seq1") && !strings.HasSuffix(there[0][0], `_seq1"`) {
			b.t.Errorf("%s: the sequence is %v, and the name was to be numbered", c.form, there)
		}
		b.runParts(makes, mode, `INSERT INTO `+c.table+` (v) VALUES ('x'), ('y')`)
		b.identical()
		if here := b.onBackup(sequence); lines(here) != lines(there) {
			b.t.Errorf("%s: the sequence is %v, and %v on the backup", c.form, there, here)
		}
		b.sequencesFollow()
		b.sameCatalogue()
		b.runParts(makes, mode, `DROP TABLE `+c.table)
	}
}
