package classify_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// rig is a classifier on a database of its own.
type rig struct {
	t   *testing.T
	pg  *testkit.PG
	db  string
	cat *catalog.Catalog
	c   *classify.Classifier
	in  classify.Input
}

func newRig(t *testing.T, schema ...string) *rig {
	t.Helper()
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, schema...)
	cat, err := catalog.Open(context.Background(), catalog.Config{DSN: pg.DSN(db)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	r := &rig{t: t, pg: pg, db: db, cat: cat, c: classify.New(classify.Config{Catalog: cat})}
	r.in = classify.Input{Schemas: []string{"pg_catalog", "public"}, Level: event.LevelCount, Settings: event.Context{User: "postgres"}}
	return r
}

func (r *rig) plan(sql string) *classify.Plan {
	r.t.Helper()
	in := r.in
	in.SQL = sql
	p, err := r.c.Classify(context.Background(), in)
	if err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	checkReason(r.t, p)
	return p
}

// want is what a statement's plan must be: kind and class as "write text", and a
// part of its reason, refusal or frozen text.
type want struct{ sql, what, part string }

func (r *rig) check(list []want) {
	r.t.Helper()
	for _, w := range list {
		p := r.plan(w.sql)
		got := p.Kind.String()
		if p.Kind == classify.Write || p.Kind == classify.Draw {
			got += " " + string(p.Class)
		}
		detail := p.Reason + " | " + p.Frozen() + " | " + p.SQL
		if p.Refusal != nil {
			detail = p.Refusal.Error() + " | " + p.Refusal.Hint
		}
		if got != w.what || !strings.Contains(detail, w.part) {
			r.t.Errorf("%s\n  got  %s: %s\n  want %s: …%s…", w.sql, got, detail, w.what, w.part)
		}
	}
}

// shop is a schema with what ordinary applications have.
var shop = []string{
	`create extension if not exists "uuid-ossp"`,
	`create type mood as enum ('sad', 'ok')`,
	`create domain email as text check (value like '%@%')`,
	`create table customer(id serial primary key, name text not null, mail email unique, feeling mood default 'ok', created timestamptz not null default now(), note text default 'none')`,
	`create table orders(id bigint generated always as identity primary key, customer int not null references customer on delete cascade on update cascade, total numeric(10,2) default 0, due date, tags text[], doc jsonb)`,
	`create table item("order" bigint references orders on delete cascade, no int, qty int not null default 1, price numeric, total numeric generated always as (qty * price) stored, primary key ("order", no))`,
	`create table token(id uuid primary key default gen_random_uuid(), other uuid default uuid_generate_v4(), n int)`,
	`create table history(tid int, bid int, delta int, mtime timestamp, filler char(22))`,
	`create table jobs(id int primary key, state text not null default 'new', at timestamp, worker int)`,
	`create table reading(sensor int, at timestamptz, v double precision, primary key (sensor, at)) partition by range (at)`,
	`create table reading_all partition of reading default`,
	`create sequence counter`,
	`create view rich as select * from customer where id > 1`,
	`create view drawing as select nextval('counter') as n`,
	`create unlogged table cache(k text primary key, v text)`,
	`create table top(id int primary key, x int)`, `create table sub() inherits (top)`,
	`create table deferred(id int primary key deferrable initially deferred, x int)`,
	`create table tree(id int primary key, parent int references tree deferrable initially deferred)`,
	`create function touch() returns trigger language plpgsql as 'begin perform tid from history; return new; end'`,
	`create table audited(id int primary key, x int)`,
	`create trigger audit before update on audited for each row execute function touch()`,
	`create table ruled(id int primary key)`, `create rule r as on delete to ruled do instead nothing`,
	`create function writer(int) returns int language plpgsql as 'begin insert into history(tid) values ($1); return $1; end'`,
	`create function reader(int) returns int stable language sql as 'select $1'`,
	`create function tenant() returns int stable language sql as 'select current_setting(''app.tenant'')::int'`,
	`create table tenanted(id int primary key, t int default current_setting('app.tenant', true)::int constraint own check (t = tenant()))`,
	`create domain of_tenant as int check (value = current_setting('app.tenant')::int)`, `create table domained(id int primary key, t of_tenant)`,
	`create function attr(customer) returns int language plpgsql as 'begin insert into history(tid) values (1); return 1; end'`,
	`create procedure proc() language plpgsql as 'begin end'`,
	`create materialized view summary as select count(*) from customer`,
	`create table secured(id int primary key, x int)`, `alter table secured enable row level security`,
	`create table checked(id int primary key check (writer(id) > 0))`,
}
