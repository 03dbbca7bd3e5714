package pgcopy

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// shop is a schema with something of each kind that a copy could trip over.
var shop = []string{
	`CREATE SCHEMA shop`, `CREATE SCHEMA opmux`,
	`CREATE TABLE opmux.secret (a int)`,
	`CREATE FUNCTION opmux.count_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'`,
	`CREATE EVENT TRIGGER opmux_ddl ON ddl_command_end EXECUTE FUNCTION opmux.count_ddl()`,
	`ALTER EVENT TRIGGER opmux_ddl ENABLE ALWAYS`,
	`COMMENT ON EVENT TRIGGER opmux_ddl IS 'counts'`,
	`CREATE TABLE plain (id int PRIMARY KEY, t text, d date, n numeric, f float8, b bytea, a int[], j jsonb, i interval, z timestamptz)`,
	`INSERT INTO plain VALUES (1, E'tab\t\\.nl\n''', '2020-02-03', 1.10, 0.1::float8 + 0.2, '\x00ff', '{1,NULL}', '{"a": 1}', '1 mon -2 days', '2020-01-01 00:00+03'), (2, NULL, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL)`,
	`CREATE TABLE shop.child (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, p int REFERENCES plain (id) ON DELETE CASCADE, twice int GENERATED ALWAYS AS (p * 2) STORED)`,
	`INSERT INTO shop.child (p) SELECT 1 + i % 2 FROM generate_series(1, 1000) i`,
	`CREATE TABLE "Odd name" ("Col umn" serial, "select" text)`,
	`INSERT INTO "Odd name" ("select") VALUES ('x')`,
	`CREATE TABLE part (k int, v text) PARTITION BY RANGE (k)`,
	`CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10)`,
	`CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (10) TO (20)`,
	`INSERT INTO part SELECT i, 'v' || i FROM generate_series(0, 19) i`,
	`CREATE TABLE parent (a int)`, `CREATE TABLE heir (b int) INHERITS (parent)`,
	`INSERT INTO parent VALUES (1)`, `INSERT INTO heir VALUES (2, 3)`,
	`CREATE TABLE nothing ()`, `INSERT INTO nothing DEFAULT VALUES`,
	`CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM shop.child`,
	`CREATE INDEX ON plain (t)`,
	`CREATE SEQUENCE free START -100 INCREMENT -1`, `SELECT nextval('free'), nextval('free')`,
	`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.t := ''touched''; RETURN NEW; END'`,
	`CREATE TRIGGER touch BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION touch()`,
	`SELECT lo_create(0)`,
}

var queries = []string{
	`SELECT * FROM plain ORDER BY id`, `SELECT * FROM shop.child ORDER BY id`, `SELECT * FROM "Odd name"`,
	`SELECT tableoid::regclass, * FROM part ORDER BY k`, `SELECT tableoid::regclass, * FROM parent ORDER BY a`,
	`SELECT count(*) FROM nothing`, `SELECT * FROM counts`, `SELECT last_value, is_called FROM free`,
	`SELECT indexdef FROM pg_indexes WHERE schemaname NOT LIKE 'pg%' ORDER BY 1`,
	`SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'shop') ORDER BY 1`,
	`SELECT nextval('shop.child_id_seq')`,
}

func open(t *testing.T, pg *testkit.PG, db string) *Source {
	t.Helper()
	s, err := OpenSource(t.Context(), pg.DSN(db), func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestCopyIsTheSame(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	from, to := pg.CreateDB(t), pg.CreateDB(t)
	pg.Exec(t, from, shop...)
	s := open(t, pg, from)
	pg.Exec(t, from, `INSERT INTO plain (id) VALUES (77)`, `CREATE TABLE later (a int)`) // after the snapshot
	tx := begin(t, pg, to)
	if err := s.Refuse(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	var p Progress
	report, err := s.To(t.Context(), tx, &p)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	pg.Exec(t, from, `DELETE FROM plain WHERE id = 77`)
	for _, q := range queries {
		testkit.SameRows(t, q, pg, from, pg, to)
	}
	if len(report.MissingRoles) > 0 || p.Tables.Load() != int64(len(s.Tables())) || p.Rows.Load() != 1000+2+1+20+2+1 {
		t.Errorf("report %+v, %d tables, %d rows", report, p.Tables.Load(), p.Rows.Load())
	}
	for _, q := range []string{
		`SELECT evtname FROM pg_event_trigger`, `SELECT nspname FROM pg_namespace WHERE nspname = 'opmux'`, `SELECT relname FROM pg_class WHERE relname = 'later'`,
		`SELECT oid FROM pg_largeobject_metadata`,
	} {
		if rows := pg.Query(t, to, q); len(rows) > 0 {
			t.Errorf("%s: %v", q, rows)
		}
	}
}

func begin(t *testing.T, pg *testkit.PG, db string) pgx.Tx {
	t.Helper()
	tx, err := pg.Connect(t, db).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestTargetThatIsNotEmptyIsRefused(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	from, to := pg.CreateDB(t), pg.CreateDB(t)
	pg.Exec(t, from, `CREATE TABLE a (i int)`, `CREATE TABLE b (i int)`)
	pg.Exec(t, to, `CREATE TABLE b (i int)`)
	err := open(t, pg, from).Refuse(t.Context(), begin(t, pg, to))
	var exists *ExistsError
	if !errors.As(err, &exists) || !slices.Equal(exists.Tables, []string{"public.b"}) || !strings.Contains(err.Error(), "public.b") {
		t.Errorf("got %v", err)
	}
}

func TestFailureNamesItsCause(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	from, to := pg.CreateDB(t), pg.CreateDB(t)
	pg.Exec(t, from, `CREATE TABLE a (i int CONSTRAINT low CHECK (i < 5000 OR current_database() = '`+from+`'))`, `INSERT INTO a SELECT generate_series(1, 100000)`)
	_, err := open(t, pg, from).To(t.Context(), begin(t, pg, to), &Progress{})
	if err == nil || !strings.HasPrefix(err.Error(), "target: writing public.a: ") || !strings.Contains(err.Error(), `"low"`) {
		t.Errorf("got %v", err)
	}
}

func TestTablesChangedWhileLockingAreListedAgain(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	from := pg.CreateDB(t)
	pg.Exec(t, from, `CREATE TABLE a (i int)`)
	calls := 0
	s, err := OpenSource(t.Context(), pg.DSN(from), func(context.Context) error {
		if calls++; calls == 1 {
			pg.Exec(t, from, `CREATE TABLE b (i int)`)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if calls != 2 || len(s.Tables()) != 2 {
		t.Errorf("%d calls, tables %v", calls, s.Tables())
	}
}

func TestConnectionStrings(t *testing.T) {
	for dsn, want := range map[string]map[string]string{
		"host=h sslmode = 'verify-full' password='a\\'b c' user=u":                   {"host": "h", "sslmode": "verify-full", "password": "a'b c", "user": "u"},
		"postgres://u:p@h/db?sslmode=require&sslrootcert=%2Fca.pem&pool_max_conns=3": {"sslmode": "require", "sslrootcert": "/ca.pem", "pool_max_conns": "3"},
		"": {},
	} {
		if got := parameters(dsn); !maps.Equal(got, want) {
			t.Errorf("%s: %v", dsn, got)
		}
	}
	cfg, err := pgx.ParseConfig("postgres://u:s3cret@h:1234/db?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	env := environment(cfg, "postgres://u:s3cret@h:1234/db?sslmode=disable")
	for _, want := range []string{"PGHOST=h", "PGPORT=1234", "PGUSER=u", "PGDATABASE=db", "PGPASSWORD=s3cret", "PGSSLMODE=disable"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

// A TRUNCATE that waits for the copy's locks would hold pg_dump's up for ever.
func TestAStatementThatWaitsForTheLocksGoesFirst(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	from := pg.CreateDB(t)
	pg.Exec(t, from, `CREATE TABLE a (i int)`, `INSERT INTO a VALUES (1)`)
	waiter := pg.Connect(t, from)
	truncated := make(chan error, 1)
	calls := 0
	s, err := OpenSource(t.Context(), pg.DSN(from), func(ctx context.Context) error {
		if calls++; calls > 1 {
			return nil
		}
		go func() {
			_, err := waiter.Exec(ctx, "TRUNCATE a")
			truncated <- err
		}()
		testkit.Eventually(t, testkit.Patience, func() error {
			if rows := pg.Query(t, from, `SELECT FROM pg_locks WHERE NOT granted AND relation = 'a'::regclass`); len(rows) == 0 {
				return errors.New("TRUNCATE does not wait yet")
			}
			return nil
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := <-truncated; err != nil || calls != 2 {
		t.Errorf("%d calls, TRUNCATE: %v", calls, err)
	}
	to := pg.CreateDB(t)
	tx := begin(t, pg, to)
	var p Progress
	if _, err := s.To(t.Context(), tx, &p); err != nil || p.Rows.Load() != 0 {
		t.Errorf("%d rows, %v", p.Rows.Load(), err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Error(err)
	}
}
