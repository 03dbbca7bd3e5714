package integration

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Commands that lock no table change what its name and its values mean under an open transaction: schemas
// that swap their names, labels of an enum, attributes of a composite type. It may not
// commit then (I6); labels that are added change nothing.
func TestI6DDLThatLocksNoTable(t *testing.T) {
	b := up(t, rig.Config{}, `CREATE SCHEMA app`, `CREATE SCHEMA other`, `CREATE TYPE mood AS ENUM ('sad', 'ok')`, `CREATE TYPE pair AS (x int, y int)`, `CREATE DOMAIN felt AS mood`,
		`CREATE TABLE app.t (id int PRIMARY KEY, n int)`, `CREATE TABLE other.t (id int PRIMARY KEY, n int)`, `CREATE TABLE feels (id int PRIMARY KEY, m mood, d felt, ms mood[])`, `CREATE TABLE pairs (id int PRIMARY KEY, p pair)`)
	id := 0
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
		for _, c := range []struct {
			theirs string
			writes []string
			moved  bool
		}{
			{`BEGIN; ALTER SCHEMA app RENAME TO third; ALTER SCHEMA other RENAME TO app; ALTER SCHEMA third RENAME TO other; COMMIT`,
				[]string{`INSERT INTO app.t VALUES ($n, 1)`, `INSERT INTO app.t SELECT $n, count(*) FROM feels`, `INSERT INTO app.t VALUES ($n, 1); SAVEPOINT s; CREATE TABLE made_$n (id int); ROLLBACK TO s`,
					`SAVEPOINT a; INSERT INTO app.t VALUES ($n, 1); SAVEPOINT b; CREATE TABLE made_$n (id int); SAVEPOINT c; CREATE TABLE made_too_$n (id int); ROLLBACK TO c; ROLLBACK TO b`}, true},
			{`BEGIN; ALTER TYPE mood RENAME VALUE 'sad' TO 'third'; ALTER TYPE mood RENAME VALUE 'ok' TO 'sad'; ALTER TYPE mood RENAME VALUE 'third' TO 'ok'; COMMIT`,
				[]string{`INSERT INTO feels (id, m) VALUES ($n, 'ok')`, `INSERT INTO feels (id, m) SELECT $n, 'ok' FROM pg_class LIMIT 1`, `INSERT INTO feels (id, d) VALUES ($n, 'ok')`, `INSERT INTO feels (id, ms) VALUES ($n, '{ok,sad}')`}, true},
			{`BEGIN; ALTER TYPE pair RENAME ATTRIBUTE x TO z; ALTER TYPE pair RENAME ATTRIBUTE y TO x; ALTER TYPE pair RENAME ATTRIBUTE z TO y; COMMIT`, []string{`INSERT INTO pairs (id, p.x) VALUES ($n, 1)`}, true},
			{`ALTER TYPE mood ADD VALUE IF NOT EXISTS 'good'`, []string{`INSERT INTO feels (id, m) VALUES ($n, 'ok')`, `INSERT INTO app.t VALUES ($n, 1)`}, false},
		} {
			for _, writes := range c.writes {
				id++
				old, other := testkit.Connect(t, b.agent("a1").DSN()), testkit.Connect(t, b.agent("a1").DSN())
				b.runParts(old, mode, `BEGIN; `+strings.ReplaceAll(writes, "$n", strconv.Itoa(id)))
				b.runParts(other, pgx.QueryExecModeSimpleProtocol, c.theirs)
				var refused *pgconn.PgError
				_, err := old.Exec(b.ctx, `COMMIT`, mode)
				if moved := errors.As(err, &refused) && refused.Code == "40001"; moved != c.moved || !moved && err != nil {
					t.Errorf("beside %s: %s commits with %v", c.theirs, writes, err)
				}
			}
		}
	}
	b.identical()
	b.sameCatalogue()
}

// A setval of NULL, as of the max of an empty table, sets nothing, here and on the backups.
func TestI3SetvalOfNull(t *testing.T) {
	b := up(t, rig.Config{}, `CREATE TABLE empty (id serial PRIMARY KEY, n int)`, `CREATE SEQUENCE late START 100`, `CREATE SEQUENCE down INCREMENT -1`)
	for _, sql := range []string{
		`SELECT setval('empty_id_seq', (SELECT max(id) FROM empty))`, `SELECT setval('empty_id_seq', max(id), true) FROM empty`, `SELECT setval('empty_id_seq', max(id), false) FROM empty`,
		`SELECT setval('late', NULL)`, `SELECT setval('down', NULL)`, `INSERT INTO empty (n) VALUES (nextval('late')), (nextval('down'))`, `SELECT setval('empty_id_seq', (SELECT max(id) FROM empty))`, `SELECT setval('late', NULL, false)`,
	} {
		b.throughAgent(sql)
	}
	b.identical()
	b.sequencesFollow()
	for _, seq := range []string{"empty_id_seq", "late", "down"} {
		sql := "SELECT nextval('" + seq + "')"
		if there, here := b.onPrimary(sql)[0][0], b.onBackup(sql)[0][0]; there != here {
			t.Errorf("the next value of %s is %s on the primary and %s on the backup", seq, there, here)
		}
	}
}
