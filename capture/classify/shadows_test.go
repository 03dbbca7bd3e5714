package classify_test

import (
	"context"
	"testing"

	"github.com/opmux/opmux/event"
)

// inPlace are objects of the user's that the server takes where the text seems to name
// what is built in, or names nothing. Each gives something else in another database.
var inPlace = []string{
	`create schema mine`, `create type mood as enum ('sad', 'ok')`, `create type pair as (x int)`, `create sequence counter`,
	`create table t(id int primary key, v text, at timestamptz, n int, b bool, p pair, d date, m mood)`,
	`create function here() returns int language sql immutable as 'select pg_catalog.hashtext(pg_catalog.current_database())'`,
	`create function mine.now() returns timestamptz language sql immutable as 'select pg_catalog.to_timestamp(public.here())'`,
	`create function mine.nextval(text) returns int language sql volatile as 'update public.t set n = 0; select 1'`,
	`create function mine.differs(int, int) returns bool language sql immutable as 'select pg_catalog.current_database() < ''x'''`,
	`create function mine.joined(mood, text) returns text language sql immutable as 'select public.here()::text'`,
	`create operator mine.|| (leftarg = mood, rightarg = text, function = mine.joined)`,
	`create function mine.pair_of(text) returns pair language sql stable as 'select row(public.here())::public.pair'`,
	`create cast (text as pair) with function mine.pair_of(text) as assignment`,
	`create function mine.area(circle) returns int language sql immutable as 'select public.here()'`,
	`create cast (circle as int) with function mine.area(circle) as implicit`,
	`create cast (text as date) with inout as assignment`,
}

// I6: what users put in place of built-in functions, operators and casts does not
// travel as text, and no time is pinned for it.
func TestI6WhatUsersPutInPlace(t *testing.T) {
	for _, level := range []event.Level{event.LevelCount, event.LevelFull} {
		t.Run(string(level), func(t *testing.T) {
			r := newReplica(t, level, inPlace...)
			r.in.Schemas = []string{"mine", "pg_catalog", "public"}
			r.exec(r.primary, "SET search_path = mine, pg_catalog, public")
			r.exec(r.backup, "SET search_path = mine, pg_catalog, public")
			for _, sql := range []string{
				`INSERT INTO t(id, n) VALUES (1, 1), (2, 2)`,
				`UPDATE t SET at = now() WHERE id = 1`,
				`INSERT INTO t(id, at) VALUES (3, now()), (4, now())`,
				`INSERT INTO t(id, at, v) VALUES (5, pg_catalog.now(), CURRENT_DATE)`,
				`INSERT INTO t(id, v) VALUES (6, 'sad'::mood || 'x'::text)`,
				`UPDATE t SET m = 'ok', v = m || 'y'::text WHERE id = 6`,
				`INSERT INTO t(id, p) VALUES (7, 'a'::text), (8, '(5)')`,
				`UPDATE t SET p = 'b'::text WHERE id = 8`,
				`INSERT INTO t(id, n) VALUES (9, '<(1,1),1>'::circle)`,
				`UPDATE t SET n = '<(1,1),1>'::circle WHERE id = 2`,
				`UPDATE t SET n = n + '<(1,1),1>'::circle WHERE id = 1`,
				`UPDATE t SET v = 'hit' WHERE id = 2 AND n = '<(1,1),1>'::circle`,
			} {
				r.run(sql)
				r.same("t")
			}
		})
	}
}

func TestI6WhatUsersPutInPlaceIsKnown(t *testing.T) {
	r := newRig(t, append(inPlace[:9:9], `create operator mine.= (leftarg = int, rightarg = int, function = mine.differs)`, `create operator mine.<= (leftarg = int, rightarg = int, function = mine.differs)`)...)
	r.in.Schemas = []string{"mine", "pg_catalog", "public"}
	r.check([]want{
		{`SELECT nextval('counter')`, "refused", "function nextval"}, {`SELECT pg_catalog.nextval('counter')`, "draw pinned", ""},
		{`INSERT INTO t(id, n) VALUES (1, CASE 1 WHEN 1 THEN 1 ELSE 2 END)`, "write pinned", "of a CASE may be one that is not built in"},
		{`INSERT INTO t(id, b) VALUES (1, 2 BETWEEN 1 AND 3)`, "write pinned", "may be one that is not built in"},
	})
	r = newRig(t, append(inPlace[:len(inPlace):len(inPlace)], `create type other as enum ('good')`)...)
	r.in.Schemas = []string{"mine", "pg_catalog", "public"}
	r.in.ParamOIDs = []uint32{23}
	r.check([]want{{`INSERT INTO t(id, v) VALUES (1, $1)`, "write pinned", "a cast of the user's"}, {`INSERT INTO t(id, n) VALUES (1, $1)`, "write text", ""}})
	r.in.ParamOIDs = nil
	r.check([]want{
		{`INSERT INTO t(id, d) VALUES (1, 'to' || 'day')`, "write pinned", "a cast of the user's"},
		{`ALTER TABLE t ALTER v TYPE pair`, "refused", ""}, {`ALTER TABLE t ALTER v TYPE varchar`, "ddl", ""}, {`ALTER TABLE t ALTER n TYPE bigint`, "ddl", ""},
		{`ALTER TABLE t ALTER n TYPE text`, "refused", "a cast of the user's"},
		{`INSERT INTO t(id, v) VALUES (1, 5)`, "write pinned", "a cast of the user's"}, {`INSERT INTO t(id, n) VALUES (1, true AND false)`, "write pinned", "a cast of the user's"},
		{`INSERT INTO t(id, n) VALUES (1, NULL IS NULL)`, "write pinned", "a cast of the user's"}, {`UPDATE t SET v = n WHERE id = 1`, "write rows", "a cast of the user's"},
		{`INSERT INTO t(id, m) VALUES (1, 'good'::other)`, "write pinned", "a cast of the user's"},
		{`INSERT INTO t(id, v, n, b, d) VALUES (1, 'x', 5, true, '2026-01-01')`, "write text", ""}, {`INSERT INTO t(id, v) VALUES (1, 'x'::text), (2, $1)`, "write text", ""},
	})
	r = newRig(t, append(inPlace[:4:5], `create extension citext`, `create table c(id int primary key, v citext, n int)`)...)
	r.check([]want{
		{`UPDATE c SET n = n + 1 WHERE id = 1`, "write text", ""}, // casts of extensions are fixed
		{`SELECT nextval('counter')`, "draw pinned", ""},
	})
}

// A key that is computed of other columns changes with them, and cannot be set.
func TestI6KeysThatAreGenerated(t *testing.T) {
	r := newReplica(t, event.LevelCount,
		`create table g(a int, k int generated always as (a + 1) stored primary key, v text)`,
		`create table twice(a int not null unique, k int generated always as (a + 1) stored primary key, v text)`,
		`create table below(k int primary key references g on update cascade, v text)`, `create function touch() returns trigger language plpgsql as 'begin return new; end'`)
	for _, sql := range []string{
		`INSERT INTO g VALUES (1), (2), (3)`, `UPDATE g SET v = 'x' WHERE a > 1`, `INSERT INTO below VALUES (2), (3)`, `UPDATE g SET a = 20 WHERE k = 2`,
		`DELETE FROM g WHERE a = 3`, `INSERT INTO twice VALUES (1), (2)`, `UPDATE twice SET v = 'y'`,
		`INSERT INTO twice VALUES (1, DEFAULT, 'z'), (7, DEFAULT, 'new') ON CONFLICT (k) DO UPDATE SET v = excluded.v`,
	} {
		r.run(sql)
		r.same("g", "twice", "below")
	}
	r.check([]want{
		{`UPDATE g SET a = a + 1`, "refused", "key columns"}, {`UPDATE twice SET a = a + 1`, "refused", "key columns"}, {`UPDATE g SET a = 5 WHERE k = 2`, "write text", ""},
		{`INSERT INTO g VALUES (1) ON CONFLICT (k) DO UPDATE SET v = 'x'`, "refused", "its key is a generated column"},
		{`INSERT INTO twice VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 9`, "refused", "key columns"},
	})
	r.pg.Exec(t, r.db, `create trigger touched before update on below for each row execute function touch()`)
	if _, err := r.cat.Version(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.check([]want{{`UPDATE g SET a = 5 WHERE k = 2`, "refused", "trigger touched"}, {`UPDATE g SET v = 'x' WHERE k = 2`, "write text", ""}})
}
