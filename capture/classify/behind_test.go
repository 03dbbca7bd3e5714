package classify_test

import (
	"context"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
)

// The text of DDL is found in the server's stack, where it is not escaped.
func TestToldByAStack(t *testing.T) {
	const block = "\nPL/pgSQL function inline_code_block line 3 at SQL statement"
	for _, c := range []struct{ stack, tag, want string }{
		{`SQL statement "CREATE TABLE t (id int)"` + block, "CREATE TABLE", "CREATE TABLE t (id int)"},
		{`SQL statement "CREATE TABLE t (id int)"`, "CREATE TABLE", "CREATE TABLE t (id int)"},
		{"SQL statement \"/* \" */ create -- \"\n unlogged table \"a\"\"b\"(\"\nc\" int DEFAULT '\"\nx');\"" + block, "CREATE TABLE",
			"/* \" */ create -- \"\n unlogged table \"a\"\"b\"(\"\nc\" int DEFAULT '\"\nx');"},
		{"SQL statement \"CREATE TABLE t (v text DEFAULT '\"" + block + "')\"" + block, "CREATE TABLE", "CREATE TABLE t (v text DEFAULT '\"" + block + "')"},
		{"SQL statement \"DROP TABLE \"a\",\n\"b\"\"" + block + "\nSQL statement \"SELECT f()\"" + block, "DROP TABLE", "DROP TABLE \"a\",\n\"b\""},
		{`SQL statement "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"` + block, "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"},
		{`SQL statement "ALTER TABLE t RENAME a TO b"` + block, "ALTER TABLE", "ALTER TABLE t RENAME a TO b"},
		{`SQL statement "CREATE VIEW v AS SELECT 1 "x""` + block, "CREATE VIEW", `CREATE VIEW v AS SELECT 1 "x"`},
		// Not told, since both readings are such a command.
		{"SQL statement \"CREATE VIEW v AS SELECT 1 \"\nPL/ x\"\"" + block, "CREATE VIEW", ""},
		// Not told: another function's text, two commands, none.
		{`SQL function "f" statement 1` + "\n" + `SQL statement "SELECT f()"` + block, "CREATE TABLE", ""},
		{`SQL statement "SELECT make()"` + block, "CREATE TABLE", ""},
		{`SQL statement "CREATE EXTENSION e"` + block, "CREATE FUNCTION", ""},
		{`SQL statement "CREATE SCHEMA s CREATE TABLE t (id int)"` + block, "CREATE TABLE", ""},
		{`SQL statement "CREATE TABLE a (); CREATE TABLE b ()"` + block, "CREATE TABLE", ""},
		{"SQL statement \"DROP TABLE a --\"" + block + "\"\nPL/pgSQL function f() line 1 at EXECUTE", "DROP TABLE", "DROP TABLE a --"},
		{"SQL statement \"DROP TABLE a --\"\nPL/ -- \n\"" + block, "DROP TABLE", "DROP TABLE a --"},
		{"SQL statement \"DROP TABLE a --\"\nSQL statement \"" + "\n, b\"" + block, "DROP TABLE", "DROP TABLE a --"},
		{`SQL statement "CREATE TABLE`, "CREATE TABLE", ""},
		{``, "CREATE TABLE", ""},
	} {
		got, ok := classify.Told(c.stack, c.tag)
		if got != c.want && ok || ok != (c.want != "") {
			t.Errorf("%s\n  got  %q, %v\n  want %q", c.stack, got, ok, c.want)
		}
	}
}

// ran plans DDL as what ran inside of a statement.
func (r *rig) ran(sql string, dropped int) *classify.Plan {
	r.t.Helper()
	in := r.in
	in.SQL, in.Behind = sql, &classify.Behind{Dropped: dropped}
	p, err := r.c.Ran(context.Background(), in)
	if err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return p
}

// What DDL is carried behind the statement that ran it, when the catalogue has its
// effect already: the columns here that are "added" are there.
func TestDDLThatRan(t *testing.T) {
	r := newRig(t, append(shop, `create table added(id int primary key, c int, at timestamptz, v int)`)...)
	for _, w := range []struct {
		sql     string
		dropped int
		refused string // "": it is carried
	}{
		{"create table if not exists added (id int)", -1, ""},
		{"create type mood as enum ('a')", -1, ""},
		{"create or replace function f() returns int language sql as 'select 1'", -1, ""},
		{"create or replace view v as select 1 as one", -1, ""},
		{"create index if not exists i on added (c)", -1, ""},
		{"alter table added add column if not exists c int default 7", -1, ""},
		{"alter table added add column at timestamptz default now()", -1, ""},
		{"alter type mood add value if not exists 'c'", -1, ""},
		{"alter table if exists added drop column if exists c", -1, ""},
		{"drop table gone", 1, ""},
		{"drop table if exists gone, away cascade", 2, ""},
		{"drop table if exists gone, away", 1, "of several objects"},
		{"drop owned by postgres", 1, "roles"},
		{"create extension pg_trgm", -1, "written twice"},
		{"create table copied as select 1", -1, "unseen by the capture triggers"},
		{"create materialized view m as select count(*) from customer", -1, "locked before"},
		{"refresh materialized view summary", -1, "locked before"},
		{"alter table added alter column c type text", -1, "what the column was"},
		{"alter table not_there alter column c type text", -1, "what the column was"},
		{"alter table added add column if not exists v int default writer(1)", -1, "ADD COLUMN v"},
		{"alter table added add column if not exists at timestamptz default now()", -1, "whether it was there"},
		{"alter table added add column if not exists c serial", -1, "ADD COLUMN c"},
		{"alter domain email drop constraint if exists x", -1, "nothing orders"},
		{"create table opmux.x (id int)", -1, "opmux's own"},
		{"create event trigger e on ddl_command_end execute function f()", -1, "event triggers"},
		{"grant select on customer to public", -1, "roles"},
		{"create or replace aggregate total(int) (sfunc = int4pl, stype = int4)", -1, "nothing orders"},
		{"create table copied as select nosuch(1)", -1, "does not exist"},
		{"select 1", -1, "not what ran"},
	} {
		p := r.ran(w.sql, w.dropped)
		switch {
		case w.refused == "" && p.Kind != classify.DDL:
			t.Errorf("%s: %s, %v; want it carried", w.sql, p.Kind, p.Refusal)
		case w.refused != "" && (p.Kind != classify.Refused || !strings.Contains(p.Refusal.Error(), w.refused)):
			t.Errorf("%s: %s, %v; want a refusal with %q", w.sql, p.Kind, p.Refusal, w.refused)
		}
	}
}

// What was dropped is named by the event, since the text may say it by a search path
// that is gone.
func TestDDLThatDropped(t *testing.T) {
	r := newRig(t, shop...)
	in := r.in
	in.SQL, in.Behind = "drop table gone", &classify.Behind{Dropped: 1, Tables: []string{"elsewhere.gone"}}
	if p, err := r.c.Ran(context.Background(), in); err != nil || strings.Join(p.Tables, " ") != "elsewhere.gone" {
		t.Errorf("%v, %v; want the table that was dropped", p.Tables, err)
	}
}

// DDL by which values are computed, and DDL that may change by what, is told.
func TestDDLThatEvaluates(t *testing.T) {
	r := newRig(t, shop...)
	for sql, want := range map[string]bool{
		"alter table customer add column n int default 1":                                          true,
		"create table reading_1 partition of reading for values from (minvalue) to ('2026-01-01')": true,
		"alter table customer drop column note":                                                    false,
		"create table plain (id int)":                                                              false,
	} {
		if got := r.ran(sql, -1).Evaluates; got != want {
			t.Errorf("%s: evaluates %v, want %v", sql, got, want)
		}
	}
	for tag, want := range map[string]bool{"CREATE FUNCTION": true, "ALTER DOMAIN": true, "DROP TYPE": true, "CREATE TABLE": false, "COMMENT": false} {
		if created := classify.Creates(tag); created != (tag != "ALTER DOMAIN" && tag != "DROP TYPE") {
			t.Errorf("%s leaves tables as they were: %v", tag, created)
		}
		if classify.Redefines(tag) != want {
			t.Errorf("%s redefines: %v, want %v", tag, !want, want)
		}
	}
}
