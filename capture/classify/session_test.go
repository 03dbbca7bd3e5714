package classify_test

import (
	"context"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// sessionQuerier looks up on a session of its own, as a session with DDL does.
type sessionQuerier struct{ r *replica }

func (q sessionQuerier) Query(ctx context.Context, sql string, args ...string) ([][]event.Value, error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	res := q.r.primary.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	var rows [][]event.Value
	for _, r := range res.Rows {
		var row []event.Value
		for _, v := range r {
			row = append(row, event.Value{Null: v == nil, Text: v})
		}
		rows = append(rows, row)
	}
	return rows, res.Err
}

func TestTemporaryTablesPublishNothing(t *testing.T) {
	r := newReplica(t, event.LevelCount, shop...)
	r.exec(r.primary, `CREATE TEMP TABLE jobs(id serial, at timestamptz default now(), n int default nextval('counter'))`)
	r.in.Schemas = []string{r.rows(r.primary, `select nspname from pg_namespace where oid = pg_my_temp_schema()`)[0], "pg_catalog", "public"}
	r.in.Querier = sessionQuerier{r}
	r.check([]want{
		{`INSERT INTO jobs(n) VALUES (1)`, "pass", "temporary"},
		{`INSERT INTO jobs DEFAULT VALUES`, "draw pinned", ""},
		{`UPDATE jobs SET n = n + 1`, "pass", ""}, {`DELETE FROM jobs`, "pass", ""}, {`TRUNCATE jobs`, "pass", ""},
		{`DELETE FROM pg_temp.jobs USING public.jobs j WHERE j.id = jobs.id`, "pass", ""},
		{`COPY jobs(n) FROM STDIN`, "pass", ""}, {`COPY jobs(id) FROM STDIN`, "draw pinned", ""},
		{`INSERT INTO public.jobs(id) SELECT id FROM jobs`, "write rows", ""}, {`UPDATE public.jobs SET worker = 1 WHERE id = 1`, "write text", ""},
		{`CREATE INDEX ON jobs(n)`, "pass", ""}, {`ALTER TABLE jobs ADD COLUMN x serial`, "pass", ""}, {`DROP TABLE jobs`, "pass", ""}, {`COMMENT ON TABLE jobs IS 'x'`, "pass", ""},
		{`CREATE VIEW v AS SELECT * FROM jobs`, "pass", ""}, {`CREATE TABLE n(LIKE jobs)`, "refused", "temporary"}, {`TRUNCATE jobs, history`, "refused", "temporary"},
		{`DROP TABLE jobs, history`, "refused", "temporary"}, {`CREATE TABLE IF NOT EXISTS jobs(id int)`, "ddl", ""},
	})
}

// A session sees the objects that its open transaction made.
func TestObjectsOfTheOpenTransaction(t *testing.T) {
	r := newReplica(t, event.LevelCount)
	r.exec(r.primary, `BEGIN; CREATE TABLE fresh(id serial primary key, x int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'`)
	r.check([]want{{`INSERT INTO fresh(x) VALUES (1)`, "must fail", ""}, {`SELECT f()`, "must fail", ""}})
	r.in.Querier = sessionQuerier{r}
	r.check([]want{{`INSERT INTO fresh(x) VALUES (1)`, "write pinned", ""}, {`SELECT f()`, "refused", "volatile"}})
	r.exec(r.primary, `COMMIT`)
	r.in.Querier = nil
	r.check([]want{{`INSERT INTO fresh(x) VALUES (1)`, "write pinned", ""}})
}

func TestSettingsDecide(t *testing.T) {
	r := newRig(t, shop...)
	r.pg.Exec(t, "postgres", `drop role if exists clerk`, `create role clerk`)
	r.pg.Exec(t, r.db, `grant insert, update, delete on all tables in schema public to clerk`, `grant select (id, state) on jobs to clerk`)
	with := func(name, value string, list ...want) {
		t.Helper()
		r.in.Settings.Settings = []event.Setting{{Name: name, Value: value}}
		r.check(list)
	}
	with("DateStyle", "SQL, DMY", want{`UPDATE customer SET created = clock_timestamp()`, "refused", "DateStyle"}, want{`UPDATE customer SET name = 'x'`, "write rows", ""})
	with("DateStyle", "ISO, DMY", want{`UPDATE customer SET created = clock_timestamp()`, "write rows", ""})
	with("extra_float_digits", "0", want{`UPDATE reading SET v = v + 1`, "refused", "extra_float_digits"})
	with("extra_float_digits", "3", want{`UPDATE reading SET v = v + 1`, "write rows", ""})
	with("session_replication_role", "replica", want{`UPDATE jobs SET state = 'x' WHERE id = 1`, "refused", "session_replication_role"}, want{`COPY jobs FROM STDIN`, "refused", "session_replication_role"}, want{`TRUNCATE jobs`, "refused", "session_replication_role"})
	with("session_replication_role", "local", want{`UPDATE jobs SET state = 'x' WHERE id = 1`, "write text", ""})
	with("role", "clerk", want{`UPDATE jobs SET state = 'x'`, "write rows", ""}, want{`UPDATE jobs SET worker = 1 + id`, "refused", "may not read column worker"},
		want{`UPDATE jobs SET worker = 1 WHERE id = 4`, "write text", ""}, want{`INSERT INTO secured VALUES (1)`, "refused", "row level security"})
	with("role", "none", want{`INSERT INTO secured VALUES (1)`, "write text", ""})
}

// What was classified under a catalogue that has moved on is found out.
func TestI6RecheckNoticesDDL(t *testing.T) {
	r := newRig(t, shop...)
	ctx := context.Background()
	moved := func(sql, ddl, back string) {
		t.Helper()
		p := r.plan(sql)
		if again := r.plan(sql); again != p {
			t.Errorf("%s: the plan was not cached", sql)
		}
		if what, err := r.c.Recheck(ctx, p, nil); what != "" || err != nil {
			t.Errorf("%s: %q %v before any DDL", sql, what, err)
		}
		r.pg.Exec(t, r.db, ddl)
		if v, err := r.cat.Version(ctx); err != nil || v == p.CatalogVersion {
			t.Fatalf("%s: version %d, %v", ddl, v, err)
		}
		if what, err := r.c.Recheck(ctx, p, nil); what == "" || err != nil {
			t.Errorf("%s is not noticed by %s: %v", ddl, sql, err)
		}
		r.pg.Exec(t, r.db, back)
		if _, err := r.cat.Version(ctx); err != nil {
			t.Fatal(err)
		}
	}
	moved(`UPDATE jobs SET worker = 1 WHERE id = 1`, `ALTER TABLE jobs DROP CONSTRAINT jobs_pkey`, `ALTER TABLE jobs ADD PRIMARY KEY (id)`)
	moved(`INSERT INTO jobs(id) VALUES (1)`, `CREATE TRIGGER t AFTER INSERT ON jobs EXECUTE FUNCTION touch()`, `DROP TRIGGER t ON jobs`)
	moved(`INSERT INTO jobs(id) VALUES (1)`, `ALTER TABLE jobs ALTER worker SET DEFAULT random()`, `ALTER TABLE jobs ALTER worker DROP DEFAULT`)
	moved(`UPDATE jobs SET worker = reader(2)`, `ALTER FUNCTION reader(int) VOLATILE`, `ALTER FUNCTION reader(int) STABLE`)
	moved(`DELETE FROM customer WHERE id = 1`, `ALTER TABLE item ADD x int`, `ALTER TABLE item DROP x`)
	moved(`SELECT * FROM rich`, `CREATE OR REPLACE VIEW rich AS SELECT *, nextval('counter') FROM customer`, `DROP VIEW rich`)
}

// While DDL is under way nothing that is looked up may be trusted later on.
func TestI6PlansBesideOpenDDLAreNotTrusted(t *testing.T) {
	r := newReplica(t, event.LevelCount, shop...)
	r.exec(r.primary, `BEGIN; ALTER TABLE jobs ADD COLUMN extra int DEFAULT 3`)
	if _, err := r.cat.Version(context.Background()); err != nil {
		t.Fatal(err)
	}
	p := r.plan(`INSERT INTO jobs SELECT 1`)
	if p.CatalogVersion != -1 {
		t.Errorf("version %d beside open DDL", p.CatalogVersion)
	}
	r.exec(r.primary, `COMMIT`)
	if what, err := r.c.Recheck(context.Background(), p, nil); what == "" || err != nil {
		t.Errorf("DDL that committed after the look-up is not noticed: %v", err)
	}
}

func TestFlaggedStatementsMarkTheirTables(t *testing.T) {
	r := newRig(t, shop...)
	for sql, diverged := range map[string]string{
		`UPDATE audited SET x = 1`: "*", `DO $$ begin end $$`: "*", `SELECT writer(1)`: "*", `GRANT SELECT ON jobs TO public`: "",
		`UPDATE history SET tid = 1`: "public.history", `UPDATE customer SET id = id + 1`: "public.customer public.orders",
		`MERGE INTO jobs USING customer c ON c.id = jobs.id WHEN MATCHED THEN DELETE`:            "public.jobs",
		`WITH x AS (DELETE FROM customer RETURNING (SELECT 1)) INSERT INTO history(tid) TABLE x`: "public.history public.customer public.orders public.item",
		`CREATE UNLOGGED TABLE fresh AS SELECT 1`:                                                "public.fresh", `CREATE MATERIALIZED VIEW m AS TABLE summary`: "public.m", `ALTER TABLE jobs ADD n int GENERATED ALWAYS AS IDENTITY`: "public.jobs",
		`COPY customer(name) FROM STDIN WITH (ENCODING 'latin1')`: "public.customer", `INSERT INTO cache VALUES (1)`: "public.cache",
	} {
		p := r.plan(sql)
		ops, err := p.Operations(classify.Execution{First: true, Affected: 1})
		if err != nil || len(ops) != 1 || ops[0].Kind != event.OpFlagged || strings.Join(ops[0].Diverged, " ") != diverged {
			t.Errorf("%s: %+v, %v", sql, ops, err)
		}
	}
}
