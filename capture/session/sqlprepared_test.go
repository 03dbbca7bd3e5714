package session_test

import (
	"fmt"
	"slices"
	"testing"
)

// I1: what SQL has prepared can be bound by the protocol (libpq's PQexecPrepared and PHP's pg_execute do), and is
// published like what the protocol has prepared.
func TestI1PreparedBySQLAndBoundByTheProtocol(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY, v int, at timestamptz DEFAULT now())`)
	c := r.client()
	c.query(`PREPARE ins (int) AS INSERT INTO t (id, v) VALUES ($1, $1 + 1)`).ready()
	c.query(`PREPARE up AS UPDATE t SET v = v + $1 WHERE v < $2 RETURNING id`).ready()
	c.query(`PREPARE looks AS SELECT count(*) FROM t`).ready()
	c.bind("", "ins", nil, "7").execute("", 0).sync().says("INSERT 0 1", `Z "I"`)
	c.query(`BEGIN`).ready()
	c.bind("", "ins", nil, "8").execute("", 0).bind("", "up", []int16{1}, "5", "9").describe(true, "").execute("", 0).sync()
	c.says("INSERT 0 1", "T id", "UPDATE 1", `Z "T"`)
	c.run(`COMMIT`).bind("", "looks", nil).execute("", 0).sync().says("COMMIT", "SELECT 1", `Z "I"`)
	c.query(`PREPARE half (numeric) AS UPDATE t SET v = $1 / 2 * 2 WHERE id = 7`).ready() // 6 as an int
	c.bind("", "half", nil, "7").execute("", 0).sync().says("UPDATE 1", `Z "I"`)
	c.run(`PREPARE late AS DELETE FROM t WHERE id = $1`).sync().bind("", "late", nil, "8").execute("", 0).sync().ready()
	c.says("DELETE 1", `Z "I"`)

	var got []string
	for _, op := range r.committed() {
		what := fmt.Sprint(op.Class, " ", op.Text, " ", op.Digest.Affected)
		if len(op.Params) > 0 {
			what += fmt.Sprintf(" %s of %d", op.Params[0].Value, op.Params[0].OID)
		}
		got = append(got, what)
	}
	const insert = "pinned INSERT INTO t (id, v, at) VALUES ($1, $1 + 1, $2) 1 "
	want := []string{insert + "7 of 23", insert + "8 of 23", "rows UPDATE t SET v = v + $1 WHERE v < $2 RETURNING id 1", "text  UPDATE t SET v = $1 / 2 * 2 WHERE id = 7 1 7 of 1700",
		"text  DELETE FROM t WHERE id = $1 1 8 of 0"} // a type that PREPARE did not say, the text says
	if !slices.Equal(got, want) {
		t.Errorf("published %q, want %q", got, want)
	}
}
