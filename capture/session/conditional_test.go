package session_test

import (
	"errors"
	"testing"

	"github.com/opmux/opmux/internal/testkit"
)

// TestI3ConditionalDDLWaitsForOpenDDL: a DROP … IF EXISTS must not find nothing
// while the CREATE of another session has its place already.
func TestI3ConditionalDDLWaitsForOpenDDL(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.client(), r.client()
	for _, sql := range []string{`BEGIN`, `CREATE TABLE late (a int)`} {
		a.query(sql).ready()
	}
	b.query(`DROP TABLE IF EXISTS late`).flush()
	testkit.Eventually(t, testkit.Patience, func() error {
		if rows := r.pg.Query(t, r.db, `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`); len(rows) == 0 {
			return errors.New("the DROP does not wait")
		}
		return nil
	})
	a.query(`COMMIT`).ready()
	b.ready()
	if rows := r.pg.Query(t, r.db, `SELECT FROM pg_class WHERE relname = 'late'`); len(rows) > 0 {
		t.Error("the DROP did not see the table that was made before it")
	}
	ops := r.committed()
	if len(ops) != 2 || ops[1].Text != `DROP TABLE IF EXISTS late` {
		t.Errorf("recorded: %+v", ops)
	}
}
