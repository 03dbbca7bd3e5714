package session_test

import (
	"strings"
	"testing"
)

// TestI5RefusedParseTakesTheUnnamedStatementAway: what follows it in the packet is not
// taken for a COMMIT that was the unnamed statement before, which ended the client's block.
func TestI5RefusedParseTakesTheUnnamedStatementAway(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY, n int UNIQUE DEFERRABLE)`, `INSERT INTO t VALUES (1, 1)`)
	const refused = `UPDATE t SET id = id + 100 WHERE n = 1`
	c := r.client()
	c.parse("begin", `BEGIN`).parse("write", `UPDATE t SET n = 1 WHERE id = 1`).sync().ready()
	for _, control := range []string{`COMMIT`, `ROLLBACK`, `BEGIN`} {
		for _, statements := range [][]string{{"begin"}, {"begin", "write"}} {
			c.run(`BEGIN`).sync().ready()
			c.run(control).sync().ready()
			c.bind("", "begin", nil).execute("", 0).sync().ready()
			if len(statements) > 1 {
				c.bind("", "write", nil).execute("", 0).sync().ready()
			}
			c.take()
			c.run(refused).sync()
			c.says(`C=0A000`, `Z "E"`)
			c.bind("", "", nil).execute("", 0).sync()
			c.says(`C=`, `Z "E"`)
			c.query(`ROLLBACK`).says(`Z "I"`)
		}
	}
	// Nor is a COMMIT behind a statement that is refused looked at.
	c.parse("commit", `COMMIT`).sync().ready()
	c.query(`BEGIN; UPDATE t SET n = 2 WHERE id = 1`).ready()
	c.take()
	c.parse("it", refused).bind("", "commit", nil).execute("", 0).sync()
	c.says(`C=0A000`, `Z "E"`)
	c.query(`ROLLBACK`).ready()
	// Behind an error the server does not look at it, and the statement before stays.
	c.parse("", `SELECT 7`).sync().ready()
	c.take()
	c.parse("odd", `SELECT nothing`).parse("", refused).sync().ready()
	c.bind("", "", nil).execute("", 0).sync().ready()
	if got := c.take(); !strings.Contains(got, "SELECT 1") {
		t.Errorf("the unnamed statement is gone: %s", got)
	}
}
