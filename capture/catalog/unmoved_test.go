package catalog_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/testkit"
)

// Any role may ask, by the OID alone, whether the counter stands where it stood; the
// answer has DDL in it that is still open.
func TestAnySessionTellsWhetherTheCounterHasMoved(t *testing.T) {
	ctx := context.Background()
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `drop role if exists asking_login`, `create role asking_login login`)
	c := open(t, pg.DSN(db))
	conn, err := pgconn.Connect(ctx, pg.DSN(db)+"&user=asking_login")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	unmoved := func(version int64) error {
		return conn.ExecParams(ctx, c.UnmovedSQL(), [][]byte{strconv.AppendInt(nil, version, 10)}, nil, nil, nil).Read().Err
	}
	before := version(t, c)
	if err := unmoved(before); err != nil {
		t.Fatal(err)
	}
	other := pg.Connect(t, db)
	defer func() { _ = other.Close(ctx) }()
	if _, err := other.Exec(ctx, `begin; create type mood as enum ('calm')`); err != nil {
		t.Fatal(err)
	}
	if unmoved(before) == nil {
		t.Error("open DDL goes unnoticed")
	}
	if _, err := other.Exec(ctx, `rollback`); err != nil {
		t.Fatal(err)
	}
	now := version(t, c)
	if err := unmoved(now); err != nil {
		t.Error(err)
	}
	if unmoved(now+1) == nil {
		t.Error("a version that was not reached is confirmed")
	}
	pg.Exec(t, db, `revoke select on sequence opmux.ddl_counter from public`)
	if unmoved(version(t, c)) == nil {
		t.Error("a session that may not read the counter confirms it")
	}
}

// Without the right to count, or to let others read the count, sessions are not asked.
func TestSessionsAreNotAskedWhatTheyCannotTell(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `drop role if exists counting_login`, `create role counting_login login`)
	if c := open(t, pg.DSN(db)+"&user=counting_login"); c.UnmovedSQL() != "" {
		t.Error("sessions are asked for a counter that is not there")
	}
	if c := open(t, pg.DSN(db)); c.UnmovedSQL() == "" {
		t.Error("sessions are not asked")
	}
	pg.Exec(t, db, `revoke select on sequence opmux.ddl_counter from public`,
		`grant usage on schema opmux to counting_login`, `grant select on sequence opmux.ddl_counter to counting_login`)
	c := open(t, pg.DSN(db)+"&user=counting_login")
	if !c.Counted() || c.UnmovedSQL() != "" {
		t.Errorf("counted: %v, asked by %q", c.Counted(), c.UnmovedSQL())
	}
}
