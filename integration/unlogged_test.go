package integration

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

var unloggedSchema = []string{
	`CREATE TABLE done (id int PRIMARY KEY, what text)`,
	`CREATE TABLE node (name text PRIMARY KEY)`, `INSERT INTO node VALUES ('a'), ('b')`,
	// What queues keep so: who leads, and who is there.
	`CREATE UNLOGGED TABLE peers (name text PRIMARY KEY, node text REFERENCES node ON DELETE CASCADE, at timestamptz NOT NULL)`,
	`CREATE UNLOGGED TABLE inbox (id serial PRIMARY KEY, what text, n int DEFAULT 0)`, `CREATE UNLOGGED TABLE line (inbox int REFERENCES inbox ON DELETE CASCADE ON UPDATE CASCADE, v int)`,
	`CREATE UNLOGGED TABLE bag (v int)`, `CREATE UNLOGGED TABLE stamped (id int PRIMARY KEY, at timestamptz)`,
	`CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := now(); RETURN NEW; END $$`, `CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp()`,
	`CREATE UNLOGGED TABLE watched (id int PRIMARY KEY)`, `CREATE UNLOGGED TABLE part_of (id int PRIMARY KEY, up int REFERENCES watched ON DELETE CASCADE)`,
	`CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO done VALUES (coalesce(NEW.id, OLD.id) + 1000, tg_table_name) ON CONFLICT (id) DO UPDATE SET what = done.what || '+'; RETURN NULL; END $$`,
	`CREATE TRIGGER notes AFTER DELETE ON part_of FOR EACH ROW EXECUTE FUNCTION notes()`,
	`CREATE TABLE split (id int PRIMARY KEY) PARTITION BY RANGE (id)`, `CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (0) TO (10)`, `CREATE UNLOGGED TABLE split_2 PARTITION OF split FOR VALUES FROM (10) TO (20)`,
	`CREATE FUNCTION splits(i int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO split VALUES (i); END $$`,
	`CREATE FUNCTION twice(i int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO bag VALUES (i); INSERT INTO done VALUES (i, 'both'); DELETE FROM bag WHERE v < i; END $$`,
}

var unloggedWork = []string{
	`INSERT INTO peers VALUES ('x', 'a', now()), ('y', 'b', clock_timestamp()) ON CONFLICT (name) DO UPDATE SET at = excluded.at RETURNING name`,
	`UPDATE peers SET at = now() WHERE name = 'x' AND at < now() RETURNING node`, `INSERT INTO inbox (what) SELECT 'job ' || i FROM generate_series(1, 9) i`,
	`INSERT INTO line SELECT id, random() * 9 FROM inbox`, `UPDATE inbox SET id = id + 100 WHERE what = 'job 2'`, `UPDATE inbox SET n = n + 1`, `INSERT INTO bag SELECT generate_series(1, 5)`, `UPDATE bag SET v = v + 1`,
	`INSERT INTO watched VALUES (1) ON CONFLICT DO NOTHING`, `INSERT INTO part_of VALUES (7, 1) ON CONFLICT DO NOTHING`, `INSERT INTO stamped VALUES (1), (2)`, `UPDATE stamped SET id = 3 WHERE id = 2`, `DELETE FROM stamped`,
	`INSERT INTO done SELECT id, what FROM inbox ORDER BY random() LIMIT 3 ON CONFLICT DO NOTHING`, `UPDATE done SET what = done.what || i.n FROM inbox i WHERE i.id = done.id`,
	`WITH d AS (DELETE FROM inbox WHERE id IN (SELECT min(id) FROM inbox) RETURNING id, what) INSERT INTO done SELECT id, what FROM d ON CONFLICT (id) DO NOTHING`,
	`WITH d AS (DELETE FROM done WHERE id IN (SELECT min(id) FROM done) RETURNING *) INSERT INTO inbox (id, what) SELECT id + 5000, what FROM d ON CONFLICT (id) DO NOTHING`,
	`DELETE FROM done WHERE id IN (SELECT id FROM inbox)`, `DELETE FROM node WHERE name = 'b'`, `INSERT INTO node VALUES ('b')`,
	`BEGIN; INSERT INTO bag VALUES (1); INSERT INTO done SELECT 300 + count(*), 'block' FROM bag ON CONFLICT DO NOTHING; SAVEPOINT s; DELETE FROM bag; ROLLBACK TO s; COMMIT`,
	`CREATE TABLE made AS SELECT * FROM inbox`, `DROP TABLE made`, `TRUNCATE bag`, `TRUNCATE line, done`,
}

// I6: by policy, what is written to unlogged tables is on no backup, and what is written from them is.
func TestUnloggedTablesBySkipping(t *testing.T) {
	for name, yaml := range map[string]string{"triggers off": "capture: {unlogged: skip}\n", "triggers on": "capture: {unlogged: skip, triggers: true}\n"} {
		t.Run(name, func(t *testing.T) {
			b := up(t, rig.Config{AgentYAML: yaml}, unloggedSchema...)
			for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
				conn := testkit.Connect(t, b.agent("a1").DSN())
				for _, sql := range unloggedWork {
					if strings.HasPrefix(sql, "BEGIN") && mode != pgx.QueryExecModeSimpleProtocol {
						continue
					}
					if err := execute(b.ctx, conn, mode, sql); err != nil {
						t.Errorf("%s: %v", sql, err)
					}
				}
				if _, err := conn.PgConn().CopyFrom(b.ctx, strings.NewReader("copied\n"), `COPY inbox (what) FROM STDIN`); err != nil {
					t.Errorf("COPY: %v", err)
				}
				err := execute(b.ctx, conn, mode, `DELETE FROM watched`) // its cascade fires what writes elsewhere
				if with := name == "triggers on"; with && err != nil || !with && (err == nil || !strings.Contains(err.Error(), "trigger notes")) {
					t.Errorf("a cascade between unlogged tables: %v", err)
				}
				if name == "triggers on" {
					b.must(execute(b.ctx, conn, mode, `SELECT twice((SELECT count(*)::int FROM done) + 9000)`))
					b.must(execute(b.ctx, conn, mode, `MERGE INTO bag USING done ON bag.v = done.id WHEN NOT MATCHED THEN INSERT VALUES (done.id)`))
				}
				for _, sql := range []string{`INSERT INTO split VALUES (12)`, `INSERT INTO split_2 VALUES (12)`, `SELECT splits(12)`} {
					if err := execute(b.ctx, conn, mode, sql); err == nil {
						t.Errorf("%s: what went into an unlogged partition of a table that is followed was carried", sql)
					}
				}
				if err := execute(b.ctx, conn, mode, `ALTER TABLE inbox SET LOGGED`); err == nil {
					t.Error("SET LOGGED was carried, of rows that no backup has")
				}
			}
			b.must(b.Wait(b.ctx, catchUpTimeout))
			for _, table := range []string{"peers", "inbox", "line", "bag", "watched"} {
				if n := b.onBackup("SELECT count(*) FROM " + table)[0][0]; n != "0" {
					t.Errorf("the backup has %s rows in %s", n, table)
				}
			}
			if n := b.onPrimary("SELECT count(*) FROM inbox")[0][0]; n == "0" {
				t.Error("nothing was written to inbox")
			}
			b.sequencesFollow()
			b.throughAgent("TRUNCATE peers, line, inbox, bag, part_of, watched")
			b.identical()
		})
	}
}
