package session_test

import (
	"errors"
	"testing"

	"github.com/opmux/opmux/internal/testkit"
)

// I5: a prepared write that waits while another session changes a column's type gets, where its rows are asked for
// behind the client's back, an error to be retried, and not one about a result that the client's statement has not.
func TestI5WritesThatWaitForOtherColumnsAreRetried(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY, v int)`, `INSERT INTO t VALUES (1, 1), (2, 2)`)
	c, other := r.client(), r.client()
	c.parse("s", `UPDATE t SET v = v + 1 WHERE v < $1`).sync().ready()
	c.bind("", "s", nil, "9").execute("", 0).sync().says("UPDATE 2", `Z "I"`)
	other.query(`BEGIN; ALTER TABLE t ALTER COLUMN v TYPE bigint`).ready()
	c.bind("", "s", nil, "9").execute("", 0).sync().flush()
	testkit.Eventually(t, testkit.Patience, func() error {
		if len(r.pg.Query(t, r.db, `SELECT FROM pg_locks WHERE relation = 't'::regclass AND NOT granted`)) == 0 {
			return errors.New("the write does not wait")
		}
		return nil
	})
	other.query(`COMMIT`).says("COMMIT")
	c.says("C=40001", "other columns", `Z "I"`)
	c.bind("", "s", nil, "9").execute("", 0).sync().says("UPDATE 2", `Z "I"`)
}
