package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// overtakingSchema has triggers and functions that write rows which the statement that
// fired them wrote, too.
var overtakingSchema = []string{
	`CREATE TABLE node (id int PRIMARY KEY, up int, total int DEFAULT 0)`, `INSERT INTO node VALUES (2, 1), (1, NULL), (4, 3), (3, 2)`,
	`CREATE FUNCTION rolls() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE node SET total = total + NEW.total - OLD.total WHERE id = NEW.up; RETURN NULL; END $$`,
	`CREATE TRIGGER rolls AFTER UPDATE ON node FOR EACH ROW EXECUTE FUNCTION rolls()`,
	`CREATE TABLE one (id int PRIMARY KEY, main bool)`, `INSERT INTO one VALUES (1, false), (2, false)`,
	`CREATE FUNCTION alone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE one SET main = false WHERE id <> NEW.id AND main; RETURN NULL; END $$`,
	`CREATE TRIGGER alone AFTER INSERT OR UPDATE ON one FOR EACH ROW WHEN (NEW.main) EXECUTE FUNCTION alone()`,
	`CREATE TABLE kept (id int PRIMARY KEY, n int DEFAULT 0)`, `INSERT INTO kept VALUES (1), (2)`,
	`CREATE FUNCTION comes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO kept VALUES (OLD.id % 2 + 1, 9) ON CONFLICT DO NOTHING; RETURN NULL; END $$`,
	`CREATE TRIGGER comes AFTER DELETE ON kept FOR EACH ROW EXECUTE FUNCTION comes()`,
	`CREATE TABLE bag (v text, seen bool DEFAULT false)`, `INSERT INTO bag VALUES ('a'), ('b')`,
	`CREATE FUNCTION sees() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE bag SET seen = true WHERE v <> NEW.v AND NOT seen AND v LIKE '%!'; RETURN NULL; END $$`,
	`CREATE TRIGGER sees AFTER UPDATE ON bag FOR EACH ROW WHEN (NOT NEW.seen) EXECUTE FUNCTION sees()`,
	// What runs while the statement still writes: a BEFORE trigger, a function.
	`CREATE TABLE main (id int PRIMARY KEY, owner int, main bool, n int DEFAULT 0)`, `CREATE UNIQUE INDEX ON main (owner) WHERE main`,
	`CREATE FUNCTION first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE main SET main = false, n = n + 1 WHERE owner = NEW.owner AND main AND id <> NEW.id; RETURN NEW; END $$`,
	`CREATE TRIGGER first BEFORE INSERT OR UPDATE ON main FOR EACH ROW WHEN (NEW.main) EXECUTE FUNCTION first()`,
	`CREATE TABLE pulled (id int PRIMARY KEY, n int)`, `INSERT INTO pulled SELECT i, 0 FROM generate_series(1, 5) i`,
	`CREATE FUNCTION pull(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN UPDATE pulled SET n = n + 100 WHERE id = i - 1; RETURN i; END $$`,
	// Places in a list.
	`CREATE TABLE item (id int PRIMARY KEY, list int, place int)`,
	`CREATE FUNCTION shifts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF pg_trigger_depth() = 1 THEN UPDATE item SET place = place + 1 WHERE list = NEW.list AND place >= NEW.place AND id <> NEW.id; END IF; RETURN NULL; END $$`,
	`CREATE TRIGGER shifts AFTER INSERT OR UPDATE OF place ON item FOR EACH ROW EXECUTE FUNCTION shifts()`,
	`CREATE FUNCTION closes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE item SET place = place - 1 WHERE list = OLD.list AND place > OLD.place; RETURN NULL; END $$`,
	`CREATE TRIGGER closes AFTER DELETE ON item FOR EACH ROW EXECUTE FUNCTION closes()`,
	// A closure of a tree.
	`CREATE TABLE part_of (id int PRIMARY KEY, up int REFERENCES part_of ON DELETE CASCADE, depth int DEFAULT 0)`,
	`CREATE FUNCTION deepens() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE part_of SET depth = NEW.depth + 1 WHERE up = NEW.id AND depth <> NEW.depth + 1; RETURN NULL; END $$`,
	`CREATE TRIGGER deepens AFTER INSERT OR UPDATE ON part_of FOR EACH ROW EXECUTE FUNCTION deepens()`,
	`CREATE TABLE spread (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k)`, `CREATE TABLE spread_1 PARTITION OF spread FOR VALUES FROM (0) TO (100)`,
	`CREATE TABLE spread_2 PARTITION OF spread FOR VALUES FROM (100) TO (200)`, `INSERT INTO spread SELECT i, i * 20, 'v' FROM generate_series(1, 9) i`,
	`CREATE FUNCTION nudges() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_trigger_depth() < 3 THEN UPDATE spread SET k = (k + 60) % 200, v = v || NEW.id WHERE id = NEW.id % 9 + 1; END IF; RETURN NULL; END $$`,
	`CREATE TRIGGER nudges AFTER INSERT OR UPDATE ON spread FOR EACH ROW EXECUTE FUNCTION nudges()`,
}

var overtakingWork = []string{
	`UPDATE node SET total = total + 5`, `UPDATE node SET total = total + 5 WHERE id IN (2, 4)`, `UPDATE node SET total = total + 1 WHERE up IS NULL`,
	`UPDATE one SET main = true`, `UPDATE one SET main = true WHERE id = 1`, `INSERT INTO one SELECT i, true FROM generate_series((SELECT max(id) + 1 FROM one), (SELECT max(id) + 5 FROM one)) i`,
	`DELETE FROM kept`, `UPDATE bag SET v = v || '!'`, `UPDATE bag SET v = v || '?' WHERE v LIKE 'a%'`,
	`DO $$ BEGIN UPDATE node SET total = 7 WHERE id = 2; UPDATE node SET total = 9 WHERE id = 1; UPDATE node SET total = 8 WHERE id = 2; END $$`,
	`INSERT INTO main SELECT i, i % 2, true FROM generate_series((SELECT count(*) + 1 FROM main), (SELECT count(*) + 6 FROM main)) i`, `UPDATE main SET main = true, n = n + 5 WHERE id IN (1, 3)`, `TRUNCATE main`,
	`UPDATE pulled SET n = pull(id)`, `TRUNCATE pulled`, `BEGIN; INSERT INTO pulled SELECT i, 0 FROM generate_series(1, 5) i; UPDATE pulled SET n = pull(id); COMMIT`,
	`TRUNCATE pulled`, `INSERT INTO pulled SELECT i, 0 FROM generate_series(1, 5) i`,
	`INSERT INTO item SELECT i, 1, 1 + i % 3 FROM generate_series((SELECT coalesce(max(id), 0) + 1 FROM item), (SELECT coalesce(max(id), 0) + 6 FROM item)) i`, `UPDATE item SET place = 2 WHERE id IN (1, 3, 5)`, `DELETE FROM item WHERE place IN (1, 2, 4)`,
	`INSERT INTO part_of SELECT i, CASE WHEN i > 1 THEN i / 2 END FROM generate_series(8, 1, -1) i`, `UPDATE part_of SET depth = 7`, `DELETE FROM part_of WHERE up IS NULL`,
	`UPDATE spread SET v = v || '+'`, `UPDATE spread SET k = (k + 100) % 200`,
	`BEGIN; DELETE FROM one; INSERT INTO one SELECT i, false FROM generate_series(1, 6) i; UPDATE one SET main = true; UPDATE one SET main = true WHERE id < 4; DELETE FROM one WHERE id > 3; COMMIT`,
	`BEGIN; SAVEPOINT s; UPDATE node SET total = total * 2 + 1; ROLLBACK TO s; UPDATE node SET total = total + 3; RELEASE s; UPDATE node SET total = total + 1; COMMIT`,
	`DO $$ BEGIN BEGIN UPDATE node SET total = total + 9; RAISE EXCEPTION 'undone' USING ERRCODE = 'P0002'; EXCEPTION WHEN no_data_found THEN UPDATE one SET main = true; END; UPDATE node SET total = total + 2; END $$`,
	`MERGE INTO one o USING generate_series(1, 5) s (id) ON o.id = s.id WHEN MATCHED THEN UPDATE SET main = true WHEN NOT MATCHED THEN INSERT VALUES (s.id, true)`,
}

// I6: what a trigger writes is kept before rows of its statement that were written before
// it. Where it wrote one of these, a backup has them in the order of the writes.
func TestI6TriggersThatOvertakeTheirStatement(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, overtakingSchema...)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for range 2 {
			for _, sql := range overtakingWork {
				b.runParts(conn, mode, sql)
			}
			b.identical()
		}
	}
	// Rows that are to be moved are held, as many as there is room for.
	b.throughAgent(`INSERT INTO one SELECT i, true FROM generate_series(1001, 1900) i`)
	conn, many := testkit.Connect(t, b.agent("a1").DSN()), &pgconn.PgError{}
	if _, err := conn.Exec(b.ctx, `INSERT INTO one SELECT i, true FROM generate_series(2001, 12000) i`); !errors.As(err, &many) || many.Code != "54000" {
		t.Errorf("too many rows to be held: %v, want 54000", err)
	}
	b.throughAgent(`INSERT INTO one SELECT i, false FROM generate_series(2001, 12000) i`)
	b.identical()
	// An agent of an older build that starts beside this one puts its own function back.
	b.onPrimary(`CREATE OR REPLACE FUNCTION opmux.capture_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
		INSERT INTO opmux.captured VALUES (pg_current_xact_id(), left(tg_op, 1), tg_relid, NULL, NULL, convert_to(format('%s', new), 'UTF8')); RETURN NULL; END $$`)
	if _, err := conn.Exec(b.ctx, `INSERT INTO one VALUES (20000, true)`); err == nil || !strings.Contains(err.Error(), "agents of different versions") {
		t.Errorf("images of an older build: %v, want a refusal", err)
	}
	b.identical()
	if n := b.onPrimary("SELECT count(*) FROM opmux.captured")[0][0]; n != "0" {
		t.Errorf("%s images were left behind", n)
	}
}

// overtakingRounds is how many tables each part of the random test makes; OPMUX_ROUNDS is another number.
const overtakingRounds = 20

// I6: tables whose triggers write any other of their rows, in any way, are the same on a
// backup, or the statement is refused, which few are. How few is held against tables that
// are the same each time, since one unlucky table has most of its statements refused;
// OPMUX_SEED is of the others.
func TestI6RandomTriggersThatWriteTheirOwnTable(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn})
	done, refused := b.overtake("same", 1)
	if refused*50 > done {
		t.Errorf("%d statements were refused, of %d", refused, done+refused)
	}
	seed := testkit.FromEnv(t, "OPMUX_SEED", rand.Uint64()>>1) //nolint:gosec // no secret
	t.Logf("OPMUX_SEED=%d", seed)
	b.overtake("other", seed)
}

// overtake makes tables by a seed, and statements on them; it tells how many were carried, and refused.
func (b *bench) overtake(name string, seed uint64) (done, refused int) {
	b.t.Helper()
	rounds := testkit.FromEnv(b.t, "OPMUX_ROUNDS", overtakingRounds)
	r := &randomTriggers{rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // no secret
	for round := range rounds {
		conn := testkit.Connect(b.t, b.agent("a1").DSN())
		table := fmt.Sprintf("%s%d", name, round)
		b.must(execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, "SET statement_timeout = '2s'")) // of what grows without end
		script := r.schema(table)
		for _, sql := range script {
			if err := execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, sql); err != nil {
				b.t.Fatalf("%s: %v", sql, err)
			}
		}
		for range 25 {
			sql := r.statement(table)
			script = append(script, sql)
			err := execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, sql)
			switch {
			case err == nil:
				done++
			case strings.Contains(err.Error(), "opmux"):
				refused++
				b.t.Logf("%s: %v", sql, err)
			}
			if conn.PgConn().TxStatus() == 'E' || err != nil && conn.PgConn().TxStatus() == 'T' {
				_ = execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, "ROLLBACK")
			}
		}
		if conn.PgConn().TxStatus() == 'T' {
			b.must(execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, "COMMIT"))
		}
		if round%8 == 7 || round == rounds-1 {
			b.identical()
		}
		if b.t.Failed() {
			b.t.Fatalf("the last of the tables:\n%s;", strings.Join(script, ";\n"))
		}
	}
	b.t.Logf("%d statements were carried, %d refused", done, refused)
	return done, refused
}

type randomTriggers struct{ *rand.Rand }

func (r *randomTriggers) of(list ...string) string { return list[r.IntN(len(list))] }

// schema makes a table and what its triggers do.
func (r *randomTriggers) schema(table string) []string {
	key := r.of("PRIMARY KEY", "PRIMARY KEY", "PRIMARY KEY", "UNIQUE", "")
	unique := r.of("", "", ", UNIQUE (place)", ", UNIQUE (place) DEFERRABLE")
	list := []string{
		fmt.Sprintf("CREATE TABLE %s (id int NOT NULL %s, grp int, n int DEFAULT 0, place int, flag bool DEFAULT false%s)", table, key, unique),
		fmt.Sprintf("CREATE FUNCTION %s_f(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN %s; RETURN i; END $$", table, r.write(table, "i")),
		fmt.Sprintf("INSERT INTO %s (id, grp, place) SELECT i, i %% 3, 100 + i FROM generate_series(1, 8) i", table),
	}
	for n := range 1 + r.IntN(3) {
		when, event, each := r.of("BEFORE", "AFTER", "AFTER", "AFTER"), r.of("INSERT", "UPDATE", "DELETE", "INSERT OR UPDATE", "INSERT OR UPDATE OR DELETE"), r.of("ROW", "ROW", "ROW", "ROW", "STATEMENT")
		row, returns := "coalesce(NEW.id, OLD.id)", "RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END"
		if each == "STATEMENT" {
			row, returns = strconv.Itoa(r.IntN(10)), "RETURN NULL"
		}
		body := r.write(table, row)
		if r.IntN(3) == 0 {
			body += "; " + r.write(table, row)
		}
		if r.IntN(5) == 0 {
			body = "BEGIN " + body + "; IF " + row + " % 2 = 0 THEN RAISE EXCEPTION 'undone' USING ERRCODE = 'P0002'; END IF; EXCEPTION WHEN no_data_found THEN " + r.write(table, row) + "; END"
		}
		list = append(list,
			fmt.Sprintf("CREATE FUNCTION %s_%d() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_trigger_depth() <= %d THEN %s; END IF; %s; END $$", table, n, 1+r.IntN(2), body, returns),
			fmt.Sprintf("CREATE TRIGGER t%d %s %s ON %s FOR EACH %s EXECUTE FUNCTION %s_%d()", n, when, event, table, each, table, n))
	}
	return list
}

// write is a statement about rows near one.
func (r *randomTriggers) write(table, row string) string {
	return fmt.Sprintf(r.of(
		"UPDATE %[1]s SET n = n + 1 WHERE grp = (%[2]s) %% 3 AND id <> %[2]s",
		"UPDATE %[1]s SET n = n * 2 + (%[2]s) WHERE id = (%[2]s) / 2",
		"UPDATE %[1]s SET flag = false, n = n + 1 WHERE id <> %[2]s AND flag",
		"UPDATE %[1]s SET flag = NOT flag WHERE id > %[2]s",
		"UPDATE %[1]s SET n = n + 7 WHERE id IN ((%[2]s) - 1, (%[2]s) + 1)",
		"UPDATE %[1]s SET place = place + 1000 WHERE id = (%[2]s) + 1",
		"UPDATE %[1]s SET place = NULL WHERE grp = (%[2]s) %% 3",
		"UPDATE %[1]s SET id = id + 20 WHERE id = (%[2]s) + 1 AND NOT EXISTS (SELECT FROM %[1]s x WHERE x.id = %[2]s + 21)",
		"DELETE FROM %[1]s WHERE id = (%[2]s) + 1",
		"DELETE FROM %[1]s WHERE id > (%[2]s) AND n %% 3 = 1",
		"INSERT INTO %[1]s (id, grp, n) SELECT (%[2]s) + 1, 0, 1000 WHERE NOT EXISTS (SELECT FROM %[1]s x WHERE x.id = %[2]s + 1)",
		"INSERT INTO %[1]s (id, grp, n) SELECT (%[2]s) %% 8 + 1, 1, 2000 WHERE NOT EXISTS (SELECT FROM %[1]s x WHERE x.id = (%[2]s) %% 8 + 1)",
	), table, row)
}

// statement is one of a client, of several rows.
func (r *randomTriggers) statement(table string) string {
	some := r.of("true", "id < 6", "id % 2 = 0", "grp = 1", "id IN (1, 2, 3)", "n < 10")
	return fmt.Sprintf(r.of(
		"UPDATE %[1]s SET n = n + 1 WHERE %[2]s", "UPDATE %[1]s SET n = n + 1, flag = true WHERE %[2]s", "UPDATE %[1]s SET flag = true WHERE %[2]s",
		"UPDATE %[1]s SET id = id + 100 WHERE %[2]s", "UPDATE %[1]s SET id = -id WHERE %[2]s", "UPDATE %[1]s SET place = id * 2 WHERE %[2]s", "UPDATE %[1]s SET place = place - 1 WHERE %[2]s",
		"UPDATE %[1]s SET n = n + %[1]s_f(id) WHERE %[2]s", "DELETE FROM %[1]s WHERE %[2]s", "DELETE FROM %[1]s WHERE %[2]s AND %[1]s_f(id) > 0",
		"INSERT INTO %[1]s (id, grp, flag) SELECT i, i %% 3, i %% 2 = 0 FROM generate_series(1, 9) i WHERE NOT EXISTS (SELECT FROM %[1]s x WHERE x.id = i)",
		"INSERT INTO %[1]s (id, grp, flag) SELECT %[1]s_f(i), i %% 3, true FROM generate_series(9, 1, -1) i WHERE NOT EXISTS (SELECT FROM %[1]s x WHERE x.id = i)",
		"MERGE INTO %[1]s t USING generate_series(1, 12) i ON t.id = i WHEN MATCHED AND i %% 4 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = t.n + 3 WHEN NOT MATCHED THEN INSERT (id, grp) VALUES (i, i %% 3)",
		"WITH d AS (DELETE FROM %[1]s WHERE id > 6 RETURNING *) UPDATE %[1]s SET n = n + 1 WHERE id <= 6 AND %[2]s",
		"DO $$ BEGIN DELETE FROM %[1]s WHERE %[2]s; INSERT INTO %[1]s (id, grp) SELECT i, i %% 3 FROM generate_series(1, 8) i WHERE NOT EXISTS (SELECT FROM %[1]s x WHERE x.id = i); UPDATE %[1]s SET flag = true; END $$",
		"BEGIN", "COMMIT", "BEGIN; SAVEPOINT s; UPDATE %[1]s SET n = n + 50 WHERE %[2]s; ROLLBACK TO s; UPDATE %[1]s SET n = n + 2; COMMIT",
	), table, some)
}
