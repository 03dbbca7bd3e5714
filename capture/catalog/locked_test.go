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
		`create view seen as select a, b from held where a > 0`)
	c := open(t, pg.DSN(db))
	holder := pg.Connect(t, db)
	if _, err := holder.Exec(context.Background(), `begin; lock table held, part, parts, seen in access exclusive mode`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range []string{"held", "parts", "part", "seen"} {
		if _, err := c.Table(ctx, nil, []string{"pg_catalog", "public"}, "", name); err != nil {
			t.Errorf("%s, which another session holds: %v", name, err)
		}
	}
}

// I6: what reads a setting is found however it is written.
func TestI6ChecksThatReadSettings(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db,
		`create function zone() returns text language sql stable as $$ select current_setting('TimeZone') $$`,
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
		{`v text check (v <> 'current_setting(')`, false},
		{`v text check (length(v) < 2077)`, false},
	} {
		pg.Exec(t, db, `drop table if exists t`, `create table t (id int primary key, `+k.column+`)`)
		version(t, c)
		if got := table(t, c, "t").SettingCheck; (got != "") != k.reads {
			t.Errorf("%s: told to read a setting by its check %q, want %v", k.column, got, k.reads)
		}
	}
}
