package integration

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Everything here writes in ways that no reading of a statement's text tells.
var opaqueSchema = []string{
	`CREATE TABLE account (id int PRIMARY KEY, owner text, balance numeric(12,2) DEFAULT 0, touched timestamptz, f float8, b bytea, a int[], j json)`,
	`INSERT INTO account SELECT i, 'o' || i, i * 10.5, '2026-01-02 03:04:05+00', i / 3.0, decode('00ff5c22', 'hex'), ARRAY[i, NULL], '{"a" : 1}' FROM generate_series(1, 50) i`,
	`CREATE TABLE audit (n bigserial PRIMARY KEY, what text, was text)`,
	`CREATE TABLE total (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sum numeric, twice numeric GENERATED ALWAYS AS (sum * 2) STORED)`,
	`INSERT INTO total (sum) VALUES (0)`,
	`CREATE SEQUENCE loose`,
	`CREATE TABLE parent (id int PRIMARY KEY, v text)`,
	`CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, v text)`,
	`INSERT INTO parent SELECT i, 'p' FROM generate_series(1, 9) i`,
	`INSERT INTO child SELECT i, 1 + i % 9, 'c' FROM generate_series(1, 30) i`,
	`CREATE TABLE part (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k)`,
	`CREATE TABLE part_low (dropped int, v text, k int NOT NULL, id int NOT NULL)`,
	`ALTER TABLE part_low DROP COLUMN dropped`,
	`ALTER TABLE part ATTACH PARTITION part_low FOR VALUES FROM (0) TO (100)`,
	`CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (100) TO (200)`,
	`INSERT INTO part SELECT i, i, 'x' FROM generate_series(90, 110) i`,
	`CREATE TABLE part_more (LIKE part)`,
	`CREATE TABLE nokey (a int, b text)`,
	`CREATE TABLE bare ()`,
	`CREATE TABLE forebear (id int PRIMARY KEY, v text)`, `CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (forebear)`,
	`INSERT INTO forebear VALUES (1, 'f'), (2, 'f')`, `INSERT INTO heir VALUES (1, 'h'), (3, 'h')`, // 1 twice
	`CREATE DOMAIN short AS varchar(4) CHECK (value <> 'bad')`,
	`CREATE TABLE nokey2 (s short, n int)`,
	`CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)`,
	`CREATE TABLE odd (j json, t char(4), c float8, b text COLLATE blind)`,
	`CREATE TABLE staging (id int PRIMARY KEY)`,
	`CREATE TABLE staging2 (id int PRIMARY KEY REFERENCES staging)`,
	`CREATE VIEW rich AS SELECT id, owner, balance FROM account WHERE balance > 100`,
	`CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO audit (what, was) VALUES (TG_OP, CASE WHEN TG_OP <> 'INSERT' THEN OLD.balance::text END);
		UPDATE total SET sum = sum + 1 WHERE id = 1;
		RETURN NULL; END $$`,
	`CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION audited()`,
	`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := clock_timestamp(); RETURN NEW; END $$`,
	`CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON account FOR EACH ROW EXECUTE FUNCTION touch()`,
	`CREATE FUNCTION transfer(giver int, taker int, n numeric) RETURNS numeric LANGUAGE plpgsql AS $$ DECLARE left_over numeric; BEGIN
		UPDATE account SET balance = balance - n WHERE id = giver RETURNING balance INTO left_over;
		BEGIN
			UPDATE account SET balance = -1;
			RAISE EXCEPTION 'undone';
		EXCEPTION WHEN raise_exception THEN NULL; END;
		UPDATE account SET balance = balance + n WHERE id = taker;
		PERFORM nextval('loose');
		RETURN left_over; END $$`,
	`CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM account'`,
	`CREATE FUNCTION dynamic(t text, v text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('UPDATE %I SET v = %L WHERE id %% 2 = 0', t, v); END $$`,
	`CREATE FUNCTION styled() RETURNS void LANGUAGE plpgsql SET DateStyle = 'SQL, DMY' SET TimeZone = 'Asia/Tokyo' AS $$ BEGIN UPDATE account SET touched = now() WHERE id = 3; END $$`,
	`CREATE PROCEDURE refill() LANGUAGE plpgsql AS $$ BEGIN
		TRUNCATE staging, staging2;
		INSERT INTO staging SELECT generate_series(1, 5);
		INSERT INTO staging2 VALUES (3);
		CREATE TEMP TABLE scratch ON COMMIT DROP AS SELECT 1 AS id;
		INSERT INTO scratch VALUES (2);
		DROP TABLE scratch; END $$`,
	`CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES ('never'); COMMIT; END $$`,
	`CREATE FUNCTION ends() RETURNS void LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$`,
	`CREATE PROCEDURE ddl() LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE surprise (id int PRIMARY KEY); END $$`,
	`CREATE FUNCTION shuts() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RESET ALL; UPDATE parent SET v = 'unseen'; END $$`,
	`CREATE FUNCTION emptied() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$`,
	`CREATE TRIGGER emptied AFTER TRUNCATE ON staging2 FOR EACH STATEMENT EXECUTE FUNCTION emptied()`,
	`CREATE UNLOGGED TABLE scrap (id int PRIMARY KEY)`,
	`CREATE FUNCTION scraps() RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO scrap VALUES (1); END $$`,
	`CREATE FUNCTION forgets() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM nokey; END $$`,
	`CREATE SEQUENCE hidden`,
	`CREATE FUNCTION draws(fate text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		PERFORM nextval('hid' || 'den');
		CASE fate WHEN 'fail' THEN PERFORM 1 / 0; WHEN 'lost' THEN PERFORM pg_terminate_backend(pg_backend_pid()); ELSE NULL; END CASE; END $$`,
	`CREATE FUNCTION opens() RETURNS refcursor LANGUAGE plpgsql AS $$ DECLARE c refcursor := 'c'; BEGIN OPEN c FOR SELECT transfer(i, 9, 1) FROM generate_series(1, 3) i; RETURN c; END $$`,
	`CREATE FUNCTION holds(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DECLARE h CURSOR WITH HOLD FOR ' || $1; END $$`,
	`CREATE FUNCTION seals() RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE parent SET v = 'unseen'; SET TRANSACTION READ ONLY; END $$`,
	`CREATE FUNCTION notes(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES ('checked ' || $1); RETURN true; END $$`,
	`CREATE DOMAIN noted AS int CHECK (notes(value))`,
	`CREATE FUNCTION defaults(a boolean DEFAULT notes(7)) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT a'`,
	`CREATE TABLE late (id int PRIMARY KEY, a int[])`,
	`CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES ('later ' || NEW.id); UPDATE late SET a = ARRAY[NULL, 1] WHERE id = 0; RETURN NULL; END $$`,
	`CREATE CONSTRAINT TRIGGER later AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later()`,
	`CREATE FUNCTION blob() RETURNS oid LANGUAGE sql VOLATILE AS 'SELECT lo_create(0)'`,
}

const triggersOn = "capture: {triggers: on, chunk: 16KiB}\n"

var opaqueStatements = []string{
	`SELECT transfer(1, 2, 3.25)`,
	`SELECT reads()`,
	`INSERT INTO account (id, owner, balance, j) VALUES (100, 'with "quotes", \ and ü', 7, '{"b" :  [1, 2]}'), (101, '', 0, NULL)`,
	`UPDATE account SET balance = balance * 2 WHERE id < 10`,
	`UPDATE account SET id = id + 1000 WHERE id BETWEEN 20 AND 25`,
	`DELETE FROM account WHERE id % 7 = 0`,
	`UPDATE rich SET owner = owner || '!' WHERE id > 30`,
	`INSERT INTO account (id) VALUES (2) ON CONFLICT (id) DO UPDATE SET balance = account.balance + 1`,
	`WITH gone AS (DELETE FROM child WHERE id < 5 RETURNING id, v) INSERT INTO audit (what, was) SELECT v, id::text FROM gone`,
	`MERGE INTO parent p USING (VALUES (1, 'merged'), (77, 'new')) s (id, v) ON p.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)`,
	`DO $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO audit (what) VALUES ('do ' || i); END LOOP; DELETE FROM parent WHERE id = 2; UPDATE parent SET id = 33 WHERE id = 3; END $$`,
	`SELECT dynamic('child', 'it''s')`,
	`SELECT styled()`,
	`CALL refill()`,
	`CALL ddl()`,
	`EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) UPDATE parent SET v = 'explained' WHERE id = 5`,
	`UPDATE part SET k = k + 5 WHERE k BETWEEN 90 AND 99`,
	`DO $$ BEGIN UPDATE part SET k = k + 5, v = 'moved' WHERE k BETWEEN 95 AND 104; DELETE FROM part WHERE k > 108; END $$`,
	`ALTER TABLE part ATTACH PARTITION part_more FOR VALUES FROM (200) TO (300)`,
	`CREATE TABLE part_last PARTITION OF part FOR VALUES FROM (300) TO (400)`,
	`DO $$ BEGIN UPDATE part SET k = k + 100 WHERE k BETWEEN 100 AND 104; INSERT INTO part VALUES (7, 250, 'more'), (7, 350, 'last'); TRUNCATE part_last; END $$`,
	`CREATE SCHEMA made CREATE TABLE inside (id int PRIMARY KEY, v text)`,
	`DO $$ BEGIN INSERT INTO made.inside VALUES (1, 'in a schema made with it'); END $$`,
	`INSERT INTO nokey SELECT i, 'n' FROM generate_series(1, 3) i`,
	`DO $$ BEGIN INSERT INTO nokey VALUES (1, 'twice'), (1, 'twice'); UPDATE total SET sum = 5; END $$`,
	`UPDATE nokey SET b = 'of two that are the same' WHERE ctid = (SELECT min(ctid) FROM nokey WHERE b = 'twice')`,
	`DELETE FROM nokey WHERE a = 3`,
	`UPDATE ONLY forebear SET v = 'only'`,
	`UPDATE forebear SET v = v || '!' WHERE id < 3`,
	`UPDATE forebear SET id = id + 10 WHERE v = 'h'`,
	`DELETE FROM ONLY forebear WHERE id = 1`,
	`INSERT INTO odd VALUES ('{"a" : 1}', 'x  ', NULL, 'é'), ('{"a" : 1}', 'x', 1.5, 'É'), ('{"a":1}', 'x', 1.5, 'É')`,
	`DELETE FROM odd WHERE c = 1.5 AND j::text = '{"a" : 1}'`,
	`UPDATE odd SET t = NULL WHERE c IS NULL`,
	`SELECT forgets()`,
	`INSERT INTO nokey2 VALUES ('ok', 1), ('ok', 2)`,
	`UPDATE nokey2 SET n = n + 1`,
	`DO $$ BEGIN INSERT INTO bare DEFAULT VALUES; INSERT INTO bare SELECT FROM generate_series(1, 3); END $$`,
	`DELETE FROM bare WHERE ctid = (SELECT min(ctid) FROM bare)`,
	`TRUNCATE staging CASCADE`,
	`INSERT INTO nokey SELECT 1, 'left' FROM generate_series(1, 3)`,
	`BEGIN; SAVEPOINT s; SELECT transfer(4, 5, 1); ROLLBACK TO s; SELECT transfer(5, 6, 1); UPDATE parent SET v = 'text' WHERE id = 1; COMMIT`,
	`BEGIN; SELECT transfer(1, 2, 1); ROLLBACK`,
	`SELECT 5::noted, noted(6), defaults()`,
	`BEGIN; SELECT opens(); FETCH 1 FROM c; MOVE 1 IN c; FETCH ALL FROM c; COMMIT`,
	`BEGIN; DECLARE d CURSOR FOR SELECT transfer(2, 3, 1) FROM generate_series(1, 2); FETCH FORWARD 1 FROM d; FETCH ALL FROM d; CLOSE d; COMMIT`,
	`BEGIN; DECLARE d CURSOR FOR SELECT nextval('loose'); FETCH 1 FROM d; COMMIT`,
	`BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT 1; SELECT reads(); COMMIT; FETCH 1 FROM h; SELECT reads(); CLOSE h`,
	`BEGIN; INSERT INTO late VALUES (0), (1); SET CONSTRAINTS ALL IMMEDIATE; COMMIT`,
	`BEGIN; INSERT INTO late VALUES (2); SET CONSTRAINTS later IMMEDIATE; INSERT INTO late VALUES (3); COMMIT`,
	`BEGIN; INSERT INTO late VALUES (4); SET LOCAL TimeZone = 'Asia/Tokyo'; COMMIT`,
	`BEGIN READ ONLY; SELECT reads(); SELECT reads(); COMMIT`,
	`BEGIN; SET LOCAL client_encoding = 'LATIN1'; SELECT transfer(3, 4, 1); COMMIT`,
	`UPDATE total SET id = DEFAULT WHERE id = 1 AND (SELECT count(*) FROM nokey) > 0`,
	`DO $$ BEGIN INSERT INTO parent SELECT i, repeat('large', 100) FROM generate_series(1000, 3000) i; UPDATE parent SET v = v || id WHERE id > 1500; END $$`,
}

// With the capture triggers on, what no text tells is carried as the rows that it
// changed, in both protocols.
func TestOpaqueStatementsByTriggers(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		t.Run(mode.String(), func(t *testing.T) {
			b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: triggersOn}, opaqueSchema...)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			for _, sql := range opaqueStatements {
				b.runParts(conn, mode, sql)
			}
			b.lastValueIsTheClients(conn, mode)
			b.identical()
			b.sequencesFollow()
			if n := b.onPrimary("SELECT count(*) FROM opmux.captured")[0][0]; n != "0" {
				t.Errorf("%s images were left behind", n)
			}
			if v := b.verdicts(20); v.Match != v.Sum() {
				t.Errorf("verdicts %+v, want matches alone", v)
			}
		})
	}
}

// The role that an application takes need not be one that may put triggers to sleep, or
// write what a function of another role's writes.
func TestOpaqueStatementsOfARole(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn},
		`CREATE TABLE mine (id int PRIMARY KEY, tenant text DEFAULT current_user, v text)`,
		`CREATE TABLE theirs (id serial PRIMARY KEY, v text)`,
		`ALTER TABLE mine ENABLE ROW LEVEL SECURITY`,
		`CREATE POLICY own ON mine USING (tenant = current_user)`,
		`CREATE FUNCTION tells(t text) RETURNS int LANGUAGE sql SECURITY DEFINER AS $$ INSERT INTO theirs (v) VALUES (t) RETURNING id $$`)
	for _, on := range []func(string) [][]string{b.onPrimary, b.onBackup} {
		on(`CREATE ROLE tenant; GRANT ALL ON mine TO tenant`)
	}
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for _, sql := range []string{
		`INSERT INTO mine VALUES (1, 'another', 'x')`,
		`SET ROLE tenant`,
		`INSERT INTO mine (id, v) VALUES (2, 'x')`,
		`SELECT tells('a')`,
		`BEGIN; UPDATE mine SET v = 'y'; SELECT tells('b'); SAVEPOINT s; UPDATE mine SET v = 'z'; ROLLBACK TO s; SELECT tells('c'); COMMIT`,
		`RESET ROLE`,
		`BEGIN; SET LOCAL ROLE tenant; DELETE FROM mine WHERE v = 'nothing'; UPDATE mine SET v = v || '!'; COMMIT`,
		`INSERT INTO theirs (v) VALUES ('as the login')`,
	} {
		b.runParts(conn, pgx.QueryExecModeSimpleProtocol, sql)
	}
	b.identical()
	if v := b.verdicts(6); v.Match != v.Sum() {
		t.Errorf("verdicts %+v, want matches alone", v)
	}
}

// What a statement drew from a sequence stays drawn, however it ends: it failed,
// its locks are gone and it has told of nothing; its session is lost with it; or
// its transaction is rolled back. The backup's sequence follows each of them, alone.
func TestDrawnByWhatFailed(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, opaqueSchema...)
	for _, sql := range []string{
		"SELECT draws('fail')",
		"BEGIN; SELECT draws('fail'); ROLLBACK",
		"BEGIN; SAVEPOINT s; SELECT draws('fail'); ROLLBACK TO s; COMMIT",
		"SELECT draws('lost')",
		"BEGIN; SELECT draws(''); ROLLBACK",
		"SELECT draws('')",
	} {
		before := number(t, b.onPrimary("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM hidden")[0][0])
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for _, part := range strings.Split(sql, "; ") {
			_, _ = conn.Exec(b.ctx, part, pgx.QueryExecModeSimpleProtocol) // an error is what some are for
		}
		if n := number(t, b.onPrimary("SELECT last_value FROM hidden")[0][0]); n != before+1 {
			t.Fatalf("%s: %d was drawn behind %d", sql, n, before)
		}
		b.sequencesFollow()
	}
	b.identical()
}

// lastValueIsTheClients looks at what the session has drawn last, which drivers take
// for the key of the row that was inserted.
func (b *bench) lastValueIsTheClients(conn *pgx.Conn, mode pgx.QueryExecMode) {
	b.t.Helper()
	b.runParts(conn, mode, "INSERT INTO account (id) VALUES (7001)")
	b.runParts(conn, mode, "CREATE TEMP TABLE passing (id int)")
	var last, drawn int64
	if err := conn.QueryRow(b.ctx, "SELECT lastval(), last_value FROM audit_n_seq", mode).Scan(&last, &drawn); err != nil || last != drawn {
		b.t.Errorf("lastval() is %d, the session drew %d (%v) (I5)", last, drawn, err)
	}
}

// runParts runs a statement, one by one where the extended protocol wants it.
func (b *bench) runParts(conn *pgx.Conn, mode pgx.QueryExecMode, sql string) {
	b.t.Helper()
	parts := []string{sql}
	if strings.HasPrefix(sql, "BEGIN") && mode != pgx.QueryExecModeSimpleProtocol {
		parts = strings.Split(sql, "; ")
	}
	for _, p := range parts {
		if err := execute(b.ctx, conn, mode, p); err != nil {
			b.t.Errorf("%s: %v", p, err)
		}
	}
}

// execute runs a statement without parameters in the protocol that a mode names. pgx's
// Exec would take the simple one for it, whatever the mode.
func execute(ctx context.Context, conn *pgx.Conn, mode pgx.QueryExecMode, sql string) error {
	c := conn.PgConn()
	switch mode {
	case pgx.QueryExecModeSimpleProtocol:
		return c.Exec(ctx, sql).Close()
	case pgx.QueryExecModeCacheStatement: // two round trips
		if _, err := c.Prepare(ctx, "", sql, nil); err != nil {
			return err
		}
		return c.ExecPrepared(ctx, "", nil, nil, nil).Read().Err
	}
	return c.ExecParams(ctx, sql, nil, nil, nil, nil).Read().Err
}

// I6: what the triggers do not see is refused by name, after it ran, and undone.
func TestI6WhatTriggersDoNotSee(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, opaqueSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for sql, want := range map[string]string{
		"CALL commits()":                     "ends transactions inside",
		"DO 'BEGIN COMMIT; END'":             "ends transactions inside",
		"SELECT ends()":                      "ERROR: invalid transaction termination",
		"DO 'BEGIN CREATE ROLE hidden; END'": "a statement about roles inside of DO",
		"DO 'BEGIN ALTER ROLE postgres SET work_mem = 64; END'": "a statement about roles inside of DO",
		"SELECT shuts()":                            "changed the setting opmux.capture",
		"SELECT scraps()":                           "public.scrap",
		"INSERT INTO scrap VALUES (9)":              "unlogged",
		"SELECT lo_create(0)":                       "large object",
		"SELECT blob()":                             "pg_largeobject",
		"SET array_nulls = off; SELECT forgets()":   "opmux: ",
		"SET opmux.capture = 'on'":                  "opmux's own",
		"SELECT reads() INTO made":                  "opmux: ", // for either of two reasons
		"SELECT seals()":                            "it made its transaction read-only",
		"SELECT transfer(1, 2, setval('loose', 1))": "",
	} {
		_, err := conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one of %q", sql, err, want)
		}
	}
	if n := b.onPrimary("SELECT count(*) FROM parent WHERE v = 'unseen'")[0][0]; n != "0" {
		t.Error("what was refused has stayed")
	}
	b.identical()
}
