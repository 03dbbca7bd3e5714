package catalog_test

import (
	"context"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/testkit"
)

// I5: a statement waits for a table that somebody holds on the client's session and not
// on the agent's, where the wait ends by lock_timeout and no deadlock is seen.
func TestI5TablesThatOthersHoldAreDescribedAtOnce(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `create domain posint as integer default 7 check (value > 0)`,
		`create table held (id serial primary key, n posint, a int not null check (a > 0), b int default 1 + 1, g int generated always as (a * 2) stored,
			up int references held on delete cascade)`,
		`create index on held (a) where b > 0`, `create unique index on held ((a + 1))`,
		`create policy p on held using (a > 0) with check (b > 0)`, `alter table held enable row level security`,
		`create rule r as on delete to held where old.a = 1 do instead nothing`,
		`create table parts (id int primary key, v int check (v > 0)) partition by range (id)`,
		`create table part partition of parts for values from (0) to (10)`,
		`create view seen as select a, upper(b::text) as b from held where a > 0`, `create view above as select count(*) from seen`)
	c := open(t, pg.DSN(db))
	holder := pg.Connect(t, db)
	if _, err := holder.Exec(context.Background(), `begin; lock table held, part, parts, seen, above in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range []string{"held", "parts", "part", "seen"} {
		if _, err := c.Table(ctx, nil, []string{"pg_catalog", "public"}, "", name); err != nil {
			t.Errorf("%s, which another session holds: %v", name, err)
		}
	}
	for _, name := range []string{"seen", "above"} {
		if plain, err := c.PlainView(ctx, nil, "public", name); err != nil || !plain {
			t.Errorf("view %s, which another session holds: plain %v, %v", name, plain, err)
		}
	}
}

// I6: reading a view is looked at where anything in it could have an effect.
func TestI6ViewsThatAreNotPlain(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `create sequence s`, `create table t (a int)`, `create table hidden (a int)`, `create table open (a int)`, `create policy p on open using (a > 0)`,
		`create function f(int) returns int language sql as 'select 1'`, `create operator ## (rightarg = int, function = f)`,
		`create aggregate total (int) (sfunc = int4pl, stype = int)`, `create domain checked as int check (f(value) > 0)`,
		`create policy p on hidden using (f(a) > 0)`)
	c := open(t, pg.DSN(db))
	for query, plain := range map[string]bool{
		`select a + 1 as a from t where a in (select a from t) group by a`: true, `select now() as a`: true, `select a from open`: true, `select 1::checked as a`: false,
		`select nextval('s') as a`: false, `select set_config('x.y', 'z', false) as a`: false, `select f(a) as a from t`: false, `select ## a as a from t`: false,
		`select total(a) as a from t`: false, `select a from hidden`: false, `select a from t where a in (select random() from t)`: false, `select * from f(1) a`: false,
	} {
		pg.Exec(t, db, `drop view if exists v cascade`, `create view v as `+query, `create view over as select a from v`)
		for _, name := range []string{"v", "over"} {
			if got, err := c.PlainView(context.Background(), nil, "public", name); err != nil || got != plain {
				t.Errorf("%s of %s: plain %v, want %v (%v)", name, query, got, plain, err)
			}
		}
	}
}

// I6: what reads a setting is found however it is written.
func TestI6ChecksThatReadSettings(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db,
		`create function zone() returns text language sql stable as $$ select current_setting('TimeZone') $$`,
		`create function fixed_zone(text) returns text language sql immutable begin atomic select current_setting('TimeZone') || $1; end`,
		`create operator @@> (rightarg = text, function = pg_catalog.current_setting)`,
		`create domain zoned as text check (value <> current_setting('TimeZone'))`)
	c := open(t, pg.DSN(db))
	for _, k := range []struct {
		column string
		reads  bool
	}{
		{`v text check (v <> current_setting('TimeZone'))`, true},
		{`v text check (v <> pg_catalog.current_setting('x.y', true))`, true},
		{`v text check (v <> zone())`, true},
		{`v text check (v <> @@> 'TimeZone')`, true},
		{`v zoned`, true},
		{`v text, g text generated always as (fixed_zone(v)) stored`, true},
		{`v text, exclude (fixed_zone(v) with =)`, true},
		{`v text, g text generated always as (upper(v)) stored, exclude (upper(v) with =)`, false},
		{`v text check (v <> 'current_setting(')`, false},
		{`v text check (length(v) < 2077)`, false},
	} {
		pg.Exec(t, db, `drop table if exists t`, `create table t (id int primary key, `+k.column+`)`)
		version(t, c)
		if got := table(t, c, "t").Elsewhere; (got != "") != k.reads {
			t.Errorf("%s: told to read a setting by its check %q, want %v", k.column, got, k.reads)
		}
	}
}
