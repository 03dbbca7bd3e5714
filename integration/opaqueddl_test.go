package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// What migrations and partition makers are made of.
var definingSchema = []string{
	`CREATE TABLE event (id int, at date NOT NULL, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)`,
	`CREATE TABLE registry (n serial PRIMARY KEY, name text)`,
	`CREATE TABLE users (id int PRIMARY KEY, name text, "odd ""name" int)`,
	`INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 9) i`,
	`CREATE UNLOGGED TABLE emptied (id int)`, `INSERT INTO emptied VALUES (1)`,
	`CREATE TABLE old_a (id int)`, `CREATE TABLE old_b (id int)`,
	`CREATE SCHEMA app`, `CREATE SCHEMA other`, `CREATE TABLE other.users (id int PRIMARY KEY)`,
	`CREATE FUNCTION partitions(first int, last int) RETURNS int LANGUAGE plpgsql AS $$ DECLARE name text; BEGIN
		FOR m IN first..last LOOP
			name := format('event_2026_%s', m);
			EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF event FOR VALUES FROM (%L) TO (%L)', name, make_date(2026, m, 1), make_date(2026, m + 1, 1));
			INSERT INTO registry (name) VALUES (name);
		END LOOP; RETURN last - first + 1; END $$`,
	`CREATE FUNCTION elsewhere() RETURNS void LANGUAGE plpgsql SET search_path = other, public AS $$ BEGIN
		ALTER TABLE users ADD COLUMN here text DEFAULT 'other';
		EXECUTE 'CREATE TABLE made_elsewhere (id int PRIMARY KEY)';
		INSERT INTO made_elsewhere VALUES (1); END $$`,
	`CREATE FUNCTION in_sql() RETURNS void LANGUAGE sql AS 'CREATE TABLE by_sql (id int)'`,
	`CREATE FUNCTION as_owner() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN CREATE TABLE owned (id int); END $$`,
	`CREATE FUNCTION unfaithful() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT (random() * 1000000)::int'`,
	`CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE too_late (id int); RETURN NULL; END $$`,
	`CREATE TABLE lates (id int PRIMARY KEY)`,
	`CREATE CONSTRAINT TRIGGER late AFTER INSERT ON lates DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()`,
	`CREATE FUNCTION one() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'`,
	`CREATE TABLE defaulted (id int PRIMARY KEY, n int DEFAULT one())`,
	`CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM users`,
}

var definingStatements = []string{
	`DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood') THEN CREATE TYPE mood AS ENUM ('a', 'b'); END IF; END $$`,
	`DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood') THEN CREATE TYPE mood AS ENUM ('a', 'b'); END IF; END $$`,
	`DO $$ BEGIN CREATE TABLE guarded (id serial PRIMARY KEY, m mood DEFAULT 'a'); EXCEPTION WHEN duplicate_table THEN NULL; END $$`,
	`DO $$ BEGIN CREATE TABLE guarded (id serial PRIMARY KEY, m mood DEFAULT 'a'); EXCEPTION WHEN duplicate_table THEN NULL; END $$`,
	`INSERT INTO guarded (m) VALUES ('b'), (DEFAULT)`,
	`SELECT partitions(1, 4)`,
	`SELECT partitions(3, 6)`,
	`INSERT INTO event VALUES (1, '2026-01-05', 'text'), (2, '2026-05-06', 'text')`,
	`DO $$ BEGIN INSERT INTO event VALUES (3, '2026-06-07', 'image'); END $$`,
	`DO $$ DECLARE r record; BEGIN FOR r IN SELECT relname FROM pg_class WHERE relname LIKE 'event_2026_%' AND relkind = 'r' ORDER BY 1 LOOP
		EXECUTE 'ALTER TABLE ' || quote_ident(r.relname) || ' ADD CONSTRAINT ' || quote_ident(r.relname || '_v') || ' CHECK (v <> ''''); '; END LOOP; END $$`,
	`DO $$ BEGIN
		BEGIN CREATE TABLE undone (id int); INSERT INTO undone VALUES (1); RAISE EXCEPTION 'undone'; EXCEPTION WHEN raise_exception THEN NULL; END;
		CREATE TABLE kept (id int PRIMARY KEY, v text); INSERT INTO kept VALUES (1, 'in the block that made it'); END $$`,
	"DO $$ BEGIN EXECUTE 'CREATE TABLE \"with \"\"quotes\" (\"a\"\n int DEFAULT 1, -- a \"comment\"\n b text DEFAULT ''\"\nPL/pgSQL function f() line 3 at EXECUTE\n\"'', \"ü\" int)'; INSERT INTO \"with \"\"quotes\" DEFAULT VALUES; END $$",
	`DO $$ BEGIN ALTER TABLE users ADD COLUMN seen timestamptz DEFAULT now(), ADD COLUMN IF NOT EXISTS level int NOT NULL DEFAULT 3, DROP COLUMN "odd ""name"; UPDATE users SET level = id; END $$`,
	`DO $$ BEGIN ALTER TABLE users ADD COLUMN level int; EXCEPTION WHEN duplicate_column THEN RAISE NOTICE 'there'; END $$`,
	`DO $$ BEGIN CREATE INDEX ON users (level); CREATE UNIQUE INDEX IF NOT EXISTS users_name ON users (name); COMMENT ON TABLE users IS 'it''s "commented"';
		CREATE OR REPLACE FUNCTION twice(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n * 2'; CREATE OR REPLACE VIEW high AS SELECT id FROM users WHERE level > 3; END $$`,
	`DO $$ BEGIN DROP TABLE IF EXISTS nothing; DROP TABLE IF EXISTS old_a, old_b CASCADE; DROP VIEW high; ALTER TABLE kept RENAME TO renamed; ALTER TABLE renamed RENAME COLUMN v TO w; END $$`,
	`DO $$ BEGIN CREATE SCHEMA IF NOT EXISTS app; CREATE SCHEMA whole CREATE TABLE inside (id serial PRIMARY KEY) CREATE VIEW over AS SELECT id FROM inside; END $$`,
	`INSERT INTO renamed VALUES (2, 'text')`,
	`SELECT elsewhere()`,
	`INSERT INTO users (id, name) VALUES (100, 'after elsewhere')`,
	`DO $$ BEGIN PERFORM set_config('search_path', 'app', true); CREATE TABLE users (id int PRIMARY KEY, in_app bool); INSERT INTO users VALUES (1, true); END $$`,
	`DO $$ BEGIN CREATE TEMP TABLE passing (id int) ON COMMIT DROP; CREATE TABLE beside (id int PRIMARY KEY); INSERT INTO passing VALUES (1); INSERT INTO beside SELECT id FROM passing; END $$`,
	`BEGIN; UPDATE users SET name = 'text before' WHERE id = 1; DO $$ BEGIN ALTER TABLE users ADD COLUMN third text;END $$; UPDATE users SET third = 'text behind' WHERE id = 1; COMMIT`,
	`BEGIN; SAVEPOINT s; DO $$ BEGIN CREATE TABLE saved (id int PRIMARY KEY);END $$; ROLLBACK TO s; DO $$ BEGIN CREATE TABLE saved (id int PRIMARY KEY, v text);END $$; INSERT INTO saved VALUES (1, 'x'); COMMIT`,
	`BEGIN; DO $$ BEGIN CREATE TABLE never (id int);END $$; ROLLBACK`,
	`DO $$ BEGIN CREATE TABLE moved (id int PRIMARY KEY); CREATE TABLE mover (id int); INSERT INTO moved SELECT id FROM users; DROP TABLE mover; INSERT INTO moved VALUES (-1); DROP TABLE IF EXISTS nothing; END $$`,
	`DO $$ BEGIN INSERT INTO registry (name) VALUES ('queue'); CREATE TABLE event_q (LIKE event INCLUDING DEFAULTS); ALTER TABLE event_q ADD PRIMARY KEY (id, at), ADD CHECK (at >= '2031-01-01');
		ALTER TABLE event_q ADD CONSTRAINT of_registry FOREIGN KEY (id) REFERENCES registry DEFERRABLE INITIALLY DEFERRED; CREATE INDEX ON event_q (v);
		ALTER TABLE event ATTACH PARTITION event_q FOR VALUES FROM ('2031-01-01') TO ('2032-01-01'); INSERT INTO event SELECT n, '2031-05-05', 'in the partition' FROM registry WHERE name = 'queue'; END $$`,
	`BEGIN; DO $$ BEGIN UPDATE users SET name = 'beside' WHERE id = 2;END $$; CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY, v text); DO $$ BEGIN CREATE UNLOGGED TABLE scratch2 (id int);END $$; COMMIT`,
	`DO $$ BEGIN CREATE ROLE passes; CREATE TABLE beside_role (id int PRIMARY KEY); INSERT INTO beside_role VALUES (1); DROP ROLE passes; END $$`,
	`DO $$ BEGIN CREATE SEQUENCE counter START 5; PERFORM nextval('counter'); ALTER SEQUENCE counter RESTART WITH 50; PERFORM nextval('counter'); END $$`,
	`DO $$ BEGIN GRANT SELECT ON users TO PUBLIC; CREATE TABLE filled (id int PRIMARY KEY, v text); FOR i IN 1..2000 LOOP INSERT INTO filled VALUES (i, repeat('v', 100)); END LOOP; END $$`,
	`CREATE FUNCTION migrate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('ALTER TABLE users ADD COLUMN %I int DEFAULT %s', NEW.name, NEW.n); RETURN NEW; END $$`,
	`CREATE TRIGGER migrate BEFORE INSERT ON registry FOR EACH ROW WHEN (NEW.name LIKE 'c_%') EXECUTE FUNCTION migrate()`,
	`INSERT INTO registry (name) VALUES ('c_one')`,
}

// DDL inside of functions and DO is carried as the commands that ran, in both protocols.
func TestDDLInsideOfStatements(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Setenv("LANGUAGE", "de") // of the servers
			b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: "capture: {triggers: on, chunk: 16KiB, roles: publish}\n"}, definingSchema...)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			b.inGerman(conn)
			for _, sql := range definingStatements {
				b.runParts(conn, mode, sql)
			}
			b.identical()
			b.sequencesFollow()
			if n := b.onPrimary("SELECT count(*) FROM opmux.captured")[0][0]; n != "0" {
				t.Errorf("%s images were left behind", n)
			}
			for _, missing := range []string{"undone", "never"} {
				if rows := b.onBackup("SELECT 1 FROM pg_class WHERE relname = '" + missing + "'"); len(rows) > 0 {
					t.Errorf("%s is on the backup (I2)", missing)
				}
			}
			b.sameCatalogue()
			if v := b.verdicts(20); v.Match != v.Sum() {
				t.Errorf("verdicts %+v, want matches alone", v)
			}
		})
	}
}

// inGerman has the session speak another language, where the machine has it.
func (b *bench) inGerman(conn *pgx.Conn) {
	b.t.Helper()
	_, err := conn.Exec(b.ctx, "SET lc_messages = 'C.UTF-8'")
	if _, divided := conn.Exec(b.ctx, "SELECT 1 / 0"); err != nil || !strings.Contains(divided.Error(), "durch Null") {
		b.t.Logf("the server speaks English alone (%v, %v)", err, divided)
	}
}

// What several sessions make and drop at once, on conditions, is on the backup what it
// is on the primary (I3).
func TestI3DDLInsideOfStatementsRaces(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, `CREATE TABLE stays (id int PRIMARY KEY)`) // whatever the others come to
	forms := []string{
		`DO $$ BEGIN CREATE TABLE IF NOT EXISTS raced_%[1]d (id serial PRIMARY KEY, v text); INSERT INTO raced_%[1]d (v) VALUES ('image'); END $$`,
		`DO $$ BEGIN IF to_regclass('raced_%[1]d') IS NULL THEN CREATE TABLE raced_%[1]d (id serial PRIMARY KEY, v text DEFAULT 'other'); END IF; EXCEPTION WHEN OTHERS THEN NULL; END $$`,
		`DO $$ BEGIN DROP TABLE IF EXISTS raced_%[1]d; END $$`,
		`DO $$ BEGIN EXECUTE 'ALTER TABLE raced_%[1]d ADD COLUMN IF NOT EXISTS c_%[2]d int DEFAULT %[2]d'; UPDATE raced_%[1]d SET v = 'altered'; EXCEPTION WHEN undefined_table THEN NULL; END $$`,
		`DO $$ BEGIN CREATE OR REPLACE FUNCTION raced() RETURNS int LANGUAGE sql AS 'SELECT %[2]d'; END $$`,
		`DO $$ BEGIN DROP FUNCTION IF EXISTS raced(); END $$`,
		`DO $$ BEGIN CREATE INDEX IF NOT EXISTS raced_v ON raced_%[1]d (v); END $$`,
		`CREATE TABLE IF NOT EXISTS raced_%[1]d (id serial PRIMARY KEY, v text, c_%[2]d int)`,
		`DROP TABLE IF EXISTS raced_%[1]d`,
		`INSERT INTO raced_%[1]d (v) VALUES ('text')`,
		`BEGIN; INSERT INTO raced_%[1]d (v) VALUES ('text before'); DO $$ BEGIN ALTER TABLE raced_%[1]d ADD COLUMN IF NOT EXISTS c_%[2]d int; END $$; COMMIT`,
	}
	done := make([]int, 4)
	var wait sync.WaitGroup
	for i := range done {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		random := rand.New(rand.NewPCG(uint64(i), 25))
		wait.Go(func() {
			for range 80 {
				sql := fmt.Sprintf(forms[random.IntN(len(forms))], random.IntN(2), random.IntN(4))
				if _, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol); err == nil {
					done[i]++
				} else if conn.PgConn().TxStatus() != 'I' {
					_, _ = conn.Exec(b.ctx, "ROLLBACK") // what they do to each other are errors
				}
			}
		})
	}
	wait.Wait()
	for i, n := range done {
		if n < 20 {
			t.Errorf("session %d: %d of 80 statements were done", i, n)
		}
	}
	b.identical()
	b.sameCatalogue()
}

// I6: DDL inside of a statement whose effect on the backups is not certain is refused
// by name, behind the statement, and undone.
func TestI6DDLInsideOfStatementsThatIsRefused(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, append(definingSchema,
		`CREATE ROLE other_owner_of_ddl SUPERUSER`, `ALTER FUNCTION as_owner() OWNER TO other_owner_of_ddl`)...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for sql, want := range map[string]string{
		`SELECT in_sql()`: "CREATE TABLE of public.by_sql inside of a statement",
		`DO $$ BEGIN CREATE UNLOGGED TABLE u (id int); INSERT INTO u VALUES (1); END $$`:                                                                                                                        "public.u",
		`DO $$ BEGIN CREATE UNLOGGED TABLE u (id int); INSERT INTO u VALUES (1); DELETE FROM u; END $$`:                                                                                                         "public.u",
		`DO $$ BEGIN CREATE TABLE event_w (LIKE event); INSERT INTO event_w VALUES (1, '2041-01-01', 'w'); ALTER TABLE event ATTACH PARTITION event_w FOR VALUES FROM ('2041-01-01') TO ('2042-01-01'); END $$`: "wrote rows before it",
		`DO $$ BEGIN INSERT INTO old_a VALUES (1); ALTER TABLE old_b ADD COLUMN more int; END $$`:                                                                                                               "wrote rows before it",
		`DO $$ BEGIN INSERT INTO old_a VALUES (1); ALTER TABLE old_b ADD UNIQUE (id), ADD COLUMN more int; END $$`:                                                                                              "wrote rows before it",
		`DO $$ BEGIN INSERT INTO old_a VALUES (1); ALTER TABLE old_a ADD UNIQUE (id); END $$`:                                                                                                                   "wrote rows before it",
		`DO $$ BEGIN INSERT INTO old_a VALUES (1); DROP TABLE old_a; END $$`:                                                                                                                                    "wrote rows before it",
		`DO $$ BEGIN INSERT INTO old_a VALUES (1); DROP TABLE old_b CASCADE; END $$`:                                                                                                                            "wrote rows before it",
		`DO $$ BEGIN INSERT INTO old_a VALUES (1); DROP TABLE old_a; CREATE TABLE old_a (n int, m int); END $$`:                                                                                                 "wrote rows before it",
		`DO $$ BEGIN TRUNCATE emptied; END $$`: "public.emptied",
		`SELECT as_owner()`:                    "other_owner_of_ddl",
		`INSERT INTO lates VALUES (1)`:         "deferred trigger",
		`DO $$ BEGIN SET LOCAL ROLE other_owner_of_ddl; CREATE TABLE x (id int); END $$`:                                                                     "other_owner_of_ddl",
		`DO $$ BEGIN EXECUTE 'SET LOCAL ROLE ' || quote_ident(session_user); CREATE TABLE x (id int); END $$`:                                                "not as the session's role",
		`DO $$ BEGIN SET LOCAL session_replication_role = replica; CREATE TABLE x (id int); END $$`:                                                          "under another session_replication_role",
		`DO $$ BEGIN EXECUTE 'CREATE TABLE a1 (id int); CREATE TABLE a2 (id int)'; END $$`:                                                                   "one command at a time",
		`DO $$ BEGIN CREATE TABLE copied AS SELECT * FROM users; END $$`:                                                                                     "CREATE TABLE AS",
		`DO $$ BEGIN REFRESH MATERIALIZED VIEW counted; END $$`:                                                                                              "REFRESH MATERIALIZED VIEW",
		`DO $$ BEGIN CREATE EXTENSION pg_trgm; END $$`:                                                                                                       "extension",
		`DO $$ BEGIN ALTER TABLE users ADD COLUMN r int DEFAULT unfaithful(); END $$`:                                                                        "ADD COLUMN r",
		`DO $$ BEGIN ALTER TABLE users ADD COLUMN IF NOT EXISTS r int DEFAULT unfaithful(); END $$`:                                                          "ADD COLUMN r",
		`DO $$ BEGIN ALTER TABLE users ADD COLUMN IF NOT EXISTS r timestamptz DEFAULT now(); END $$`:                                                         "IF NOT EXISTS",
		`DO $$ BEGIN ALTER TABLE users ADD COLUMN s serial; END $$`:                                                                                          "serial",
		`DO $$ BEGIN ALTER TABLE users ALTER COLUMN id TYPE bigint; END $$`:                                                                                  "ALTER COLUMN id TYPE",
		`DO $$ BEGIN UPDATE users SET name = 'before'; ALTER TABLE users DROP COLUMN name, ADD COLUMN nick text; END $$`:                                     "wrote rows before it",
		`DO $$ BEGIN DELETE FROM users; CREATE UNIQUE INDEX ON users (name); END $$`:                                                                         "wrote rows before it",
		`DO $$ BEGIN DROP TABLE IF EXISTS old_a, not_there; END $$`:                                                                                          "of several objects",
		`DO $$ BEGIN CREATE TEMP TABLE tt (id int); CREATE TABLE like_it (LIKE tt); DROP TABLE tt; END $$`:                                                   "temporary",
		`DO $$ BEGIN CREATE TEMP TABLE tu (id int); CREATE TABLE like_it (LIKE tu); END $$`:                                                                  "temporary",
		`DO $$ BEGIN CREATE TEMP TABLE tv (id int); DROP TABLE tv, old_a; END $$`:                                                                            "about temporary and other objects",
		`DO $$ BEGIN INSERT INTO users (id, name) SELECT i, repeat('x', 100) FROM generate_series(1000, 3000) i; ALTER TABLE users DROP COLUMN name; END $$`: "wrote rows before it",
		`DO $$ BEGIN GRANT SELECT ON users TO PUBLIC; END $$`:                                                                                                "GRANT",
		`DO $$ BEGIN CREATE TABLE opmux.mine (id int); END $$`:                                                                                               "opmux's own",
		`DO $$ BEGIN SET LOCAL standard_conforming_strings = off; CREATE TABLE backslash (t text DEFAULT '\\'); END $$`:                                      "standard_conforming_strings",
		`DO $$ BEGIN ALTER TABLE users ADD COLUMN u int DEFAULT 1; CREATE OR REPLACE FUNCTION unfaithful() RETURNS int LANGUAGE sql AS 'SELECT 1'; END $$`:   "redefines",
	} {
		_, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol)
		if err == nil || !strings.Contains(err.Error(), "opmux: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one of %q", sql, err, want)
		}
	}
	b.movedBeforeOwnDDL(conn)
	b.onPrimary(`CREATE FUNCTION follow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
		IF TG_TAG = 'CREATE SEQUENCE' THEN CREATE TABLE followed (id int); ELSIF TG_TAG = 'CREATE VIEW' THEN INSERT INTO users VALUES (77); END IF; END $$`)
	b.onPrimary(`CREATE EVENT TRIGGER then_follow ON ddl_command_end EXECUTE FUNCTION follow()`)
	for sql, want := range map[string]string{
		`DO $$ BEGIN CREATE SEQUENCE s; END $$`:         "an event trigger ran it",
		`DO $$ BEGIN CREATE VIEW w AS SELECT 1; END $$`: "event triggers, which may have written",
	} {
		if _, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one of %q", sql, err, want)
		}
	}
	b.onPrimary(`DROP EVENT TRIGGER then_follow`)
	b.onPrimary(`DROP FUNCTION follow()`)
	b.identical()
	b.sameCatalogue()
}

// I6: event triggers that do not run, or are an older build's, as an agent of one puts
// them back, leave DDL that is not known, which is refused.
func TestI6EventTriggersOfAnOlderBuild(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, definingSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	refused := func(sql, want string) {
		t.Helper()
		if _, err := conn.Exec(b.ctx, sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one of %q", sql, err, want)
		}
	}
	b.onPrimary(`ALTER EVENT TRIGGER opmux_capture DISABLE`)
	refused(`DO $$ BEGIN ALTER TABLE users DROP COLUMN name; END $$`, "what else it did is not known")
	b.onPrimary(`ALTER EVENT TRIGGER opmux_capture ENABLE ALWAYS`)
	b.onPrimary(`CREATE OR REPLACE FUNCTION opmux.ddl_context() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('opmux.ddl_context', '["postgres", "[]", "[]"]', true); END $$`)
	refused(`DO $$ BEGIN CREATE TABLE by_another (id int); END $$`, "what such DDL did is not known")
	b.onPrimary(`CREATE OR REPLACE FUNCTION opmux.capture_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN
		IF tg_event = 'ddl_command_end' AND current_setting('opmux.capture', true) = 'on' THEN
			INSERT INTO opmux.captured SELECT pg_current_xact_id(), 'L', null, command_tag || ' of ' || object_identity FROM pg_event_trigger_ddl_commands(); END IF; END $$`)
	refused(`DO $$ BEGIN CREATE TABLE by_older (id int); END $$`, "what such DDL did is not known")
	b.onPrimary(`CREATE FUNCTION opmux.take(text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RAISE 'the older one'; END $$`)
	b.runParts(conn, pgx.QueryExecModeExec, `DO $$ BEGIN UPDATE users SET name = 'beside an older build'; END $$`)
	b.identical()
	b.sameCatalogue()
}

// A client's cancel that hits what the agent looks up behind a statement is the client's
// error, and undoes the statement (I2).
func TestI2CancelOfLookUpsBehindDDL(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, definingSchema...)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		locker := testkit.Connect(t, b.Primary.DSN(rig.Database))
		b.runParts(locker, pgx.QueryExecModeSimpleProtocol, "BEGIN; LOCK TABLE pg_catalog.pg_inherits IN ACCESS EXCLUSIVE MODE")
		ended := make(chan error)
		go func() {
			ended <- execute(b.ctx, conn, mode, "DO $$ BEGIN CREATE TABLE cut (id int PRIMARY KEY); INSERT INTO cut VALUES (1); END $$")
		}()
		testkit.Eventually(t, testkit.Patience, func() error {
			if len(b.onPrimary("SELECT FROM pg_locks WHERE relation = 'pg_inherits'::regclass AND NOT granted")) == 0 {
				return errors.New("nothing is looked up")
			}
			return nil
		})
		b.must(conn.PgConn().CancelRequest(b.ctx))
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "57014") {
			t.Errorf("%s: error %v, want that of a cancel", mode, err)
		}
		b.runParts(locker, pgx.QueryExecModeSimpleProtocol, "ROLLBACK")
		b.runParts(conn, mode, "DO $$ BEGIN CREATE TABLE cut (id int PRIMARY KEY, v text); INSERT INTO cut VALUES (2); END $$")
		b.runParts(conn, mode, "INSERT INTO cut VALUES (3, 'text')")
		b.identical()
		b.sameCatalogue()
		b.runParts(conn, mode, "DROP TABLE cut")
	}
}

// movedBeforeOwnDDL has what a transaction's text relied on changed by others, and
// then changed back by DDL inside of a statement of its own.
func (b *bench) movedBeforeOwnDDL(conn *pgx.Conn) {
	b.t.Helper()
	b.runParts(conn, pgx.QueryExecModeExec, `BEGIN; INSERT INTO defaulted (id) VALUES (1)`)
	b.onPrimary(`ALTER FUNCTION one() VOLATILE`)
	_, err := conn.Exec(b.ctx, `DO $$ BEGIN ALTER FUNCTION one() IMMUTABLE; END $$`)
	if err == nil || !strings.Contains(err.Error(), "40001") {
		b.t.Errorf("the function was volatile meanwhile: error %v, want 40001", err)
	}
	b.runParts(conn, pgx.QueryExecModeExec, `ROLLBACK`)
	b.runParts(conn, pgx.QueryExecModeExec, `ALTER FUNCTION one() IMMUTABLE`)
}
