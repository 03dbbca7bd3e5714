package property

import (
	"context"
	"fmt"
)

// twoPhase ends a block in two phases, in one session or in two. A cancel may hit any
// of the commands; what is prepared must not stay, since it holds its locks.
func (c *client) twoPhase(ctx context.Context) error {
	gid := fmt.Sprintf("%d-%x", c.id, c.r.Uint64())
	prepare := stmt{kind: "control", sql: "PREPARE TRANSACTION '" + gid + "'", fields: anyFields, mayRefuse: "DDL, or a large one"}
	prepared, err := c.exec(ctx, prepare)
	if err := c.ended(err); err != nil {
		return err
	}
	if prepared && chance(c.r, 30) {
		for _, verb := range []verb{leaves, connects} {
			if _, err := c.do(ctx, action{verb: verb}); err != nil {
				return err
			}
		}
	}
	sql := pick(c.r, "COMMIT PREPARED '", "COMMIT PREPARED '", "ROLLBACK PREPARED '") + gid + "'"
	for try := range 50 {
		if try == 25 { // where the schema has changed since, no attempt can succeed, and this is the way out
			sql = "ROLLBACK PREPARED '" + gid + "'"
		}
		st := stmt{kind: "prepared", sql: sql, fields: anyFields}
		if done, err := c.exec(ctx, st); done || err != nil || !prepared {
			return err
		}
		if left, err := c.left(ctx, gid); !left || err != nil {
			return err
		}
	}
	return findingf("%s: it could not be ended", sql)
}

// left tells whether a transaction is still prepared, or cannot be told.
func (c *client) left(ctx context.Context, gid string) (bool, error) {
	rows, err := c.conn.Exec(ctx, "SELECT 1 FROM pg_prepared_xacts WHERE gid = '"+gid+"'").ReadAll()
	if err != nil || len(rows) != 1 {
		return true, c.ledger.judge(stmt{kind: "prepared", sql: "SELECT"}, err)
	}
	return len(rows[0].Rows) > 0, nil
}
