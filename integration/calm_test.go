package integration

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Triggers that only compute columns of the row, as those of every framework that keep
// updated_at, need no capture triggers: what they made is in the rows that come back, and on a target they sleep.
func TestCalmTriggers(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		t.Run(mode.String(), func(t *testing.T) {
			b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: "capture: {chunk: 16KiB}\n"},
				`CREATE TABLE post (id serial PRIMARY KEY, title text, slug text UNIQUE, n int DEFAULT 0, created timestamptz DEFAULT clock_timestamp(), updated timestamptz, words tsvector)`,
				`CREATE TABLE comment (id int PRIMARY KEY, post int REFERENCES post ON DELETE CASCADE, v text)`, `CREATE TABLE part (id int PRIMARY KEY, v text, at timestamptz) PARTITION BY RANGE (id)`,
				`CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (1000)`, `CREATE TABLE part_2 PARTITION OF part DEFAULT`,
				`CREATE FUNCTION set_updated() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated = clock_timestamp(); RETURN NEW; END $$`,
				`CREATE FUNCTION set_words() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					NEW.slug := regexp_replace(lower(NEW.title), '\W+', '-', 'g') || '-' || NEW.id; NEW.words := to_tsvector('pg_catalog.english', coalesce(NEW.title, '')); NEW.n := NEW.n + (random() * 100)::int; RETURN NEW; END $$`,
				`CREATE FUNCTION valid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 'bad' THEN RAISE EXCEPTION 'bad'; END IF; PERFORM pg_notify('comments', NEW.id::text); RETURN NULL; END $$`,
				`CREATE FUNCTION moment() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := now() + interval '1 day' * random(); RETURN NEW; END $$`,
				`CREATE TRIGGER set_updated BEFORE UPDATE ON post FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION set_updated()`,
				`CREATE TRIGGER set_words BEFORE INSERT OR UPDATE OF title ON post FOR EACH ROW EXECUTE FUNCTION set_words()`,
				`CREATE TRIGGER valid AFTER INSERT OR UPDATE ON comment FOR EACH ROW EXECUTE FUNCTION valid()`, `CREATE TRIGGER moment BEFORE INSERT OR UPDATE ON part FOR EACH ROW EXECUTE FUNCTION moment()`)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			for _, sql := range []string{
				`INSERT INTO post (title) VALUES ('One Title'), ('Another'), ('Third') RETURNING id, slug`,
				`UPDATE post SET n = 5 WHERE id = 1`, `UPDATE post SET title = 'New Title' WHERE id = 2 RETURNING *`, `UPDATE post SET n = n`, `UPDATE post SET title = title || '!' WHERE n >= 0`,
				`INSERT INTO post (id, title) VALUES (1, 'Up'), (90000, 'Nine') ON CONFLICT (id) DO UPDATE SET title = excluded.title`,
				`INSERT INTO post (title) SELECT 'many ' || i FROM generate_series(1, 1000) i`, `UPDATE post SET title = 'all of ' || id WHERE id > 20`,
				`BEGIN; UPDATE post SET n = 1 WHERE id = 3; SAVEPOINT s; UPDATE post SET title = 'lost ' || id; ROLLBACK TO s; UPDATE post SET n = 2 WHERE id = 90000; INSERT INTO comment VALUES (1, 1, 'text'); COMMIT`,
				`INSERT INTO comment VALUES (2, 2, 'x'), (3, 3, 'y')`, `UPDATE comment SET v = 'z' WHERE id = 2`, `DELETE FROM post WHERE id = 2`,
				`INSERT INTO part (id, v) SELECT i * 100, 'p' FROM generate_series(1, 20) i`, `UPDATE part SET v = 'q' WHERE id BETWEEN 500 AND 1500`, `DELETE FROM part WHERE id = 100`,
				`WITH p AS (UPDATE post SET n = 7 WHERE id = 1 RETURNING id) INSERT INTO comment SELECT 10, id, 'with' FROM p`, `BEGIN; DELETE FROM comment WHERE id = 3; DELETE FROM post WHERE id = 3; COMMIT`,
			} {
				b.runParts(conn, mode, sql)
			}
			if err := execute(b.ctx, conn, mode, `INSERT INTO comment VALUES (4, 1, 'bad')`); err == nil {
				t.Error("a trigger that fails let a row pass")
			}
			b.identical()
			b.sequencesFollow()
			if v := b.verdicts(19); v.Match != v.Sum() {
				t.Errorf("verdicts %+v, want matches alone", v)
			}
		})
	}
}
