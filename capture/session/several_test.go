package session_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/testkit"
)

// TestI5OneQueryIsAnsweredAtOnce: a server sends the answers of one Query's statements
// together. A client that has had one asks for the next, and waits where it would have
// gone on (isolationtester does).
func TestI5OneQueryIsAnsweredAtOnce(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY)`)
	ctx := context.Background()
	holder := testkit.Connect(t, r.pg.DSN(r.db))
	for _, sql := range []string{
		`SELECT 1; INSERT INTO t VALUES (1); SELECT 2; LOCK TABLE t`,
		`BEGIN; INSERT INTO t VALUES (2); SELECT 1; LOCK TABLE t; COMMIT`,
		`SET work_mem = '1MB'; SELECT 1; DELETE FROM t WHERE id = 1; LOCK TABLE t`,
	} {
		if _, err := holder.Exec(ctx, `BEGIN; LOCK TABLE t IN ACCESS SHARE MODE`); err != nil {
			t.Fatal(err)
		}
		c := r.client()
		c.query(sql).flush()
		testkit.Eventually(t, testkit.Patience, func() error {
			if len(r.pg.Query(t, r.db, `SELECT FROM pg_locks WHERE relation = 't'::regclass AND NOT granted`)) == 0 {
				return errors.New("the last statement does not wait")
			}
			return nil
		})
		if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes came (%v) before the last statement was over", sql, n, err)
		}
		if err := c.conn.SetReadDeadline(time.Now().Add(2 * testkit.Patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := holder.Exec(ctx, `ROLLBACK`); err != nil {
			t.Fatal(err)
		}
		c.says(`Z "I"`)
	}
}
