package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/testkit"
)

// earlier makes a schema in front of public, in which a table can hide another.
var earlier = []string{plainTable, `CREATE SCHEMA early`,
	`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = early, public', current_database()); END $$`}

// beside runs SQL behind the agent's back while an insertion waits for a lock: it
// was classified before, and commits afterwards.
func (r *rig) beside(c *rawClient, run func(*rawClient, int), id int, sql string) {
	r.t.Helper()
	ctx := context.Background()
	conn := r.pg.Connect(r.t, r.db)
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `BEGIN; LOCK TABLE public.t IN SHARE MODE`); err != nil {
		r.t.Fatal(err)
	}
	run(c, id)
	c.flush()
	testkit.Eventually(r.t, testkit.Patience, func() error {
		if rows := r.pg.Query(r.t, r.db, `SELECT FROM pg_locks WHERE relation = 'public.t'::regclass AND NOT granted`); len(rows) == 0 {
			return errors.New("the insertion does not wait")
		}
		return nil
	})
	r.pg.Exec(r.t, r.db, sql)
	if _, err := conn.Exec(ctx, `ROLLBACK`); err != nil {
		r.t.Fatal(err)
	}
}

// TestI6DDLBetweenClassificationAndCommitIsNoticed: DDL that takes no lock which the
// transaction would meet, and that the agent's own connection has not seen, keeps its
// COMMIT back where it changes what a name means, and only there.
func TestI6DDLBetweenClassificationAndCommitIsNoticed(t *testing.T) {
	r := rigWith(t, setting{unwatched: true}, earlier...)
	id, want := 0, ""
	for name, run := range insertions {
		if name == "copy" {
			continue // it waits for the lock before the server asks for data
		}
		c := r.client()
		id++
		r.beside(c, run, id, `CREATE TABLE early.t (id int PRIMARY KEY)`)
		c.says(`C=40001 M=opmux: the catalogue changed while the transaction ran`, `Z "I"`)
		r.pg.Exec(t, r.db, `DROP TABLE early.t`)
		if _, err := r.cat.Version(context.Background()); err != nil {
			t.Fatal(err)
		}
		id++
		r.beside(c, run, id, fmt.Sprintf(`CREATE TABLE early.other%d (id int)`, id))
		c.says(`Z "I"`)
		if want = strings.TrimSpace(fmt.Sprint(want, " ", id)); r.ids() != want {
			t.Fatalf("%s: rows %s are there, want %s", name, r.ids(), want)
		}
	}
	r.same()
}

// TestSessionsThatMayNotReadTheCounterCommit: the agent's own connection reads it for them.
func TestSessionsThatMayNotReadTheCounterCommit(t *testing.T) {
	r := newRig(t, nil, plainTable, `DROP ROLE IF EXISTS opmux_unread`, `CREATE ROLE opmux_unread`, `GRANT ALL ON t TO opmux_unread`)
	r.pg.Exec(t, r.db, `REVOKE SELECT ON SEQUENCE opmux.ddl_counter FROM PUBLIC`)
	id, want := 0, ""
	for name, run := range insertions {
		c := r.client()
		c.query(`SET ROLE opmux_unread`).ready()
		for range 2 {
			id++
			run(c, id)
			c.says(`Z "I"`)
			if want = strings.TrimSpace(fmt.Sprint(want, " ", id)); r.ids() != want {
				t.Fatalf("%s: rows %s are there, want %s", name, r.ids(), want)
			}
		}
	}
	r.same()
}
