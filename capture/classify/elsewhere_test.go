package classify_test

import (
	"fmt"
	"testing"
)

// I6: what a function that says it is immutable reads beside its arguments is not the same
// in a backup's session, in which generated columns, checks and indexes are made anew.
func TestI6WhatIsComputedElsewhere(t *testing.T) {
	r := newRig(t,
		`create function enc(text) returns text immutable language sql as 'select $1 || pg_client_encoding()'`,
		`create function tenant(text) returns text immutable language plpgsql as 'begin return $1 || current_setting (''app.tenant'', true); end'`,
		`create function "Outer"(text) returns text immutable language plpgsql as 'begin return "enc" ($1); end'`,
		`create function atomic(text) returns text immutable language sql begin atomic select $1 || current_setting('app.tenant'); end`,
		`create function around(text) returns text immutable language sql begin atomic select enc($1); end`,
		`create function encs(text, text) returns text immutable language sql as 'select enc($1)'`, `create operator === (leftarg = text, rightarg = text, function = encs)`,
		`create function age_of(text) returns text immutable language sql as 'select age($1::date)::text'`,
		`create function days(text) returns text immutable language sql as 'select (CURRENT_DATE - $1::date)::text'`,
		`create function asks(text) returns text immutable language sql begin atomic select $1 || current_user; end`,
		`create function plain(text) returns text immutable language plpgsql as 'begin return known($1) || message(2) || encounter(3) || age($1, $2); end'`,
		`create table rates (c text primary key, r text)`, `create table "Odd Names" (c text)`,
		`create function rate(text) returns text immutable language sql as 'select r from rates where c = $1'`,
		`create function rate_in(text) returns text immutable language plpgsql as 'begin return (select o.c from unnest(array[$1]) u, "Odd Names" o); end'`,
		`create function rate_of(text) returns text immutable language plpgsql as 'begin return rate($1); end'`,
		`create function rate_kept(text) returns text immutable language sql begin atomic select r from rates where c = $1; end`,
		`create function rate_named(text) returns text immutable language plpgsql as 'declare v text; begin execute $1 into v; return v; end'`,
		`create function rates(text) returns text immutable language sql as 'select ''rates'' || substring($1 from 2)'`,
		`create function reads_none(rates text) returns text immutable language sql as 'select string_agg(r, rates(r)) || extract(year from $1::date) || coalesce(rates) from unnest(array[rates]) r'`,
		`create function slug(text) returns text immutable language sql as 'select lower($1)'`)
	computed := map[string]bool{`enc(a)`: true, `tenant(a)`: true, `"Outer"(a)`: true, `atomic(a)`: true, `around(a)`: true, `a === 'x'`: true, `plain(a)`: false, `slug(a)`: false, `upper(a)`: false}
	moments := map[string]bool{`age_of(a)`: true, `days(a)`: true, `asks(a)`: true,
		`rate(a)`: true, `rate_in(a)`: true, `rate_of(a)`: true, `rate_kept(a)`: true, `rate_named(a)`: true, `rates(a)`: false, `reads_none(a)`: false}
	// Of these a backup has other numbers; of what those of a configuration name it has the same.
	for expr, bad := range map[string]bool{`tableoid::bigint::text`: true, `'pg_class'::regclass::oid::bigint::text`: true, `a || 'int4'::regtype::oid::bigint::text`: true,
		`to_tsvector('english', a)::text`: false} {
		moments[expr] = bad
	}
	n := 0
	table := func(format, expr string) string {
		n++
		r.pg.Exec(t, r.db, fmt.Sprintf("create table e%d (id int primary key, a text)", n), fmt.Sprintf(format, n, expr))
		return fmt.Sprintf(`INSERT INTO e%d (id, a) VALUES (1, 'x')`, n)
	}
	judge := func(sql, expr string, refused bool) {
		t.Helper()
		if _, err := r.cat.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p := r.plan(sql); (p.Refusal != nil) != refused {
			t.Errorf("%s, of %s: %v", sql, expr, p.Refusal)
		}
	}
	for expr, bad := range computed {
		judge(table(`alter table e%d add g text generated always as (%s) stored`, expr), expr, bad)
		judge(table(`alter table e%d add check ((%s)::text > '')`, expr), expr, bad)
		judge(table(`create index on e%d ((%s))`, expr), expr, bad)
		judge(table(`create index on e%d (id) where (%s)::text > ''`, expr), expr, bad)
	}
	for expr, bad := range moments {
		judge(table(`alter table e%d add g text generated always as (%s) stored`, expr), expr, bad)
		judge(table(`alter table e%d add check ((%s)::text > '')`, expr), expr, false) // a backup stops where its own differs
	}
	r.pg.Exec(t, r.db, `create domain encoded as text check (enc(value) > '')`, `create table of_domain (id int primary key, d encoded)`,
		`create table parted (id int, a text) partition by list (id)`, `create table part partition of parted default`, `alter table part add check (enc(a) > '')`)
	judge(`INSERT INTO of_domain VALUES (1, 'x')`, "domain", true)
	judge(`INSERT INTO parted VALUES (1, 'x')`, "partition", true)
	r.check([]want{
		{`UPDATE parted SET a = 'x' WHERE id = 1`, "refused", "constraint part_a_check reads a setting"},
		{`CREATE TABLE d (a text CHECK (a <> pg_client_encoding()))`, "refused", "calls pg_client_encoding"},
	})
}
