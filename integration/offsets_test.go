package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

var offsetSchema = []string{
	`CREATE TYPE shift AS (opens timetz, n int)`, `CREATE DOMAIN closes AS timetz`, `CREATE TYPE span AS RANGE (subtype = timetz)`, `CREATE DOMAIN spans AS span[]`,
	`CREATE TABLE hours (id int PRIMARY KEY, tz timetz, many timetz[], label text, n int, s shift, r span)`, `CREATE VIEW early AS SELECT id, tz FROM hours`,
	`CREATE FUNCTION till(timetz) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::text'`,
	`CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
}

// offsetDDL has constants that the server takes for times with time zone, and what undoes
// it; $ stands for what follows the time.
var offsetDDL = [][2]string{
	{`ALTER TABLE hours ADD CHECK (tz > '22:00$')`, ""},
	{`ALTER TABLE hours ADD COLUMN late bool GENERATED ALWAYS AS (tz > '22:00$') STORED`, `ALTER TABLE hours DROP late`},
	{`ALTER TABLE hours ALTER COLUMN tz SET DEFAULT coalesce(NULL::timetz, '22:00$')`, ""},
	{`ALTER TABLE hours ALTER COLUMN many SET DEFAULT '{22:00$}'`, ""},
	{`ALTER TABLE hours ALTER COLUMN s SET DEFAULT '(22:00$,1)'`, ""},
	{`ALTER TABLE hours ALTER COLUMN r SET DEFAULT '[22:00$,)'`, ""},
	{`ALTER TABLE hours ADD COLUMN o closes DEFAULT '22:00$'`, `ALTER TABLE hours DROP o`},
	{`ALTER TABLE hours ALTER COLUMN label SET DEFAULT till('22:00$')`, ""},
	{`CREATE TABLE made (o closes DEFAULT '22:00$')`, `DROP TABLE made`},
	{`CREATE TABLE made (s shift[] DEFAULT '{"(22:00$,1)"}')`, `DROP TABLE made`},
	{`CREATE TABLE made (s spans DEFAULT '{"[22:00$,)"}')`, `DROP TABLE made`},
	{`BEGIN; CREATE TABLE made (tz timetz) PARTITION BY RANGE (tz); CREATE TABLE made_1 PARTITION OF made FOR VALUES FROM ('22:00$') TO (MAXVALUE); COMMIT`, `DROP TABLE made`},
	{`CREATE DOMAIN made AS closes DEFAULT '22:00$'`, `DROP DOMAIN made`},
	{`CREATE DOMAIN made AS timetz CHECK (value > '2200$')`, `DROP DOMAIN made`},
	{`CREATE VIEW made AS SELECT * FROM hours WHERE tz > '22:00$'`, `DROP VIEW made`},
	{`CREATE VIEW made AS SELECT * FROM early WHERE tz IN ('22:00$', NULL)`, `DROP VIEW made`},
	{`CREATE INDEX made ON hours (id) WHERE tz > '22:00$'`, `DROP INDEX made`},
	{`CREATE INDEX made ON hours ((tz > '22:00$'))`, `DROP INDEX made`},
	{`CREATE INDEX CONCURRENTLY made ON hours (id) WHERE tz > '22:00$'`, `DROP INDEX made`},
	{`CREATE FUNCTION made(timetz DEFAULT '22:00$') RETURNS int LANGUAGE sql AS 'SELECT 1'`, `DROP FUNCTION made`},
	{`CREATE FUNCTION made() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM hours WHERE tz > '22:00$'; END`, `DROP FUNCTION made`},
	{`CREATE RULE made AS ON DELETE TO hours WHERE old.tz > '22:00$' DO ALSO NOTHING`, `DROP RULE made ON hours`},
	{`CREATE TRIGGER made AFTER INSERT ON hours FOR EACH ROW WHEN (new.tz > '22:00$') EXECUTE FUNCTION nothing()`, `DROP TRIGGER made ON hours`},
	{`CREATE POLICY made ON hours USING (tz > '22:00$')`, `DROP POLICY made ON hours`},
	{`CREATE STATISTICS made ON (tz > '22:00$'), id FROM hours`, `DROP STATISTICS made`},
	{`BEGIN; SAVEPOINT s; ALTER TABLE hours ADD CHECK (tz > '22:00$'); RELEASE s; COMMIT`, ""},
	{`DO $do$ BEGIN BEGIN ALTER TABLE hours ADD CHECK (tz > '22:00$'); EXCEPTION WHEN undefined_column THEN NULL; END; END $do$`, ""},
}

// I6: a constant of DDL that is a time with time zone has the offset of the day on which
// it is read; what says so itself, or is no such time, is carried.
func TestI6OffsetsOfConstantsInDDL(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeDescribeExec} {
		t.Run(mode.String(), func(t *testing.T) {
			b := up(t, rig.Config{AgentYAML: triggersOn}, offsetSchema...)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			b.runParts(conn, mode, `SET TimeZone = 'Europe/Berlin'`)
			for _, one := range offsetDDL {
				b.refusesOffset(conn, mode, written(one[0], ""))
			}
			b.refusesOffset(conn, mode, `CREATE VIEW made AS SELECT current_time > '10:00'`)
			b.carriesOffsets(conn, mode, "+01:30")
			b.runParts(conn, mode, `SET TimeZone = 'UTC'`)
			b.carriesOffsets(conn, mode, "")
			b.refusesOffset(conn, mode, `ALTER TABLE hours ADD CHECK (tz > '22:00 CET')`)
			b.identical()
			if primary, backup := b.onPrimary(treesSQL), b.onBackup(treesSQL); !slices.EqualFunc(primary, backup, slices.Equal) {
				t.Errorf("definitions: primary %q, backup %q", primary, backup)
			}
		})
	}
}

// written puts an offset behind the time.
func written(sql, offset string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(sql, "$do$", "%%"), "$", offset), "%%", "$do$")
}

func (b *bench) refusesOffset(conn *pgx.Conn, mode pgx.QueryExecMode, sql string) {
	b.t.Helper()
	parts := []string{sql}
	if strings.HasPrefix(sql, "BEGIN") {
		parts = strings.Split(sql, "; ")
	}
	var err error
	for _, p := range parts {
		if one := execute(b.ctx, conn, mode, p); err == nil {
			err = one
		}
	}
	if err == nil || !strings.Contains(err.Error(), "offset of the day") {
		b.t.Errorf("%s: %v, want a refusal", sql, err)
	}
}

// carriesOffsets runs what is the same on every day, and undoes it.
func (b *bench) carriesOffsets(conn *pgx.Conn, mode pgx.QueryExecMode, offset string) {
	b.t.Helper()
	for _, one := range offsetDDL {
		b.runParts(conn, mode, written(one[0], offset))
		if one[1] != "" {
			b.runParts(conn, mode, one[1])
		}
	}
	b.runParts(conn, mode, `CREATE TABLE made (code text CHECK (code <> '2024'), at timestamp DEFAULT '2026-01-01 22:00', t time CHECK (t > '22:00'), d date)`)
	b.runParts(conn, mode, `DROP TABLE made`)
}

// treesSQL is what the constants became.
const treesSQL = `SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'hours'::regclass
	UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'hours'::regclass ORDER BY 1`
