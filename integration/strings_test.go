package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

var lenientSchema = []string{
	`CREATE TABLE t (id serial PRIMARY KEY, v text, w text DEFAULT 'a\b', j jsonb, b bytea, list text[])`,
	`CREATE TABLE keyless (v text)`,
	`CREATE TABLE p (k text, v text, PRIMARY KEY (k)) PARTITION BY LIST (k)`,
	`CREATE TABLE checked (v text PRIMARY KEY CHECK (v <> '\'))`,
	`CREATE TABLE audit (n serial PRIMARY KEY, v text)`,
	`CREATE TABLE watched (id int PRIMARY KEY, v text)`,
	`CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (v) VALUES (NEW.v || '\\'); NEW.v := NEW.v || 'c\\d'; RETURN NEW; END $$`,
	`CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION noted()`,
	`CREATE TABLE stamped (id int PRIMARY KEY, v text)`,
	`CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := 's\\t'; RETURN NEW; END $$`,
	`CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp()`,
	`CREATE FUNCTION hides(x text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN x || '\\'; END $$`,
	`CREATE TABLE made (v text PRIMARY KEY, h text GENERATED ALWAYS AS (hides(v)) STORED)`,
	`INSERT INTO t (v, w) VALUES ('a\b', 'x'), ('it''s', '\\')`,
}

// lenientStatements have backslashes in all places.
var lenientStatements = []string{
	`INSERT INTO t (v) VALUES ('a\\b'), ('it\'s'), (E'\\'), ('\x41\t\u00e9'), ($$\\$$)`,
	`INSERT INTO t (v, j, b, list) VALUES ('n', '{"a\\"": "\\\\"}', '\\x4142', '{"a\\\\b",\'}') RETURNING v, '\\'`,
	`INSERT INTO t (v) SELECT v || '\\' FROM t WHERE v LIKE'%\\\\%' OR v = 'it\'s'`,
	`UPDATE t SET v = 'u\\v' WHERE id = 1`, `UPDATE t SET v = v || 'w\'x' WHERE v LIKE '%\\\\%'`, `UPDATE t SET w = DEFAULT, v = v || '\\' || now()::date WHERE id < 5`,
	"UPDATE t SET v = 'one\\\\'\n 'two\\'' WHERE id = 2 AND v <> 'a' /* '\\' */", `DELETE FROM t WHERE v = 'it\'s' OR v LIKE '%\\\\\\\\%'`, `DELETE FROM t WHERE id = 3 AND v <> '\\'`,
	`INSERT INTO keyless VALUES ('\\'), ('\'')`, `INSERT INTO watched VALUES (1, 'a\\b')`, `UPDATE watched SET v = v || '\\' WHERE id = 1`, `INSERT INTO stamped VALUES (1, '\\')`,
	`CREATE TABLE p_one PARTITION OF p FOR VALUES IN ('a\\b', 'it\'s')`, `INSERT INTO p VALUES ('a\\b', '\\'), ('it\'s', '\'')`, `INSERT INTO p VALUES ('a\\b', 'more\\') ON CONFLICT (k) DO UPDATE SET v = p.v || EXCLUDED.v || '\\'`,
	`ALTER TABLE t ADD COLUMN x text DEFAULT 'x\\y', ADD CHECK (x <> '\'')`, `INSERT INTO t (v) VALUES ('\\') RETURNING *`, `CREATE INDEX partial ON t (v) WHERE v <> '\\'`, `CREATE VIEW seen AS SELECT id, v || '\\' AS v FROM t WHERE v <> 'it\'s'`,
	`COMMENT ON VIEW seen IS 'it\'s a \\'`, `CREATE TYPE odd AS ENUM ('a\\b', 'it\'s')`, `ALTER TYPE odd ADD VALUE 'c\\d' BEFORE 'it\'s'`, `CREATE DOMAIN bare AS text DEFAULT '\\' CHECK (VALUE <> 'it\'s')`, `CREATE TABLE odds (id int PRIMARY KEY, o odd DEFAULT 'a\\b', d bare)`,
	`INSERT INTO odds VALUES (1, 'it\'s', '\\\\'), (2, DEFAULT, DEFAULT)`, `CREATE TABLE copied AS SELECT id, v, '\\'::text AS b FROM t`, `INSERT INTO checked VALUES ('\\\\'), ('a\'b')`, `CREATE SEQUENCE "s\"`, `SELECT nextval('"s\\"')`, `SELECT setval('"s\\"', 41)`,
	`CREATE FUNCTION outer_one() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN ''a\\\\b'' || E''\\\\'' || ''\\\\''; END'`, `INSERT INTO t (v) VALUES (outer_one())`, `SELECT outer_one()`, `CREATE FUNCTION odd_body() RETURNS text LANGUAGE sql AS $$ SELECT 'it\'s'::text $$`, `INSERT INTO t (v) SELECT odd_body()`,
	`CREATE RULE r AS ON INSERT TO seen DO INSTEAD INSERT INTO t (v) VALUES (NEW.v || '\\')`, `WITH d AS (DELETE FROM t WHERE v LIKE '%c\\\\d%' RETURNING v) INSERT INTO keyless SELECT v || '\\' FROM d`, `TRUNCATE odds`,
	`BEGIN; INSERT INTO t (v) VALUES ('in\\'); CREATE TABLE inside (id serial PRIMARY KEY, v text DEFAULT 'd\\e', CHECK (v <> '\'')); INSERT INTO inside VALUES (DEFAULT, DEFAULT); UPDATE inside SET v = v || '\\'; ALTER TABLE inside ADD COLUMN w text DEFAULT '\\'; INSERT INTO inside (w) VALUES ('f\\g'); COMMIT`,
	`BEGIN; SET LOCAL standard_conforming_strings = on; INSERT INTO t (v) VALUES ('on\\'); SAVEPOINT a; SET standard_conforming_strings = off; UPDATE t SET v = v || 'off\\' WHERE id < 9; ROLLBACK TO a; UPDATE t SET v = v || '\\' WHERE id > 9; COMMIT`,
	`BEGIN; UPDATE t SET v = 'gone\\'; ROLLBACK`, `PREPARE ins (text) AS INSERT INTO t (v) VALUES ($1 || 'p\\q')`, `EXECUTE ins ('r\\s')`, `SET standard_conforming_strings = on`, `EXECUTE ins ('r\s')`, `INSERT INTO t (v) VALUES ('on\\')`, `SET standard_conforming_strings = off`, `EXECUTE ins ('r\\s')`,
	`SELECT set_config('standard_conforming_strings', 'on', false)`, `UPDATE t SET v = v || '\\' WHERE id = 1`, `RESET standard_conforming_strings`, `UPDATE t SET v = v || '\\' WHERE id = 1`,
}

// Statements under standard_conforming_strings = off are carried as the server has read them, in
// both protocols, in and out of transactions. The role has the setting, the agent's and the worker's too.
func TestLenientStrings(t *testing.T) {
	for _, triggers := range []string{"on", "off"} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec} {
			t.Run("triggers "+triggers+"/"+mode.String(), func(t *testing.T) {
				b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: "capture: {triggers: " + triggers + "}\n"}, append(slices.Clone(lenientSchema),
					`ALTER ROLE CURRENT_USER SET standard_conforming_strings = off`, `ALTER ROLE CURRENT_USER SET escape_string_warning = off`)...)
				conn, err := pgx.Connect(b.ctx, b.agent("a1").DSN())
				b.must(err)
				t.Cleanup(func() { _ = conn.Close(b.ctx) })
				for _, sql := range lenientStatements {
					if triggers == "off" && opaqueToRows(sql) {
						continue
					}
					b.runParts(conn, mode, sql)
				}
				b.refusesLenient(conn, mode)
				b.onPrimary(`ALTER ROLE CURRENT_USER RESET ALL`) // constants are printed for the setting
				b.onBackup(`ALTER ROLE CURRENT_USER RESET ALL`)
				if triggers == "on" {
					b.refusesHidden(mode)
				}
				b.identical()
				b.sequencesFollow()
				b.sameCatalogue()
				if v := b.verdicts(20); v.Match != v.Sum() {
					t.Errorf("verdicts %+v, want matches alone", v)
				}
			})
		}
	}
}

// opaqueToRows tells statements that capture triggers alone can carry.
func opaqueToRows(sql string) bool {
	for _, part := range []string{"outer_one()", "odd_body()", "watched", "stamped", "keyless SELECT", "v = v || '\\\\'; ALTER"} {
		if strings.Contains(sql, part) && !strings.HasPrefix(sql, "CREATE FUNCTION") {
			return true
		}
	}
	return false
}

// refusesLenient: what a backup would compute anew, by the text of a function that has a backslash.
func (b *bench) refusesLenient(conn *pgx.Conn, mode pgx.QueryExecMode) {
	b.t.Helper()
	for _, sql := range []string{`INSERT INTO made VALUES ('a')`, `SET standard_conforming_strings = on`, `INSERT INTO made VALUES ('b')`} {
		err := execute(b.ctx, conn, mode, sql)
		if refused := err != nil && strings.Contains(err.Error(), "generated column h calls a function whose text has a backslash"); refused != strings.HasPrefix(sql, "INSERT") {
			b.t.Errorf("%s: %v", sql, err)
		}
	}
	fresh := testkit.Connect(b.t, b.agent("a1").DSN()) // its role has the setting
	if err := execute(b.ctx, fresh, mode, `INSERT INTO made VALUES ('c')`); err == nil {
		b.t.Error("a row was made by the function's text")
	}
}

// refusesHidden: a DO that makes the setting for a moment, in a session that has it on before and behind.
func (b *bench) refusesHidden(mode pgx.QueryExecMode) {
	b.t.Helper()
	conn := testkit.Connect(b.t, b.agent("a1").DSN())
	for _, sql := range []string{`DO $$ BEGIN SET LOCAL standard_conforming_strings = off; INSERT INTO made VALUES ('d'); SET LOCAL standard_conforming_strings = on; END $$`, `INSERT INTO made VALUES ('e')`} {
		if err := execute(b.ctx, conn, mode, sql); err == nil || !strings.Contains(err.Error(), "whose text has a backslash") {
			b.t.Errorf("%s: %v", sql, err)
		}
	}
	if err := execute(b.ctx, testkit.Connect(b.t, b.agent("a1").DSN()), mode, `INSERT INTO made VALUES ('f')`); err != nil {
		b.t.Error(err)
	}
}
