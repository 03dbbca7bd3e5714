package classify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// calmBodies are functions of triggers that compute columns, raise errors and notify.
var calmBodies = []string{
	`BEGIN NEW.at = now(); RETURN NEW; END`,
	`BEGIN IF NEW.v IS DISTINCT FROM OLD.v THEN NEW.at := clock_timestamp(); NEW.tags[1] := lower(NEW.v); END IF; RETURN NEW; END`,
	`DECLARE n int := random() * 10; w text; BEGIN w := coalesce(NEW.v, 'x') || n; NEW.v := w; CASE WHEN n > 100 THEN RAISE EXCEPTION 'large: %', n; ELSE NULL; END CASE; RETURN NEW; END`,
	`BEGIN IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; NEW.v := md5(NEW.v); PERFORM pg_notify('changed', NEW.id::text); RETURN NEW; END`,
	`BEGIN IF NEW.v = 'skip' THEN RETURN NULL; END IF; RETURN NEW; END`,
	`begin new.v := reader(new.id)::text; return new; end`,
	`BEGIN IF (NEW IS DISTINCT FROM OLD AND NEW.at IS NOT DISTINCT FROM OLD.at) THEN NEW.at := current_timestamp; END IF; RETURN NEW; END;`, // Diesel
}

// wildBodies may do more.
var wildBodies = []string{
	`BEGIN INSERT INTO history(tid) VALUES (NEW.id); RETURN NEW; END`,
	`BEGIN PERFORM writer(1); RETURN NEW; END`, `BEGIN NEW.v := writer(1); RETURN NEW; END`, `BEGIN NEW.v := nextval('counter'); RETURN NEW; END`,
	`BEGIN NEW.v := set_config('a.b', 'x', false); RETURN NEW; END`, `BEGIN EXECUTE 'DELETE FROM history'; RETURN NEW; END`,
	`DECLARE x int := writer(1); BEGIN RETURN NEW; END`, `BEGIN NEW := OLD; RETURN NEW; END`, `DECLARE r calm%ROWTYPE; BEGIN RETURN r; END`, `BEGIN NEW.v := (SELECT count(*) FROM jobs); RETURN NEW; END`,
	`BEGIN SELECT 'x' INTO NEW.v; RETURN NEW; END`, `BEGIN BEGIN NEW.v := 1 / 0; EXCEPTION WHEN others THEN NULL; END; RETURN NEW; END`, `BEGIN FOR i IN 1..2 LOOP NEW.v := i; END LOOP; RETURN NEW; END`,
	`BEGIN NEW.v := lo_create(0); RETURN NEW; END`, `BEGIN IF writer(2) > 0 THEN RETURN NEW; END IF; RETURN NEW; END`, `BEGIN RETURN jsonb_populate_record(NEW, '{"v": "x"}'); END`,
	`BEGIN NEW.tags[writer(1)] := 'x'; RETURN NEW; END`, `BEGIN NEW.v := 'a' OPERATOR(public.&&&) 'b'; RETURN NEW; END`, `BEGIN RAISE NOTICE '%', writer(3); RETURN NEW; END`,
	`DECLARE d checked_domain; BEGIN d := 3; RETURN NEW; END`, `DECLARE d odd.k%TYPE; BEGIN d := 3; RETURN NEW; END`, `BEGIN NEW.v := 3::checked_domain; RETURN NEW; END`, `BEGIN SET LOCAL work_mem = '1MB'; RETURN NEW; END`, `BEGIN NEW.v := summed.total FROM summed; RETURN NEW; END`,
}

var calmSchema = append([]string{
	`create table calm (id int primary key, v text, at timestamptz, tags text[])`,
	`create function acts(text, text) returns text language plpgsql as 'begin insert into history(tid) values (1); return $1; end'`, `create operator &&& (function = acts, leftarg = text, rightarg = text)`,
}, shop...)

// I6: only what is known to do no more than compute columns of the row is taken for that.
func TestI6CalmTriggers(t *testing.T) {
	r := newRig(t, append(append([]string{}, calmSchema...), `create domain checked_domain as int check (writer(value) > 0)`, `create table odd (k checked_domain)`)...)
	carried := func(body string) *classify.Plan {
		r.pg.Exec(t, r.db, `create or replace function fired() returns trigger language plpgsql as $f$`+body+`$f$`, `drop trigger if exists fires on calm`,
			`create trigger fires before insert or update or delete on calm for each row execute function fired()`)
		if _, err := r.cat.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r.plan(`UPDATE calm SET v = 'a' WHERE id = 1`)
	}
	for _, body := range calmBodies {
		if p := carried(body); p.Kind != classify.Write || p.Class != event.ClassRows {
			t.Errorf("%s: %v %v, want it carried as rows", body, p.Kind, p.Refusal)
		}
	}
	for _, body := range wildBodies {
		if p := carried(body); p.Kind != classify.Refused || !strings.Contains(p.Refusal.Error(), "trigger fires") {
			t.Errorf("%s: %v %v, want it refused for its trigger", body, p.Kind, p.Refusal)
		}
	}
	for _, sql := range []string{
		`create or replace trigger fires before update on calm for each row when (writer(new.id) > 0) execute function fired()`,
		`create function moddatetime() returns trigger language internal as 'suppress_redundant_updates_trigger'; create or replace trigger fires before update on calm for each row execute function moddatetime(at)`,
		`create or replace trigger fires before update on calm for each row execute function touch(); alter table calm enable always trigger fires`,
		`create or replace trigger fires before update on calm for each row execute function touch(); create table refers (v text references calm(v) on update cascade)`,
	} {
		carried(calmBodies[0])
		r.pg.Exec(t, r.db, `create unique index if not exists calm_v on calm(v)`, sql)
		if _, err := r.cat.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p := r.plan(`UPDATE calm SET v = 'a' WHERE id = 1`); p.Kind != classify.Refused {
			t.Errorf("%s: %v, want it refused", sql, p.Kind)
		}
	}
}

// I6: what calm triggers made of the rows is what a backup has, on which they sleep.
func TestI6CalmTriggersMakeTheBackupTheSame(t *testing.T) {
	for _, level := range []event.Level{event.LevelCount, event.LevelFull} {
		for i, body := range calmBodies {
			t.Run(fmt.Sprint(level, i), func(t *testing.T) {
				r := newReplica(t, level, append(append([]string{}, calmSchema...), `create function fired() returns trigger language plpgsql as $f$`+body+`$f$`,
					`create trigger fires before insert or update or delete on calm for each row execute function fired()`)...)
				for _, sql := range []string{
					`INSERT INTO calm(id, v) VALUES (1, 'A'), (2, 'skip'), (3, 'C')`, `INSERT INTO calm(id, v) SELECT i, 'S' || i FROM generate_series(4, 9) i RETURNING *`, `UPDATE calm SET v = 'D' WHERE id = 1`,
					`UPDATE calm SET v = v || 'x' RETURNING at IS NULL`, `INSERT INTO calm(id, v) VALUES (1, 'up'), (20, 'new') ON CONFLICT (id) DO UPDATE SET v = excluded.v`,
					`WITH x AS (UPDATE calm SET v = 'in with' WHERE id = 3 RETURNING id) DELETE FROM calm WHERE id IN (4, 5)`, `DELETE FROM calm WHERE id = 6`, `DELETE FROM calm WHERE v > 'S8'`,
				} {
					r.run(sql)
					r.same("calm")
				}
			})
		}
	}
}

// I6: what functions of the server's own and of its contrib modules compute, too.
func TestI6KnownTriggersMakeTheBackupTheSame(t *testing.T) {
	r := newReplica(t, event.LevelFull, `create extension moddatetime`, `create extension insert_username`,
		`create table doc (id int primary key, title text, body text, search tsvector, config regconfig default 'simple', at timestamptz default '2020-01-01', by text)`,
		`create trigger a_same before update on doc for each row execute function suppress_redundant_updates_trigger()`, `create trigger at before update on doc for each row execute function moddatetime(at)`,
		`create trigger by before insert or update on doc for each row execute function insert_username("by")`,
		`create trigger search before insert or update on doc for each row execute function tsvector_update_trigger(search, 'pg_catalog.english', title, body)`)
	for _, sql := range []string{
		`INSERT INTO doc (id, title, body) VALUES (1, 'Foxes', 'jump over dogs'), (2, 'Dogs', 'sleep')`, `UPDATE doc SET body = 'run' WHERE id = 1`, `UPDATE doc SET title = title || '!' RETURNING *`, `UPDATE doc SET title = title`,
		`INSERT INTO doc (id, title) VALUES (2, 'again'), (3, 'three') ON CONFLICT (id) DO UPDATE SET title = excluded.title`,
		`DROP TRIGGER search ON doc`, `CREATE TRIGGER search BEFORE INSERT OR UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger_column(search, config, title, body)`, `UPDATE doc SET body = 'the foxes' WHERE id > 1`,
	} {
		r.run(sql)
		r.same("doc")
	}
}
