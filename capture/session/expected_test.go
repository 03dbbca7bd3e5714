package session_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/testkit"
)

// A commit waits for the transactions that have written, and must not for those that
// came for their ticket, ended otherwise, or went with their session.
func TestTransactionsAreExpectedUntilTheyEnd(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY)`, `INSERT INTO t VALUES (0)`)
	coming := func(want int) {
		t.Helper()
		testkit.Eventually(t, testkit.Patience, func() error {
			if got := r.expected.Coming(); got != want {
				return fmt.Errorf("%d transactions are expected, and %d have written", got, want)
			}
			return nil
		})
	}
	for name, end := range map[string]func(*pgx.Conn) error{
		"COMMIT":   func(c *pgx.Conn) error { return runIn(c, pgx.QueryExecModeSimpleProtocol, `COMMIT`) },
		"ROLLBACK": func(c *pgx.Conn) error { return runIn(c, pgx.QueryExecModeSimpleProtocol, `ROLLBACK`) },
		"COMMIT of what failed": func(c *pgx.Conn) error {
			_ = runIn(c, pgx.QueryExecModeSimpleProtocol, `INSERT INTO t VALUES (0)`) // a duplicate
			return runIn(c, pgx.QueryExecModeSimpleProtocol, `COMMIT`)
		},
		"COMMIT AND CHAIN":  func(c *pgx.Conn) error { return runIn(c, pgx.QueryExecModeSimpleProtocol, `COMMIT AND CHAIN`) },
		"PREPARE":           func(c *pgx.Conn) error { return runIn(c, pgx.QueryExecModeSimpleProtocol, `PREPARE TRANSACTION 'x'`) },
		"the session's end": func(c *pgx.Conn) error { return c.Close(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			conn := testkit.Connect(t, r.DSN())
			came := r.expected.Came()
			for _, sql := range []string{`BEGIN`, `INSERT INTO t VALUES (1)`} {
				if err := runIn(conn, pgx.QueryExecModeSimpleProtocol, sql); err != nil {
					t.Fatal(err)
				}
			}
			coming(1)
			if err := end(conn); err != nil {
				t.Fatal(err)
			}
			coming(0)
			want := int64(0)
			if name == "COMMIT" || name == "COMMIT AND CHAIN" {
				want = 1
				r.pg.Exec(t, r.db, `DELETE FROM t WHERE id = 1`)
			}
			if name == "PREPARE" {
				r.pg.Exec(t, r.db, `ROLLBACK PREPARED 'x'`)
			}
			if got := r.expected.Came() - came; got != want {
				t.Errorf("%d came for a ticket, expected %d", got, want)
			}
		})
	}
}
