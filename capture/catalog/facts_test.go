package catalog_test

import (
	"context"
	"testing"

	"github.com/opmux/opmux/internal/testkit"
)

// I6: each cast by itself is known as one that may give another value elsewhere, or as
// one that cannot.
func TestI6CastsOfUsers(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `create extension citext`, `create type mood as enum ('sad')`, `create type pair as (a int)`,
		`create function size_of(circle) returns int language sql immutable as 'select 1'`)
	c := open(t, pg.DSN(db))
	told := func() bool {
		t.Helper()
		version(t, c)
		f, err := c.Facts(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return f.UserCasts
	}
	if told() {
		t.Error("those of an extension are told as the user's")
	}
	for _, k := range []struct {
		cast, how string
		user      bool
	}{
		{`(circle as int)`, `with function size_of(circle)`, true},
		{`(text as regproc)`, `with function to_regproc(text)`, true},
		{`(text as date)`, `with inout`, true},
		{`(text as int[])`, `with inout`, true},
		{`(text as oid)`, `with inout`, true},
		{`(int as citext)`, `with inout`, true},
		{`(text as pair)`, `with inout`, true},
		{`(text as mood)`, `with inout`, false},
		{`(text as int)`, `with inout`, false},
		{`(bytea as text)`, `without function`, false},
	} {
		pg.Exec(t, db, `create cast `+k.cast+` `+k.how+` as assignment`)
		if got := told(); got != k.user {
			t.Errorf("cast %s %s: told as the user's: %v, want %v", k.cast, k.how, got, k.user)
		}
		pg.Exec(t, db, `drop cast `+k.cast)
	}
}
