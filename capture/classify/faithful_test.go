package classify_test

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
)

// I6: what Operations publishes makes a second database the same, whatever the
// statement, at each level.
func TestI6PublishedOperationsMakeTheBackupTheSame(t *testing.T) {
	for _, level := range []event.Level{event.LevelCount, event.LevelFull} {
		t.Run(string(level), func(t *testing.T) { faithful(newReplica(t, level, shop...)) })
	}
}

func faithful(r *replica) {
	r.set("TimeZone", "America/New_York")
	tables := []string{"customer", "orders", "item", "token", "history", "jobs", "reading", "top", "deferred", "tree", "sequences"}
	statements := []struct {
		sql  string
		args []any
	}{
		{`INSERT INTO customer(name, mail) VALUES ('ann', 'ann@x'), ('bob', NULL), (upper('cy'), 'cy@x')`, nil},
		{`INSERT INTO customer VALUES (DEFAULT, 'dee', 'dee@x', DEFAULT, now() - interval '3 days')`, nil},
		{`INSERT INTO customer AS c (name, feeling) VALUES ($1, $2) RETURNING id, now(), c.*`, []any{"e'e\\", "sad"}},
		{`INSERT INTO orders(customer, total, due, tags, doc) VALUES (1, 10.505, CURRENT_DATE, '{a,"b c"}', '{"k": [1, null]}') RETURNING *`, nil},
		{`INSERT INTO orders(customer, due, tags) VALUES ($1, $2, $3), (2, 'tomorrow', ARRAY['x']) -- trailing comment`, []any{1, "yesterday", "{q}"}},
		{`INSERT INTO orders DEFAULT VALUES`, nil}, // fails: customer is NOT NULL
		{`INSERT INTO item("order", no, price) VALUES (1, 1, 2.5), (1, 2, NULL)`, nil},
		{`INSERT INTO item("order", no, price, qty) SELECT 2, g, random(), g FROM generate_series(1, 5) g RETURNING "order"`, nil},
		{`INSERT INTO token(n) VALUES (1), (2), (random() * 100)`, nil},
		{`INSERT INTO token DEFAULT VALUES`, nil},
		{`INSERT INTO history VALUES (1, 2, 3, LOCALTIMESTAMP, 'x'), (1, 2, 3, CURRENT_TIMESTAMP, 'y'), (1, 2, 3, clock_timestamp(), 'z')`, nil},
		{`INSERT INTO history(tid, mtime) VALUES ($2, $1)`, []any{"now", 5}},
		{`INSERT INTO jobs(id, state, at) SELECT g, 'new', now() FROM generate_series(1, 10) g`, nil},
		{`INSERT INTO reading VALUES (1, '2026-01-01 12:00', 1.1), (2, now(), 1e-7)`, nil},
		{`INSERT INTO top VALUES (1, 2), (2, 3)`, nil}, {`INSERT INTO sub VALUES (3, 4)`, nil},
		{`INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2)`, nil}, {`INSERT INTO deferred VALUES (1, 1), (2, 2)`, nil},
		{`INSERT INTO jobs(id) VALUES (nextval('counter'))`, nil}, // fails: duplicate, the draw stays
		{`SELECT nextval('counter') FROM generate_series(1, 4)`, nil},
		{`INSERT INTO jobs(id, worker) VALUES (100 + nextval('counter'), $1)`, []any{nil}},
		{`UPDATE customer SET name = name || $1, note = lower(note) WHERE id = $2`, []any{"-x", 1}},
		{`UPDATE customer SET name = 'nobody' WHERE id = 999`, nil},
		{`UPDATE customer AS c SET created = now(), note = DEFAULT WHERE c.id = 2 AND c.name <> 'q' RETURNING c.id, c.created`, nil},
		{`UPDATE customer SET created = DEFAULT WHERE id = 3`, nil},
		{`UPDATE customer SET feeling = 'sad' WHERE mail LIKE '%x' RETURNING *;`, nil},
		{`UPDATE customer SET id = 50 WHERE id = 1`, nil}, // cascades to orders
		{`UPDATE orders SET tags = tags || '{z}', total = total + 1 WHERE customer IN (SELECT id FROM customer WHERE feeling = 'sad')`, nil},
		{`UPDATE item AS i SET qty = i.qty * 2, price = o.total FROM orders o WHERE o.id = i."order" AND i.no > 1`, nil},
		{`UPDATE item SET qty = 7 WHERE "order" = 1 AND no = $1 RETURNING total`, []any{1}},
		{`WITH j AS (SELECT id FROM jobs WHERE state = 'new' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 2) UPDATE jobs SET state = 'run', at = clock_timestamp(), worker = pg_backend_pid() FROM j WHERE j.id = jobs.id RETURNING jobs.*`, nil},
		{`DELETE FROM jobs WHERE id = (SELECT id FROM jobs ORDER BY random() FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING *`, nil},
		{`DELETE FROM jobs USING customer c WHERE c.id = jobs.id`, nil},
		{`DELETE FROM reading WHERE sensor = 1 AND at = '2026-01-01 12:00'`, nil},
		{`UPDATE reading SET v = sin(v)`, nil},
		{`INSERT INTO customer(id, name, mail) VALUES (70, 'x', 'cy@x'), (71, 'y', 'new@x') ON CONFLICT (mail) DO UPDATE SET name = excluded.name || customer.name, created = now() RETURNING id`, nil},
		{`INSERT INTO customer(name, mail) VALUES ('x', 'cy@x'), ('z', 'zed@x') ON CONFLICT DO NOTHING`, nil},
		{`INSERT INTO customer(name, mail) VALUES ('x', 'cy@x') ON CONFLICT DO NOTHING RETURNING id`, nil},
		{`INSERT INTO jobs AS q (id, state) VALUES (3, 'a') ON CONFLICT (id) DO UPDATE SET state = q.state || 'b', worker = 1 WHERE q.id = 3`, nil},
		{`DELETE FROM customer WHERE id = 50`, nil}, // cascades to orders and item
		{`DELETE FROM customer WHERE id = $1 AND name = $2`, []any{2, "bob"}},
		{`DELETE FROM orders WHERE total > (SELECT min(total) FROM orders)`, nil},
		{`UPDATE token SET n = n + 1, other = gen_random_uuid()`, nil},
		{`SELECT setval('counter', 1000)`, nil}, {`SELECT setval('counter', (SELECT max(id) FROM customer), false)`, nil}, {`SELECT setval('counter', 1, false)`, nil},
		{`SELECT setval('counter', 40), setval(pg_get_serial_sequence('customer', 'id'), max(id), max(id) IS NOT NULL) FROM customer`, nil},
		{`PREPARE p(int, text) AS UPDATE customer SET name = $2, created = now() WHERE id = $1 RETURNING name`, nil}, {`EXECUTE p(4, 'prepared')`, nil},
		{`PREPARE q AS INSERT INTO customer(name) VALUES ($1)`, nil}, {`EXECUTE q('by name')`, nil},
		{`PREPARE v AS UPDATE jobs SET worker = $1 WHERE id > $2`, nil}, {`EXECUTE v(2 + 3, 4)`, nil},
		{`CREATE TABLE made(id serial primary key, "select" text, "Mixed Case" int default 4)`, nil},
		{`INSERT INTO made("select") VALUES ('q')`, nil}, {`ALTER TABLE made ADD COLUMN c text DEFAULT 'now'`, nil}, {`ALTER TABLE made DROP COLUMN "select"`, nil},
		{`INSERT INTO made("Mixed Case", c) VALUES (1, 'x'), (DEFAULT, 'y')`, nil}, {`INSERT INTO made(c) SELECT 'sel' RETURNING *`, nil},
		{`UPDATE made SET "Mixed Case" = "Mixed Case" + 1 WHERE id > 0`, nil}, {`UPDATE made m SET "Mixed Case" = 9 WHERE m.id = 1`, nil},
		{`ALTER TABLE made ADD COLUMN at timestamptz NOT NULL DEFAULT now(), ADD COLUMN d date DEFAULT current_date + 1, ALTER c SET DEFAULT 'q'`, nil},
		{`ALTER TABLE made ALTER at SET DEFAULT '2020-01-01'`, nil}, {`ALTER TABLE made ADD COLUMN IF NOT EXISTS at timestamptz DEFAULT now(), ADD COLUMN IF NOT EXISTS e timestamptz DEFAULT now()`, nil},
		{`INSERT INTO made DEFAULT VALUES`, nil}, {`SELECT nextval('made_id_seq')`, nil},
		{`INSERT INTO history SELECT g % 3, g % 2, 0, NULL, NULL FROM generate_series(1, 20) g`, nil},
		{`INSERT INTO history SELECT g % 3, g % 2, 0, NULL, e'a "quoted\\ {one}, ' FROM generate_series(1, 9) g`, nil},
		{`DELETE FROM history WHERE ctid IN (SELECT ctid FROM history WHERE tid = 1 LIMIT 3) RETURNING tid`, nil},
		{`DELETE FROM history AS h USING customer c WHERE c.id = h.bid AND h.filler > $1`, []any{"a"}},
		{`DELETE FROM history WHERE tid = 77`, nil}, {`DELETE FROM history WHERE tid = 2 AND filler IS NULL`, nil}, {`DELETE FROM deferred WHERE x = 2`, nil},
		{`WITH c AS (INSERT INTO customer(name, mail) VALUES ('wi', 'wi@x'), ('th', NULL) RETURNING *), o AS (INSERT INTO orders(customer, total) SELECT id, 7 FROM c RETURNING id, customer)
			INSERT INTO item("order", no, price) SELECT id, customer, 3 FROM o -- trailing`, nil},
		{`WITH gone AS (DELETE FROM jobs WHERE id > 100 RETURNING id, state AS s) INSERT INTO history(tid, filler) SELECT id, s FROM gone RETURNING tid`, nil},
		{`WITH new(i) AS (INSERT INTO jobs(id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id) SELECT i FROM new UNION ALL SELECT id FROM jobs WHERE id = $1 LIMIT 1`, []any{4000}},
		{`WITH new(i) AS (INSERT INTO jobs(id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id) SELECT i FROM new UNION ALL SELECT id FROM jobs WHERE id = $1 LIMIT 1`, []any{4000}},
		{`WITH a AS (UPDATE jobs SET state = 'with' WHERE id < 5), b AS (UPDATE customer c SET note = j.state FROM jobs j WHERE j.id = c.id RETURNING c.*, j.state AS "of job") DELETE FROM history WHERE filler IS NULL`, nil},
		{`WITH i AS (INSERT INTO jobs(id) VALUES (4000)), d AS (DELETE FROM jobs WHERE id = 4000 RETURNING id) SELECT 1`, nil},
		{`WITH up AS (INSERT INTO jobs(id, state) VALUES (4000, 'x'), (4001, 'y') ON CONFLICT (id) DO UPDATE SET state = excluded.state RETURNING *), h AS (DELETE FROM history RETURNING *) SELECT count(*), max(h.tid) FROM up, h`, nil},
		{`WITH item_gone AS (DELETE FROM item WHERE "order" > 3), order_gone AS (DELETE FROM orders WHERE id > 3) DELETE FROM customer WHERE id > 60 RETURNING id, (SELECT count(*) FROM item)`, nil},
		{`PREPARE w(int) AS /* ( */ WITH d AS (DELETE FROM jobs WHERE id = $1 RETURNING id) INSERT INTO history(tid) SELECT id + 1 FROM d`, nil}, {`EXECUTE w(4001)`, nil}, {`EXECUTE w(2 + 2)`, nil},
		{`TRUNCATE history, made RESTART IDENTITY`, nil},
	}
	for _, s := range statements {
		r.run(s.sql, s.args...)
		r.same(tables...)
		if strings.Contains(s.sql, "made") {
			r.same("made")
		}
		if r.t.Failed() {
			r.t.Fatalf("after %s", s.sql)
		}
	}
}
