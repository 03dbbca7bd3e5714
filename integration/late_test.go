package integration

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// I6: what a statement leaves to be run later and the capture triggers would not see,
// or not carry, is refused by name and leaves nothing behind. Each has a session of its
// own, since a refusal is the transaction's.
func TestI6WhatRunsLaterUnseen(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, opaqueSchema...)
	for sql, want := range map[string]string{
		"SELECT holds('SELECT transfer(1, 2, 3)')": "WITH HOLD that SELECT has declared",
		"BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT 1; CLOSE h; SELECT holds('SELECT transfer(1, 2, 3)'); COMMIT": "WITH HOLD that SELECT has declared",
		"BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT transfer(1, 2, 3); COMMIT":                                    "function transfer",
		"BEGIN; INSERT INTO late VALUES (90); SET LOCAL array_nulls = off; INSERT INTO parent VALUES (90); COMMIT":  "a deferred trigger: under array_nulls",
		"BEGIN; SELECT opens(); SET LOCAL array_nulls = off; FETCH ALL FROM c; COMMIT":                              "FETCH: under array_nulls",
		"DO $$ BEGIN INSERT INTO parent VALUES (91); DROP TABLE nokey CASCADE; END $$":                              "DROP TABLE of public.nokey inside of a statement",
	} {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		_, err := conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one of %q", sql, err, want)
		}
	}
	b.identical()
}

// A cursor that a function has opened is not run by the protocol's Execute, which says
// nothing about what it runs.
func TestI6CursorsRunByTheProtocol(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, opaqueSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	if _, err := conn.Exec(b.ctx, "BEGIN; SELECT opens()", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	front := conn.PgConn().Frontend()
	front.SendExecute(&pgproto3.Execute{Portal: "c"})
	front.SendSync(&pgproto3.Sync{})
	if err := front.Flush(); err != nil {
		t.Fatal(err)
	}
	m, err := front.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if refused, ok := m.(*pgproto3.ErrorResponse); !ok || !strings.Contains(refused.Message, "Execute of a cursor") {
		t.Errorf("Execute of a cursor: %#v, want a refusal", m)
	}
}

// In a Query of reads alone, which goes to the server as it is otherwise, a cursor is
// fetched from under the capture triggers' eyes, too.
func TestCursorsAreFetchedBesideReads(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, opaqueSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for _, sql := range []string{"BEGIN; SELECT opens()", "SELECT 1; FETCH ALL FROM c", "DECLARE h CURSOR WITH HOLD FOR SELECT 1; SELECT 2", "SELECT reads()", "COMMIT"} {
		if _, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	b.identical()
}
