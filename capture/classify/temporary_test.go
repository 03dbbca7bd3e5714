package classify_test

import (
	"context"
	"testing"

	"github.com/opmux/opmux/event"
)

// What a session's temporary schema has is not what the text would mean on a
// backup: definitions of it are the session's own, and permanent ones that use it
// are refused (I6).
func TestI6TemporaryObjectsInDefinitions(t *testing.T) {
	r := newRig(t, append([]string{
		`create table foo (a int)`, `create domain dom as int`, `create type en as enum ('x')`, `create sequence sq`,
		`create function plain() returns int language sql as 'select 1'`,
	}, shop...)...)
	conn := r.pg.Connect(t, r.db)
	for _, sql := range []string{`create temp table foo (a text, b text)`, `create domain pg_temp.dom as text`,
		`create type pg_temp.en as enum ('a')`, `create temp sequence sq`, `create temp table plain (a int)`} {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var schemas []string
	if err := conn.QueryRow(context.Background(), `select current_schemas(true)`).Scan(&schemas); err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		`CREATE FUNCTION f(x foo) RETURNS text LANGUAGE sql AS 'SELECT 1'`:                  "refused",
		`CREATE FUNCTION f() RETURNS foo.a%TYPE LANGUAGE sql AS 'SELECT 1'`:                 "refused",
		`CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1 FROM foo; END`:  "refused",
		`CREATE FUNCTION f(x public.foo) RETURNS text LANGUAGE sql AS 'SELECT 1'`:           "ddl",
		`CREATE VIEW v AS WITH foo AS (SELECT * FROM foo) SELECT * FROM foo`:                "pass",
		`CREATE TABLE holder (f foo)`:                                                       "refused",
		`CREATE TABLE holder (f int DEFAULT nextval('sq'))`:                                 "refused",
		`CREATE TABLE holder (f int DEFAULT nextval('public.sq'))`:                          "ddl",
		`CREATE TABLE holder (f int DEFAULT pg_temp.f())`:                                   "refused",
		`CREATE TABLE foo2 (dom int, en text)`:                                              "ddl",
		`CREATE DOMAIN d2 AS foo`:                                                           "refused",
		`CREATE DOMAIN dom AS int`:                                                          "ddl",
		`CREATE DOMAIN pg_temp.d2 AS int`:                                                   "pass",
		`ALTER TABLE jobs ADD c dom`:                                                        "refused",
		`DROP DOMAIN dom`:                                                                   "pass",
		`DROP DOMAIN public.dom`:                                                            "ddl",
		`DROP DOMAIN dom, public.dom`:                                                       "refused",
		`ALTER TYPE en ADD VALUE 'c'`:                                                       "pass",
		`ALTER TYPE public.en ADD VALUE 'c'`:                                                "ddl",
		`ALTER TYPE en RENAME TO en2`:                                                       "pass",
		`COMMENT ON TYPE en IS 'x'`:                                                         "pass",
		`CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`:                "pass",
		`DROP FUNCTION pg_temp.f()`:                                                         "pass",
		`DROP FUNCTION plain()`:                                                             "ddl",
		`CREATE TRIGGER tr BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION pg_temp.f()`: "refused",
		`CREATE STATISTICS pg_temp.st ON id, state FROM jobs`:                               "pass",
		`CREATE STATISTICS st ON id, state FROM jobs`:                                       "ddl",
		`ALTER STATISTICS pg_temp.st SET STATISTICS 10`:                                     "pass",
		`ALTER STATISTICS pg_temp.st RENAME TO st2`:                                         "pass",
		`COMMENT ON STATISTICS pg_temp.st IS 'x'`:                                           "pass",
		`DROP STATISTICS pg_temp.st`:                                                        "pass",
		`DROP STATISTICS pg_temp.st, pg_temp.st2`:                                           "pass",
		`DROP STATISTICS st, pg_temp.st2`:                                                   "refused",
		`DROP STATISTICS pg_temp.st, st2`:                                                   "refused",
		`DROP STATISTICS st, st2`:                                                           "ddl",
		`DROP FUNCTION pg_temp.f(), pg_temp.g()`:                                            "pass",
		`DROP COLLATION pg_temp.c`:                                                          "pass",
		`DROP OPERATOR CLASS pg_temp.o USING btree`:                                         "pass",
		`DROP OPERATOR pg_temp.@@@ (int, int)`:                                              "pass",
		`DROP OPERATOR @@@ (int, int)`:                                                      "ddl",
		`CREATE CONVERSION pg_temp.c FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8`:         "pass",
		`CREATE RULE ru AS ON INSERT TO jobs DO ALSO DELETE FROM foo`:                       "refused",
	} {
		r.in.Schemas = schemas
		if p := r.plan(sql); p.Kind.String() != want {
			t.Errorf("%s: %s (%s), want %s", sql, p.Kind, p.Reason, want)
		}
	}
	// Policy flag gives up what is made, and not what it is made like.
	r.in.Schemas = schemas
	if p := r.plan(`CREATE TABLE holder (LIKE jobs, LIKE plain)`); len(p.Diverged) != 1 || p.Diverged[0] != "public.holder" {
		t.Errorf("%s, diverged %v, want public.holder", p.Kind, p.Diverged)
	}
}

// Where the temporary schema comes first in search_path, what is made by a bare name is
// the session's own: as text it made a permanent object on the backups (I6).
func TestI6BareNamesAreTemporaryWhereTheirSchemaComesFirst(t *testing.T) {
	r := newRig(t, shop...)
	conn := r.pg.Connect(t, r.db)
	if _, err := conn.Exec(context.Background(), `set search_path = pg_temp, public`); err != nil {
		t.Fatal(err)
	}
	var schemas []string
	var path string
	const sql = `select current_schemas(true), (select string_agg('"' || s || '"', ', ') from unnest(current_schemas(false)) s)`
	if err := conn.QueryRow(context.Background(), sql).Scan(&schemas, &path); err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		`CREATE TABLE made (a int)`:                                       "pass",
		`CREATE TABLE IF NOT EXISTS jobs (a int)`:                         "pass",
		`CREATE TABLE made (LIKE jobs)`:                                   "pass",
		`CREATE TABLE made AS SELECT 1 AS a`:                              "pass",
		`CREATE TABLE made AS SELECT 1 AS a WITH NO DATA`:                 "pass",
		`SELECT 1 AS a INTO made`:                                         "pass",
		`CREATE VIEW made AS SELECT * FROM jobs`:                          "pass",
		`CREATE SEQUENCE made`:                                            "pass",
		`CREATE TYPE made AS (a int)`:                                     "pass",
		`CREATE TYPE made AS ENUM ('a')`:                                  "pass",
		`CREATE DOMAIN made AS int`:                                       "pass",
		`CREATE FUNCTION made() RETURNS int LANGUAGE sql AS 'SELECT 1'`:   "pass",
		`CREATE AGGREGATE made (int) (sfunc = int4pl, stype = int)`:       "pass",
		`CREATE STATISTICS made ON id, state FROM jobs`:                   "pass",
		`CREATE TABLE public.made (a int)`:                                "ddl",
		`CREATE VIEW public.made AS SELECT * FROM jobs`:                   "ddl",
		`CREATE STATISTICS ON id, state FROM jobs`:                        "ddl",
		`CREATE INDEX made ON jobs (state)`:                               "ddl",
		`ALTER TABLE jobs ADD made int`:                                   "ddl",
		`CREATE SCHEMA made`:                                              "ddl",
		`CREATE FUNCTION public.made() RETURNS int LANGUAGE sql RETURN 1`: "ddl",
		`CREATE EXTENSION pg_trgm`:                                        "refused",
		`CREATE EXTENSION pg_trgm SCHEMA public`:                          "ddl",
	} {
		r.in.Schemas = schemas
		r.in.Settings.Settings = []event.Setting{{Name: "search_path", Value: path}}
		if p := r.plan(sql); p.Kind.String() != want {
			t.Errorf("%s: %s (%s), want %s", sql, p.Kind, p.Reason, want)
		}
	}
}
