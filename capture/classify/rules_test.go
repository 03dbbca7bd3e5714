package classify_test

import (
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// The rows of SQL-SAFETY that this issue names, in its order.
func TestI6SafetyRules(t *testing.T) {
	r := newRig(t, append([]string{`create table bare()`}, shop...)...)
	groups := map[string][]want{
		"time of transaction": {
			{`INSERT INTO history (tid, mtime) VALUES (1, CURRENT_TIMESTAMP)`, "write pinned", "($1::pg_catalog.timestamptz)"},
			{`INSERT INTO history (mtime) VALUES (LOCALTIMESTAMP(3))`, "write pinned", "(($1::pg_catalog.timestamptz)::pg_catalog.timestamp(3))"},
			{`UPDATE jobs SET at = now() WHERE id = $1`, "write pinned", "($2::pg_catalog.timestamptz)"},
			{`UPDATE orders SET due = current_date WHERE id = 4`, "write pinned", "(($1::pg_catalog.timestamptz)::pg_catalog.date)"},
			{`INSERT INTO customer(name, created) VALUES ('a', transaction_timestamp() - interval '1 day')`, "write pinned", "id"},
		},
		"wall clock": {
			{`UPDATE jobs SET at = clock_timestamp() WHERE id = 1`, "write rows", "clock_timestamp"},
			{`UPDATE jobs SET at = 'now' WHERE id = 1`, "write rows", "moment of the clock"},
			{`UPDATE jobs SET at = '  Tomorrow ' WHERE id = 1`, "write rows", "moment of the clock"},
			{`UPDATE jobs SET at = '2026-01-01' WHERE id = 1`, "write text", ""},
			{`UPDATE jobs SET state = 'now' WHERE id = 1`, "write text", ""},
			{`UPDATE jobs SET at = $1 WHERE id = 1`, "write rows", "parameter differently"},
			{`UPDATE jobs SET state = $1 WHERE id = 1`, "write text", ""},
			{`INSERT INTO history(mtime) VALUES ('today')`, "write pinned", "VALUES ($1)"},
			{`INSERT INTO history(tid, mtime) VALUES ($1, $2)`, "write pinned", "VALUES ($1, $2)"},
			{`INSERT INTO history(mtime) VALUES ('now'::text::timestamp)`, "write pinned", "VALUES ($1)"},
			{`UPDATE jobs SET at = state::timestamp WHERE id = 1`, "write rows", "moment of the clock"},
			{`UPDATE jobs SET at = date(state) WHERE id = 1`, "write rows", "moment of the clock"},
			{`UPDATE jobs SET at = at::date WHERE id = 1`, "write text", ""},
			{`UPDATE jobs SET at = coalesce(at, 'now') WHERE id = 1`, "write rows", "moment of the clock"},
			{`UPDATE jobs SET at = at + $1 WHERE id = 1`, "write rows", "moment of the clock"},
			{`UPDATE jobs SET at = at + '1 day'::interval WHERE id = 1`, "write text", ""},
		},
		"random": {
			{`INSERT INTO token(n) VALUES (1)`, "write pinned", "INSERT INTO token (n, id, other) VALUES (1, $1, $2)"},
			{`INSERT INTO history(tid) VALUES ((random() * 10)::int)`, "write pinned", "VALUES ($1)"},
			{`UPDATE token SET n = random() * 5 WHERE id = '00000000-0000-0000-0000-000000000001'`, "write rows", "random"},
		},
		"sequences": {
			{`INSERT INTO customer(name) VALUES ('x')`, "write pinned", "INSERT INTO customer (name, id, created) VALUES ('x', $1, $2)"},
			{`INSERT INTO orders(customer) VALUES (1), (2) RETURNING id`, "write pinned", "INSERT INTO orders (customer, id) OVERRIDING SYSTEM VALUE VALUES (1, $1), (2, $2)"},
			{`INSERT INTO orders DEFAULT VALUES`, "write rows", ""},
			{`INSERT INTO bare DEFAULT VALUES`, "write text", ""}, {`INSERT INTO bare SELECT FROM jobs`, "refused", "no columns"},
			{`INSERT INTO jobs(id) VALUES (generate_series(1, 10))`, "write rows", "what it reads"},
			{`INSERT INTO orders(customer) VALUES (unnest(ARRAY[1, 2]))`, "write rows", "what it reads"},
			{`INSERT INTO customer VALUES (DEFAULT, 'x')`, "write pinned", "INSERT INTO customer (id, name, created) VALUES ($1, 'x', $2)"},
			{`SELECT nextval('counter')`, "draw pinned", ""},
			{`SELECT nextval('public."counter"'::regclass) FROM generate_series(1, 3)`, "draw pinned", ""},
			{`SELECT nextval(pg_get_serial_sequence('customer', 'id'))`, "draw pinned", ""},
			{`SELECT nextval($1)`, "refused", "computed sequence"},
			{`SELECT nextval('nowhere')`, "must fail", ""},
			{`SELECT * FROM drawing`, "draw pinned", ""}, {`WITH drawing AS (SELECT * FROM drawing) SELECT * FROM drawing`, "draw pinned", ""},
			{`WITH drawing AS (SELECT 1 AS n) SELECT * FROM drawing`, "pass", ""},
			{`SELECT setval('counter', 7)`, "draw pinned", "pg_sequence"},
			{`SELECT setval('counter', (SELECT max(id) FROM customer))`, "draw pinned", "pg_sequence"},
			{`SELECT setval('counter', 1), setval('customer_id_seq', 2, false)`, "draw pinned", "customer_id_seq"},
			{`SELECT setval('counter', 1), setval('counter', 2)`, "refused", "several calls of setval"}, {`SELECT setval('counter', 1), nextval('customer_id_seq')`, "draw pinned", "customer_id_seq"},
			{`SELECT setval('counter', GREATEST((SELECT max(id) FROM customer) + 1, nextval('counter')), false)`, "draw pinned", "SELECT pg_catalog.setval(s.seqrelid::pg_catalog.regclass, $1 + s.seqincrement, false)"},
			{`SELECT setval('counter', 9, false), nextval('counter')`, "draw pinned", "BETWEEN"}, {`SELECT nextval('counter'), setval('counter', nextval('counter'))`, "draw pinned", "BETWEEN"},
			{`SELECT currval('counter'), lastval()`, "pass", ""},
			{`INSERT INTO jobs(id) VALUES (nextval('counter'))`, "write pinned", "VALUES ($1)"},
		},
		"identity and environment": {
			{`UPDATE jobs SET state = current_user WHERE id = 1`, "write rows", "names the user"},
			{`UPDATE jobs SET worker = pg_backend_pid() WHERE id = 1`, "write rows", "pg_backend_pid"},
			{`UPDATE jobs SET state = ctid::text WHERE id = 1`, "write rows", "other than a column"},
			{`INSERT INTO history(tid) VALUES ('history'::regclass::oid::int)`, "write pinned", "VALUES ($1)"},
		},
		"pinned by key": {
			{`UPDATE customer SET name = 'x' WHERE id = 1`, "write text", ""},
			{`UPDATE customer SET note = note || $1, name = upper(name) WHERE id = $2 AND name <> 'y'`, "write text", ""},
			{`UPDATE customer AS c SET name = 'x' WHERE c.id = 1`, "write text", ""},
			{`UPDATE item SET qty = qty + $1 WHERE "order" = $2 AND no = 3 RETURNING total`, "write text", `UPDATE item SET qty = qty + $1 WHERE "order" = $2 AND no = 3 | `},
			{`UPDATE item SET qty = 1 WHERE "order" = 5`, "write rows", "no row by a full unique key"},
			{`UPDATE customer SET name = 'x' WHERE mail = 'a@b'`, "write rows", "no row by a full unique key"}, // nullable
			{`UPDATE customer SET name = 'x' WHERE id = 1 OR id = 2`, "write rows", ""},
			{`UPDATE customer SET name = 'x' WHERE id IN (1, 2)`, "write rows", ""},
			{`UPDATE customer SET name = 'x' WHERE id = 1.5`, "write text", ""},
			{`UPDATE customer SET name = 'x' WHERE id = (1)::float8`, "write rows", ""},
			{`UPDATE customer SET id = 9 WHERE id = 1`, "write text", ""},
			{`UPDATE customer SET id = id + 1`, "refused", "key columns"},
			{`UPDATE deferred SET x = 1 WHERE id = 1`, "refused", "no usable key"},
			{`UPDATE customer SET feeling = 'sad' WHERE id = 1`, "write text", ""},
			{`UPDATE customer SET feeling = $1 WHERE id = 1`, "write text", ""},
			{`UPDATE orders SET tags = array_append(tags, 'x') WHERE id = 1`, "write text", ""},
			{`UPDATE orders SET tags[1] = 'x' WHERE id = 1`, "write rows", "a part of"},
			{`UPDATE orders SET doc = jsonb_set(doc, '{a}', '1') WHERE id = 1`, "write text", ""},
			{`UPDATE jobs SET (state, worker) = ('a', 1) WHERE id = 1`, "write rows", ""},
			{`DELETE FROM customer WHERE id = 3`, "write text", ""},
			{`DELETE FROM customer WHERE id = reader(3)`, "write rows", "reader"},
			{`DELETE FROM history WHERE tid = 1`, "write rows", "no row by a full unique key"},
			{`UPDATE history SET tid = 2 WHERE tid = 1`, "refused", "no usable key"},
			{`DELETE FROM reading WHERE sensor = 1 AND at = '2026-01-01'`, "write text", ""},
			{`DELETE FROM reading WHERE sensor = 1 AND at = 'now'`, "write rows", ""},
			{`UPDATE ONLY reading SET v = 1`, "write rows", ""}, {`DELETE FROM ONLY reading WHERE sensor = 1 AND at = '2026-01-01'`, "write text", ""}, // no row is in it
			{`UPDATE reading SET v = sqrt(v) WHERE sensor = 1 AND at = '2026-01-01 00:00+00'`, "write text", ""},
			{`UPDATE reading SET v = sin(v) WHERE sensor = 1 AND at = '2026-01-01 00:00+00'`, "write rows", "sin"},
		},
		"subqueries, joins, INSERT … SELECT": {
			{`INSERT INTO jobs SELECT id FROM customer`, "write rows", "inserts what it reads"},
			{`INSERT INTO jobs(id) VALUES ((SELECT max(id) FROM customer))`, "write rows", "subquery"},
			{`UPDATE jobs SET state = c.name FROM customer c WHERE c.id = jobs.id`, "write rows", `"jobs"."id", "jobs"."state"`},
			{`UPDATE jobs AS j SET state = c.name FROM customer c WHERE c.id = j.id`, "write rows", `"j"."id", "j"."state"`},
			{`DELETE FROM jobs USING customer c WHERE c.id = jobs.id`, "write rows", `"jobs"."id"`},
			{`WITH c AS (SELECT 1 AS id) UPDATE jobs SET state = 'x' FROM c WHERE c.id = jobs.id`, "write rows", ""},
			{`MERGE INTO jobs USING customer c ON c.id = jobs.id WHEN MATCHED THEN DELETE`, "refused", "MERGE"},
			{`CREATE TABLE copyof AS SELECT * FROM customer`, "ddl", "inserts what it reads"}, {`SELECT * INTO copyof FROM customer`, "ddl", "inserts what it reads"},
			{`SELECT 1 INTO copyof UNION SELECT random()`, "ddl", "inserts what it reads"}, {`CREATE TABLE copyof AS EXECUTE p (now())`, "ddl", "inserts what it reads"},
			{`CREATE TABLE copyof AS EXECUTE p (now()) WITH NO DATA`, "ddl", "inserts what it reads"}, {`SELECT currtid2('jobs', '(0,1)')`, "pass", ""},
			{`SELECT state(j) FROM jobs j`, "pass", ""}, {`SELECT nothere(j) FROM jobs j`, "must fail", ""}, {`SELECT state(1)`, "must fail", ""},
			{`CREATE TABLE copyof AS SELECT writer(1)`, "refused", "writer"}, {`SELECT setval('counter', 1) INTO copyof`, "refused", "setval"}, {`CREATE TABLE copyof AS EXECUTE p (writer(1))`, "refused", "writer"},
			{`CREATE TABLE copyof AS SELECT set_config('work_mem', '1MB', false)`, "refused", "set_config"}, {`CREATE UNLOGGED TABLE copyof AS SELECT 1`, "refused", "unlogged"},
			{`CREATE TABLE opmux.copyof AS SELECT 1`, "refused", "opmux's own"}, {`SELECT 1 UNION SELECT 2 INTO copyof`, "refused", "a part of"}, {`EXPLAIN ANALYZE CREATE TABLE copyof AS SELECT 1`, "refused", ""},
			{`CREATE TABLE copyof AS SELECT * FROM customer WITH NO DATA`, "ddl", ""},
			{`INSERT INTO orders(customer, due) VALUES (1, '2026-01-02') RETURNING *, now()`, "write pinned", ""},
		},
		"queue pops": {
			{`DELETE FROM jobs WHERE id = (SELECT id FROM jobs ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING *`, "write rows", ""},
			{`WITH j AS (SELECT id FROM jobs FOR UPDATE SKIP LOCKED LIMIT 1) UPDATE jobs SET state = 'run', at = now() FROM j WHERE j.id = jobs.id RETURNING jobs.*`, "write rows", ""},
		},
		"upserts": {
			{`INSERT INTO customer(name, mail) VALUES ('a', 'a@b') ON CONFLICT (mail) DO UPDATE SET name = excluded.name RETURNING id`, "write rows", "depends on the other rows"},
			{`INSERT INTO customer(name, mail) VALUES ('a', 'a@b') ON CONFLICT DO NOTHING`, "write rows", "did not conflict"},
			{`INSERT INTO customer(id, name) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET id = 5`, "refused", "key columns"},
			{`INSERT INTO customer(id, name) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET id = excluded.id, name = excluded.name`, "write rows", "depends on the other rows"},
			{`INSERT INTO customer(id, name) VALUES (1, 'a') ON CONFLICT ON CONSTRAINT customer_pkey DO UPDATE SET id = excluded.id`, "write rows", "depends on the other rows"},
			{`INSERT INTO customer(id, name) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET id = excluded.name::int`, "refused", "key columns"},
			{`INSERT INTO customer(id, mail) VALUES (1, 'a') ON CONFLICT (mail) DO UPDATE SET id = excluded.id`, "refused", "key columns"},
			{`INSERT INTO deferred VALUES (1) ON CONFLICT DO NOTHING`, "write rows", ""},
			{`INSERT INTO history(tid) VALUES (1) ON CONFLICT DO NOTHING`, "write rows", ""},
		},
		"triggers, rules, foreign keys": {
			{`UPDATE audited SET x = 1 WHERE id = 1`, "refused", "trigger audit"},
			{`INSERT INTO audited VALUES (1, 2)`, "write text", ""},
			{`DELETE FROM ruled WHERE id = 1`, "refused", "rules"},
			{`INSERT INTO checked VALUES (1)`, "refused", "writer"},
			{`INSERT INTO secured VALUES (1)`, "write text", ""}, // a superuser is not subject to policies
		},
		"functions and procedures": {
			{`SELECT writer(1)`, "refused", "writer"},
			{`SELECT c.attr FROM customer c`, "refused", "attr"},
			{`SELECT reader(1)`, "pass", ""},
			{`UPDATE jobs SET worker = writer(1) WHERE id = 1`, "refused", "writer"},
			{`UPDATE jobs SET worker = reader(1) WHERE id = 1`, "write rows", "reader"},
			{`CALL proc()`, "refused", "procedure"}, {`CALL proc()`, "refused", "Or set capture.triggers to on"},
			{`DO $$ begin end $$`, "refused", "procedure"},
			{`SELECT lo_create(0)`, "refused", "large object"},
			{`SELECT pg_logical_emit_message(true, 'a', 'b')`, "refused", "volatile"},
			{`SELECT query_to_xml('select writer(1)', true, true, '')`, "refused", "volatile"},
			{`SELECT nosuchfunction(1)`, "must fail", ""},
			{`SELECT set_config('work_mem', '1MB', false)`, "pass", ""},
			{`SELECT set_config($1, '1MB', false)`, "pass", ""},
			{`SELECT set_config($1, 'off', false)`, "refused", "computed setting"},
			{`SELECT set_config($1, ' ', false)`, "refused", "computed setting"},
			{`SELECT set_config($1, $2, false)`, "refused", "computed setting"},
			{`SELECT set_config($1, 'Replica', false)`, "pass", ""},
			{`SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'`, "pass", ""},
			{`SELECT 'x'::mood, mood('ok')`, "pass", ""},
		},
		"COPY": {
			{`COPY history FROM STDIN`, "copy", "COPY history FROM STDIN"},
			{`COPY history(tid, bid) FROM STDIN WITH (FORMAT csv, HEADER)`, "copy", ""},
			{`COPY jobs FROM STDIN WITH (FREEZE)`, "copy", "COPY jobs FROM STDIN | "},
			{`COPY customer(name) FROM STDIN`, "copy", "COPY customer(id, created, name) FROM STDIN"},
			{`COPY orders(customer) FROM STDIN WITH (FREEZE, FORMAT csv)`, "copy", "COPY orders(id, customer) FROM STDIN CSV"},
			{`COPY token(n) FROM STDIN BINARY`, "copy", "COPY token(id, other, n) FROM STDIN WITH (FORMAT BINARY)"},
			{`COPY customer(name) FROM STDIN WITH (ENCODING 'latin1')`, "refused", "in another encoding"},
			{`COPY customer(name) FROM STDIN WITH (HEADER match)`, "refused", "HEADER MATCH"},
			{`COPY customer FROM STDIN BINARY`, "copy", ""},
			{`COPY history FROM '/etc/passwd'`, "refused", "file or program"},
			{`COPY history TO PROGRAM 'cat'`, "refused", "file or program"},
			{`COPY (DELETE FROM jobs RETURNING *) TO STDOUT`, "refused", "data-modifying"},
			{`COPY history TO STDOUT`, "pass", ""},
			{`COPY (SELECT 1) TO STDOUT`, "pass", ""},
			{`COPY history FROM STDIN WHERE tid > random()`, "refused", "condition"},
			{`COPY history FROM STDIN WHERE tid > 3`, "copy", ""},
		},
		"cursors": {
			{`DECLARE c CURSOR FOR SELECT * FROM customer`, "pass", ""},
			{`DECLARE c CURSOR WITH HOLD FOR SELECT nextval('counter')`, "refused", "sequence"},
			{`FETCH 5 FROM c`, "pass", ""}, {`MOVE 1 IN c`, "pass", ""}, {`CLOSE ALL`, "pass", ""},
			{`UPDATE jobs SET state = 'x' WHERE CURRENT OF c`, "write rows", ""},
			{`DELETE FROM jobs WHERE CURRENT OF c`, "write rows", ""},
		},
		"unlogged, foreign, views, parents, catalogues": {
			{`INSERT INTO cache VALUES ('a', 'b')`, "refused", "unlogged"},
			{`UPDATE rich SET name = 'x'`, "refused", "view"},
			{`UPDATE top SET x = 1 WHERE id = 1`, "refused", "inheritance"},
			{`INSERT INTO top VALUES (1)`, "write text", ""},
			{`DELETE FROM pg_class`, "refused", "system catalogue"},
			{`DELETE FROM opmux.ddl_counter`, "refused", "opmux's own"},
			{`INSERT INTO nowhere VALUES (1)`, "must fail", ""},
			{`UPDATE jobs SET nocolumn = 1`, "must fail", ""},
		},
		"two-phase commit": {
			{`PREPARE TRANSACTION 'x'`, "commit", ""}, {`COMMIT PREPARED 'x'`, "commit prepared", ""}, {`ROLLBACK PREPARED 'x'`, "rollback prepared", ""},
		},
		"publish nothing": {
			{`SELECT 1`, "pass", ""}, {`SELECT * FROM customer FOR UPDATE`, "pass", ""}, {`TABLE customer`, "pass", ""}, {`VALUES (1)`, "pass", ""},
			{`LISTEN a`, "pass", ""}, {`NOTIFY a, 'b'`, "pass", ""}, {`UNLISTEN *`, "pass", ""}, {`LOCK TABLE jobs`, "pass", ""},
			{`SELECT pg_advisory_lock(1)`, "pass", ""}, {`SELECT pg_sleep(0)`, "pass", ""}, {`SELECT pg_notify('a', 'b')`, "pass", ""},
			{`SHOW search_path`, "pass", ""}, {`SET work_mem = '1MB'`, "pass", ""}, {`RESET ALL`, "pass", ""}, {`DISCARD ALL`, "pass", ""},
			{`SET standard_conforming_strings = off`, "pass", ""}, {`SET standard_conforming_strings = on`, "pass", ""},
			{`SET session_replication_role = replica`, "pass", ""}, {`SET LOCAL session_replication_role TO DEFAULT`, "pass", ""},
			{`SELECT * FROM information_schema.tables`, "pass", ""}, {`CHECKPOINT`, "pass", ""}, {`SET CONSTRAINTS ALL DEFERRED`, "pass", ""},
			{`EXPLAIN DELETE FROM jobs`, "pass", ""}, {`EXPLAIN ANALYZE SELECT 1`, "pass", ""}, {`EXPLAIN (ANALYZE off) DELETE FROM jobs`, "pass", ""},
			{`EXPLAIN ANALYZE DELETE FROM jobs`, "refused", "EXPLAIN ANALYZE"}, {`EXPLAIN ANALYZE SELECT nextval('counter')`, "draw pinned", ""},
			{`VACUUM`, "maintenance", ""}, {`ANALYZE jobs`, "maintenance", ""}, {`REINDEX TABLE jobs`, "maintenance", ""}, {`CREATE DATABASE x`, "maintenance", ""},
		},
		"roles": {
			{`CREATE ROLE x PASSWORD 'secret'`, "refused", "each server's own"}, {`GRANT SELECT ON jobs TO public`, "refused", "each server's own"},
			{`ALTER USER postgres PASSWORD 'secret'`, "refused", "ALTER ROLE"}, {`REVOKE ALL ON jobs FROM public`, "refused", "REVOKE"},
		},
		"checks that read settings": {
			{`INSERT INTO tenanted(id) VALUES (1)`, "refused", "constraint own reads a setting"}, {`UPDATE domained SET t = 1 WHERE id = 1`, "refused", "of_tenant_check reads a setting"},
			{`CREATE TABLE d(t int CHECK (t > current_setting('app.tenant')::int))`, "refused", "calls current_setting"},
			{`ALTER TABLE jobs ADD CHECK (worker > pg_catalog.current_setting('app.tenant')::int)`, "refused", "calls current_setting"},
			{`CREATE DOMAIN d AS int CHECK (value > current_setting('app.tenant')::int)`, "refused", "calls current_setting"},
			{`CREATE TABLE d(t int DEFAULT current_setting('app.tenant')::int)`, "ddl", ""},
		},
		"TRUNCATE": {
			{`TRUNCATE jobs, history`, "write text", "TRUNCATE"}, {`TRUNCATE cache`, "refused", "unlogged"}, {`TRUNCATE customer CASCADE`, "write text", ""},
		},
	}
	for name, list := range groups {
		t.Run(name, func(t *testing.T) {
			r.t = t
			r.check(list)
		})
	}
}

func TestDDL(t *testing.T) {
	r := newRig(t, shop...)
	r.check([]want{
		{`CREATE TABLE n(id serial primary key, x int generated by default as identity)`, "ddl", "CREATE TABLE"},
		{`CREATE TABLE IF NOT EXISTS jobs(id int)`, "ddl", ""}, {`CREATE TEMP TABLE x(id int)`, "pass", ""}, {`CREATE TEMP TABLE x AS SELECT * FROM jobs`, "pass", ""},
		{`CREATE TABLE pg_temp.x(id int)`, "pass", ""}, {`CREATE TEMP TABLE x AS SELECT nextval('counter')`, "draw pinned", ""},
		{`DROP TABLE IF EXISTS nowhere, jobs CASCADE`, "ddl", ""}, {`DROP SCHEMA opmux CASCADE`, "refused", "opmux's own"}, {`DROP EVENT TRIGGER opmux_ddl`, "refused", ""},
		{`DROP FUNCTION opmux.count_ddl()`, "refused", "opmux's own"}, {`ALTER TABLE opmux.ddl_counter RENAME TO x`, "refused", "opmux's own"},
		{`CREATE INDEX ON jobs(state)`, "ddl", ""}, {`CREATE INDEX CONCURRENTLY x ON jobs(state)`, "standalone", ""}, {`DROP INDEX CONCURRENTLY jobs_pkey`, "standalone", ""},
		{`ALTER TABLE jobs ADD COLUMN x int`, "ddl", ""}, {`ALTER TABLE jobs ADD COLUMN x int DEFAULT 5 NOT NULL`, "ddl", ""},
		{`ALTER TABLE jobs ADD COLUMN x serial`, "ddl", "read back"}, {`ALTER TABLE jobs ADD COLUMN x int GENERATED ALWAYS AS IDENTITY`, "refused", "numbers"},
		{`ALTER TABLE jobs ADD COLUMN x timestamptz DEFAULT now()`, "ddl", "pinned"}, {`ALTER TABLE jobs ADD COLUMN x float DEFAULT random()`, "ddl", "read back"},
		{`ALTER TABLE jobs ADD COLUMN x timestamptz DEFAULT 'now'`, "refused", "clock"}, {`ALTER TABLE jobs ADD COLUMN x text DEFAULT 'now'`, "ddl", ""},
		{`ALTER TABLE jobs ADD COLUMN x mood DEFAULT 'ok'`, "ddl", ""},
		{`ALTER TABLE jobs ALTER state TYPE varchar(9)`, "ddl", ""}, {`ALTER TABLE jobs ALTER worker TYPE bigint USING worker + 1`, "ddl", ""},
		{`ALTER TABLE jobs ALTER worker TYPE float USING random()`, "ddl", "read back"}, {`ALTER TABLE jobs ALTER state TYPE date USING state::date`, "ddl", "read back"},
		{`ALTER TABLE jobs ALTER state TYPE mood USING state::mood`, "ddl", ""}, {`ALTER TABLE cache SET LOGGED`, "refused", ""},
		{`ALTER TABLE jobs ADD CONSTRAINT c CHECK (id > 0), DROP COLUMN worker`, "ddl", ""}, {`ALTER TABLE jobs RENAME COLUMN at TO "when"`, "ddl", ""},
		{`ALTER TABLE jobs RENAME TO work`, "ddl", ""}, {`ALTER TABLE jobs SET SCHEMA public`, "ddl", ""}, {`ALTER TABLE jobs OWNER TO postgres`, "ddl", ""},
		{`CREATE SEQUENCE s START 5`, "ddl", ""}, {`CREATE TEMP SEQUENCE s`, "pass", ""}, {`ALTER SEQUENCE counter RESTART`, "ddl", ""},
		{`CREATE VIEW v AS SELECT 1`, "ddl", ""}, {`CREATE TYPE e AS ENUM ('a')`, "ddl", ""}, {`ALTER TYPE mood ADD VALUE 'great'`, "ddl", ""},
		{`CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'`, "ddl", ""}, {`CREATE TRIGGER t BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION touch()`, "ddl", ""},
		{`CREATE SCHEMA app CREATE TABLE x(id int)`, "ddl", ""}, {`COMMENT ON TABLE jobs IS 'x'`, "ddl", ""}, {`CREATE EXTENSION citext`, "ddl", ""},
		{`CREATE MATERIALIZED VIEW m AS SELECT 1`, "ddl", ""}, {`REFRESH MATERIALIZED VIEW summary`, "ddl", ""}, {`CREATE MATERIALIZED VIEW m AS SELECT * FROM summary`, "refused", "no table or view"}, {`CREATE MATERIALIZED VIEW m AS SELECT writer(1)`, "refused", "writer"}, {`REFRESH MATERIALIZED VIEW nowhere`, "ddl", ""}, {`CREATE MATERIALIZED VIEW m AS SELECT 1 WITH NO DATA`, "ddl", ""},
		{`CREATE SERVER s FOREIGN DATA WRAPPER f`, "refused", "another server"}, {`CREATE USER MAPPING FOR x SERVER s OPTIONS (password 'secret')`, "refused", ""},
		{`CREATE SUBSCRIPTION s CONNECTION 'password=secret' PUBLICATION p`, "refused", ""}, {`ALTER SYSTEM SET work_mem = '1MB'`, "maintenance", ""},
		{`CREATE TABLE d(x date DEFAULT 'now')`, "refused", "moment of the clock"}, {`CREATE TABLE d(x text DEFAULT 'now', y timestamptz DEFAULT now())`, "ddl", ""},
		{`CREATE TABLE d(x date CHECK (x > 'today'))`, "refused", "clock"}, {`CREATE TABLE d(x date, b bool GENERATED ALWAYS AS (x > 'today') STORED)`, "refused", "clock"},
		{`CREATE VIEW v AS SELECT 'now'::timestamp`, "refused", "clock"}, {`CREATE VIEW v AS SELECT 'now'::text, now()`, "ddl", ""}, {`ALTER TABLE jobs ALTER at SET DEFAULT 'tomorrow'`, "refused", "clock"},
		{`CREATE TABLE r1 PARTITION OF reading FOR VALUES FROM (now()) TO (MAXVALUE)`, "refused", "bound"}, {`CREATE TABLE r1 PARTITION OF reading FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')`, "ddl", ""},
		{`CREATE TABLE r1 PARTITION OF reading FOR VALUES FROM (MINVALUE) TO ('today')`, "refused", "bound"}, {`COMMENT ON TABLE jobs IS 'now'`, "ddl", ""}, {`CREATE TYPE e AS ENUM ('now')`, "ddl", ""},
		{`CREATE SCHEMA s GRANT ALL ON SCHEMA s TO public`, "refused", "GRANT"}, {`ALTER TABLE jobs SET SCHEMA opmux`, "refused", "opmux's own"}, {`CREATE FUNCTION opmux.f() RETURNS int LANGUAGE sql AS 'select 1'`, "refused", "opmux's own"},
		{`SELECT * INTO TEMP x FROM jobs`, "pass", "temporary"}, {`ALTER TABLE item ALTER qty SET DEFAULT 5, ADD COLUMN made timestamptz NOT NULL DEFAULT now(), ADD COLUMN d date DEFAULT current_date + 1`, "ddl", "pinned"},
		{`CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION touch()`, "refused", ""}, {`SECURITY LABEL ON TABLE jobs IS 'x'`, "refused", "does not know"},
		{`ALTER DATABASE postgres SET work_mem = '1MB'`, "refused", "this server"}, {`CREATE DOMAIN d AS int`, "ddl", ""}, {`DROP TYPE mood`, "ddl", ""},
	})
	for _, sql := range []string{`CREATE TABLE n(id int)`, `CREATE TEMP TABLE x(id int)`, `DROP TABLE jobs`} {
		if p := r.plan(sql); !p.CatalogChanges {
			t.Errorf("%s: CatalogChanges is not set", sql)
		}
	}
	if p := r.plan(`CREATE INDEX ON jobs(state)`); !p.Barrier || p.Class != event.ClassText || len(p.Tables) != 1 || p.Tables[0] != "public.jobs" {
		t.Errorf("CREATE INDEX: %+v", p)
	}
	// The invalid index of a CREATE INDEX CONCURRENTLY that failed is on no backup.
	ops, err := r.plan(`DROP INDEX CONCURRENTLY "Odd"`).Operations(classify.Execution{First: true, Affected: -1})
	if err != nil || len(ops) != 1 || ops[0].Text != `DROP INDEX CONCURRENTLY IF EXISTS "Odd"` {
		t.Errorf("DROP INDEX: %+v, %v", ops, err)
	}
	if p := r.plan(`ALTER EVENT TRIGGER e DISABLE`); p.Refusal.Construct != "ALTER EVENT TRIGGER" {
		t.Errorf("it is called %s", p.Refusal.Construct)
	}
	if p := r.plan(`DROP EVENT TRIGGER opmux_ddl`); !p.Refusal.Always {
		t.Error("dropping opmux's event trigger may be flagged")
	}
	if p := r.plan(`ALTER TABLE reading DETACH PARTITION reading_all FINALIZE`); p.Kind != classify.Refused || len(p.Diverged) != 2 {
		t.Errorf("DETACH PARTITION … FINALIZE: %+v", p)
	}
}

func TestTransactionCommands(t *testing.T) {
	r := newRig(t)
	for sql, kind := range map[string]classify.Kind{
		`BEGIN`: classify.Begin, `START TRANSACTION ISOLATION LEVEL SERIALIZABLE`: classify.Begin, `COMMIT`: classify.Commit, `END`: classify.Commit,
		`COMMIT AND CHAIN`: classify.Commit, `ROLLBACK`: classify.Rollback, `ABORT`: classify.Rollback, `SAVEPOINT a`: classify.Savepoint,
		`ROLLBACK TO a`: classify.RollbackTo, `RELEASE a`: classify.Release, `DEALLOCATE ALL`: classify.Deallocate,
	} {
		if p := r.plan(sql); p.Kind != kind {
			t.Errorf("%s: %v", sql, p.Kind)
		}
	}
	if !r.plan(`COMMIT AND CHAIN`).Chain || r.plan(`SAVEPOINT "A b"`).Name != "A b" || !r.plan(`DISCARD ALL`).DiscardsStatements {
		t.Error("details of transaction commands are lost")
	}
}
