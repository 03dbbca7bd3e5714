package catalog_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

func open(t *testing.T, dsn string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(context.Background(), catalog.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func table(t *testing.T, c *catalog.Catalog, name string) *catalog.Table {
	t.Helper()
	tab, err := c.Table(context.Background(), nil, []string{"pg_catalog", "public"}, "", name)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func version(t *testing.T, c *catalog.Catalog) int64 {
	t.Helper()
	v, err := c.Version(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTableDescribesWhatClassificationNeeds(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db,
		`create domain posint as integer default 7 check (value > 0)`,
		`create table parent(id serial primary key, code text not null unique deferrable initially deferred)`,
		`create table t(id bigint generated always as identity primary key, p int references parent on delete cascade on update set null,
			n posint, a text[], d date default current_date, g int generated always as (1 + 1) stored, dropped int,
			"odd ""name" text, unique (a) include (d))`,
		`alter table t drop column dropped`,
		`create unique index partial on t(p) where p > 0`,
		`create unique index expr on t((p + 1))`,
		`create function touch() returns trigger language plpgsql as 'begin return new; end'`,
		`create trigger tr before insert on t for each row execute function touch()`,
	)
	c := open(t, pg.DSN(db))
	got := table(t, c, "t")
	if got.Kind != catalog.Ordinary || got.Schema != "public" || got.Temp || got.Unlogged || len(got.Columns) != 7 {
		t.Fatalf("table: %+v", got)
	}
	id := got.Column("id")
	if id.Identity != "a" || id.Sequence == nil || id.Sequence.Name != "t_id_seq" || !id.NotNull || id.TypeOID != 20 {
		t.Errorf("identity column: %+v", id)
	}
	if n := got.Column("n"); n.BaseOID != 23 || n.TypeKind != "d" || !n.DomainDefault || !n.UserType {
		t.Errorf("domain column: %+v", n)
	}
	if a := got.Column("a"); a.Element != 25 || a.Category != "A" || a.ElementCategory != "S" || a.UserType {
		t.Errorf("array column: %+v", a)
	}
	if d := got.Column("d"); d.Default != "CURRENT_DATE" || d.Category != "D" {
		t.Errorf("default: %+v", d)
	}
	if g := got.Column("g"); !g.Generated || g.Default != "" {
		t.Errorf("generated column: %+v", g)
	}
	if got.Column(`odd "name`) == nil {
		t.Error("quoted column is missing")
	}
	usable := map[string]bool{}
	for _, k := range got.Keys {
		usable[k.Name] = k.Usable()
	}
	want := map[string]bool{"t_pkey": true, "t_a_d_key": false, "partial": false, "expr": false}
	for k, w := range want {
		if u, ok := usable[k]; !ok || u != w {
			t.Errorf("key %s: usable %v, there %v", k, u, ok)
		}
	}
	if len(got.Triggers) != 1 || got.Triggers[0].Name != "tr" {
		t.Errorf("triggers: %+v", got.Triggers)
	}
	if len(got.ForeignKeys) != 1 || got.ForeignKeys[0].OnDelete != "c" || got.ForeignKeys[0].OnUpdate != "n" || got.ForeignKeys[0].Table != "parent" {
		t.Errorf("foreign keys: %+v", got.ForeignKeys)
	}
	p := table(t, c, "parent")
	if len(p.ReferencedBy) != 1 || p.ReferencedBy[0].Table != "t" || !p.Deferrable() || p.Column("id").Sequence == nil {
		t.Errorf("parent: %+v", p)
	}
	if p.Column("id").Default != "nextval('public.parent_id_seq'::regclass)" {
		t.Errorf("serial default: %q", p.Column("id").Default)
	}
}

func TestPartitionsAndInheritance(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db,
		`create table m(id int, k int, primary key (id, k)) partition by list (k)`,
		`create unlogged table m1 partition of m for values in (1)`,
		`create table m2 partition of m for values in (2)`,
		`create function touch() returns trigger language plpgsql as 'begin return new; end'`,
		`create trigger tr before insert on m2 for each row execute function touch()`,
		`create table top(id int primary key)`, `create table sub() inherits (top)`,
	)
	c := open(t, pg.DSN(db))
	m := table(t, c, "m")
	if m.Kind != catalog.Partitioned || len(m.Triggers) != 1 || m.OddPartitions != 1 || m.Children != 0 {
		t.Errorf("partitioned: %+v", m)
	}
	if top := table(t, c, "top"); top.Children != 1 {
		t.Errorf("inheritance parent: %+v", top)
	}
}

// The catalogue must not be stale: a change that is under way is not cached, one
// that is done moves the counter.
func TestDDLMovesTheCounterAndEmptiesTheCache(t *testing.T) {
	ctx := context.Background()
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `create table t(id int primary key)`)
	c := open(t, pg.DSN(db))
	if !c.Counted() {
		t.Fatal("the counter was not installed")
	}
	before := version(t, c)
	first := table(t, c, "t")
	if again := table(t, c, "t"); again != first {
		t.Error("the second look-up was not cached")
	}
	conn, err := pgconn.Connect(ctx, pg.DSN(db))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	run := func(sql string) {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	run(`begin; create index on t(id); alter table t add column x int`)
	during := version(t, c)
	if during <= before {
		t.Errorf("open DDL is not counted: %d, %d", before, during)
	}
	open := table(t, c, "t")
	if len(open.Columns) != 1 || open.Version != catalog.Unsettled || during == before {
		t.Errorf("look-up beside open DDL: %+v", open)
	}
	if again := table(t, c, "t"); again == open {
		t.Error("a look-up beside open DDL was cached")
	}
	run(`commit`)
	if after := table(t, c, "t"); len(after.Columns) != 2 || after.Fingerprint() == first.Fingerprint() {
		t.Errorf("look-up after DDL: %+v", after)
	}
}

func TestVersionServesManyCallers(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	c := open(t, pg.DSN(db))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				if _, err := c.Version(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestWithoutTheRightToCount(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `create role plain_login login`, `create table t(id int primary key)`)
	c := open(t, pg.DSN(db)+"&user=plain_login")
	if c.Counted() {
		t.Fatal("a plain role cannot create an event trigger")
	}
	before := version(t, c)
	table(t, c, "t")
	pg.Exec(t, db, `alter table t add x int`)
	if version(t, c) == before {
		t.Error("the hash did not move")
	}
	if got := table(t, c, "t"); len(got.Columns) != 2 {
		t.Errorf("stale: %+v", got)
	}
}

// TestWithoutTheRightToReadTheCount: a superuser installed the counter once, and
// the login was not let at it, or only half.
func TestWithoutTheRightToReadTheCount(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	_ = open(t, pg.DSN(db))
	pg.Exec(t, db, `create role blind_login login`)
	for _, grant := range []string{`revoke select on sequence opmux.ddl_counter from public`, `grant usage on schema opmux to blind_login`} {
		pg.Exec(t, db, grant)
		if c := open(t, pg.DSN(db)+"&user=blind_login"); c.Counted() || version(t, c) == 0 {
			t.Errorf("after %s the count cannot be read", grant)
		}
	}
	pg.Exec(t, db, `grant select on all sequences in schema opmux to blind_login`)
	if c := open(t, pg.DSN(db)+"&user=blind_login"); !c.Counted() {
		t.Error("the count can be read")
	}
}

func TestSequenceValue(t *testing.T) {
	ctx := context.Background()
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `create sequence up`, `create sequence down increment -1`, `create sequence "Odd ""s" start 40`)
	c := open(t, pg.DSN(db))
	pg.Exec(t, db, `select nextval('up'), nextval('up')`, `select nextval('down')`)
	for name, want := range map[string]event.SequenceMark{
		"up": {Value: 2, Ascending: true}, "down": {Value: -1}, `Odd "s`: {Value: 39, Ascending: true},
	} {
		want.Schema, want.Name = "public", name
		got, err := c.SequenceValue(ctx, "public", name)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := c.SequenceValue(ctx, "public", "none"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("missing sequence: %v", err)
	}
}

func TestAccess(t *testing.T) {
	ctx := context.Background()
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `create role access_reader`, `create table t(id int primary key, secret text)`, `grant select (id), insert on t to access_reader`,
		`alter table t enable row level security`)
	c := open(t, pg.DSN(db))
	tab := table(t, c, "t")
	a, err := c.Access(ctx, nil, "access_reader", tab)
	if err != nil || !a.Known || !a.RowSecurity || len(a.Hidden) != 1 || a.Hidden[0] != "secret" {
		t.Errorf("reader: %+v, %v", a, err)
	}
	if a, err = c.Access(ctx, nil, "postgres", tab); err != nil || a.RowSecurity || len(a.Hidden) != 0 {
		t.Errorf("superuser: %+v, %v", a, err)
	}
	if a, err = c.Access(ctx, nil, "nobody_at_all", tab); err != nil || a.Known {
		t.Errorf("unknown role: %+v, %v", a, err)
	}
}

func TestRestartEmptiesTheCaches(t *testing.T) {
	pg := testkit.Postgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `create table t(id int primary key)`)
	told := make(chan event.Primary, 1)
	c, err := catalog.Open(context.Background(), catalog.Config{DSN: pg.DSN(db), OnRestart: func(p event.Primary) { told <- p }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	before, err := c.Primary(context.Background())
	if err != nil || before.SystemID == "" || before.Timeline != 1 || before.Database != db {
		t.Fatalf("primary: %+v, %v", before, err)
	}
	first := table(t, c, "t")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	pg.Kill(t)
	pg.Start(t)
	select {
	case p := <-told:
		if p.Started <= before.Started || p.SystemID != before.SystemID {
			t.Errorf("after the restart: %+v, before: %+v", p, before)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody noticed the restart")
	}
	if table(t, c, "t") == first {
		t.Error("the cache survived a restart")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// I5: counting must not give a command's transaction an id where the server wants
// none; a sequence draws one every 32 values.
func TestI5CountingLetsIndexesBeDroppedConcurrently(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `create table t(n int)`)
	open(t, pg.DSN(db))
	for range 40 {
		pg.Exec(t, db, `create index concurrently i on t(n)`)
		pg.Exec(t, db, `drop index concurrently i`)
	}
}

// What an older opmux has installed is replaced.
func TestTheCounterOfAnOlderVersionIsReplaced(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	open(t, pg.DSN(db))
	pg.Exec(t, db, `drop event trigger opmux_ddl_start`, `create event trigger opmux_ddl_start on ddl_command_start
		when tag in ('CREATE INDEX', 'DROP INDEX', 'ALTER TABLE') execute function opmux.count_ddl()`, `alter event trigger opmux_ddl_start enable always`)
	if c := open(t, pg.DSN(db)); !c.Counted() {
		t.Error("DDL is not counted any more")
	}
	if rows := pg.Query(t, db, `select evttags::text from pg_event_trigger where evtname = 'opmux_ddl_start'`); rows[0][0] != `{"CREATE INDEX","ALTER TABLE"}` {
		t.Errorf("the trigger is for %v", rows)
	}
}
