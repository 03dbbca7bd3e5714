package classify_test

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
)

// I6: a session that has standard_conforming_strings off, or had, may have read the text of a
// function with a backslash in another way than a backup's: what a backup computes by it, or what
// it is told to do by its text, is not carried then, nor is a plan of before taken from the cache.
func TestI6TextsOfFunctionsUnderLenientStrings(t *testing.T) {
	r := newRig(t, append([]string{
		`create function slash(text) returns text immutable language sql as 'select $1 || ''\'''`,
		`create function calls_slash(text) returns text immutable language sql as 'select slash($1)'`,
		`create function slug(text) returns text immutable language sql as 'select lower($1)'`,
		`create table g (id int primary key, v text, h text generated always as (calls_slash(v)) stored)`,
		`create table k (id int primary key, v text check (slash(v) <> ''))`,
		`create table x (id int primary key, v text)`, `create index on x (slash(v))`,
		`create table fine (id int primary key, v text, h text generated always as (slug(v)) stored)`,
		`create function stamps() returns trigger language plpgsql as $$ begin new.v := 'a\b'; return new; end $$`,
		`create function stamped() returns trigger language plpgsql as $$ begin new.v := E'a\\b'; return new; end $$`,
		`create table s (id int primary key, v text)`, `create trigger stamps before insert on s for each row execute function stamps()`,
		`create table e (id int primary key, v text)`, `create trigger stamps before insert on e for each row execute function stamped()`,
	}, shop...)...)
	const do = `DO $$ BEGIN CREATE TYPE m AS ENUM ('a\b'); EXCEPTION WHEN duplicate_object THEN NULL; END $$`
	for sql, refused := range map[string]string{
		`INSERT INTO g VALUES (1, 'a')`: "generated column h calls", `UPDATE g SET v = 'a' WHERE id = 1`: "generated column h calls", `INSERT INTO k VALUES (1, 'a')`: "constraint k_v_check calls",
		`INSERT INTO x VALUES (1, 'a')`: "index x_slash_idx calls", `INSERT INTO fine VALUES (1, 'a')`: "", `INSERT INTO s VALUES (1, 'a')`: "trigger", `INSERT INTO e VALUES (1, 'a')`: "",
		do: "DO", strings.ReplaceAll(do, `'a\b'`, `E'a\\b'`): "",
	} {
		for _, lenient := range []bool{false, true, false} {
			r.in.Lenient = lenient
			p := r.plan(sql)
			switch got := p.Refusal; {
			case !lenient || refused == "":
				if got != nil {
					t.Errorf("%s, lenient %v: %v", sql, lenient, got)
				}
			case got == nil || !strings.Contains(got.Error(), refused):
				t.Errorf("%s: %v, want %q", sql, got, refused)
			}
		}
	}
	r.in.Lenient = false
	r.pg.Exec(t, r.db, `create function elsewhere() returns void language plpgsql set standard_conforming_strings = off as 'begin perform slash(''x''); end'`)
	if _, err := r.cat.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := r.plan(`INSERT INTO g VALUES (1, 'a')`); p.Kind != classify.Refused {
		t.Errorf("a function makes the setting for sessions that do not: %v", p.Kind)
	}
	if p := r.plan(`INSERT INTO fine VALUES (1, 'a')`); p.Kind == classify.Refused {
		t.Errorf("a table that calls no such function: %v", p.Refusal)
	}
}
