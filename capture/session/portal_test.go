package session_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// summary is what an operation does, in a few words.
func summary(ops []event.Operation) string {
	var out []string
	for _, op := range ops {
		word, _, _ := strings.Cut(op.Text, " ")
		if op.Rows != nil {
			word = fmt.Sprintf("%s of %d", op.Rows.Action, len(op.Rows.Rows))
		}
		out = append(out, fmt.Sprintf("%s affected %d", word, op.Digest.Affected))
	}
	return strings.Join(out, "; ")
}

// TestI2PortalsArePublishedOnceInTheirPlace: a write whose rows the client fetches in
// pieces, or not at all, is published once, where it ran, and not where it was
// rolled back to a savepoint.
func TestI2PortalsArePublishedOnceInTheirPlace(t *testing.T) {
	const two, all = `INSERT INTO t VALUES (1, 0), (2, 0) RETURNING id`, `UPDATE t SET v = v + 1 WHERE id > 0 RETURNING id`
	bound := func(sql string) func(*rawClient) {
		return do(func(c *rawClient) { c.parse("w", sql).bind("p", "w", nil) })
	}
	fetch := func(limit int32) func(*rawClient) { return do(func(c *rawClient) { c.execute("p", limit) }) }
	for name, c := range map[string]struct {
		steps []func(*rawClient)
		want  string
	}{
		"never fetched further": {[]func(*rawClient){do(func(c *rawClient) { c.parse("", two).bind("", "", nil).execute("", 1) })}, "INSERT affected 2"},
		"executed at its end": {[]func(*rawClient){do(func(c *rawClient) {
			c.parse("", two).bind("", "", nil).execute("", 1).execute("", 1).execute("", 1).execute("", 0)
		})}, "INSERT affected 2"},
		"others run meanwhile": {[]func(*rawClient){pipe(`BEGIN`), bound(two), fetch(1), q(`UPDATE t SET v = 5 WHERE id = 1`), q(`SELECT 1`), fetch(1), fetch(1), q(`DELETE FROM t WHERE id = 2`), pipe(`COMMIT`)},
			"INSERT affected 2; UPDATE affected 1; DELETE affected 1"},
		"rows, others run meanwhile": {[]func(*rawClient){q(`INSERT INTO t VALUES (1, 0), (2, 0)`), pipe(`BEGIN`), bound(all), fetch(1), q(`UPDATE t SET v = 5 WHERE id = 1`), pipe(`COMMIT`)},
			"INSERT affected 2; update of 2 affected 2; UPDATE affected 1"},
		"rolled back while suspended": {[]func(*rawClient){q(`INSERT INTO t VALUES (1, 0), (2, 0)`), pipe(`BEGIN`), bound(all), pipe(`SAVEPOINT a`), fetch(1), pipe(`ROLLBACK TO a`), q(`UPDATE t SET v = 5 WHERE id = 1`), pipe(`COMMIT`)},
			"INSERT affected 2; UPDATE affected 1"},
		"rolled back when finished": {[]func(*rawClient){q(`INSERT INTO t VALUES (1, 0), (2, 0)`), pipe(`BEGIN`, `SAVEPOINT a`), bound(all), fetch(0), pipe(`ROLLBACK TO a`), pipe(`COMMIT`)},
			"INSERT affected 2"},
		"replaced while suspended": {[]func(*rawClient){pipe(`BEGIN`), do(func(c *rawClient) {
			c.parse("", two).bind("", "", nil).execute("", 1).parse("", `SELECT 1`).bind("", "", nil).execute("", 0)
		}), pipe(`COMMIT`)}, "INSERT affected 2"},
		"executed again without rows": {[]func(*rawClient){q(`INSERT INTO t VALUES (1, 0), (2, 0)`), do(func(c *rawClient) {
			c.parse("", `UPDATE t SET v = v + 1 WHERE id > 0`).bind("", "", nil).execute("", 1).execute("", 1)
		}), q(`UPDATE t SET v = 7 WHERE id = 1`)}, "INSERT affected 2; UPDATE affected 1"},
		"released, and rolled back further": {[]func(*rawClient){q(`BEGIN; SAVEPOINT a`), q(insertV(1)), q(`SAVEPOINT b`), q(insertV(2)), q(`RELEASE b`), q(`SAVEPOINT a`), q(insertV(3)), q(`ROLLBACK TO a`), q(insertV(4)), q(`RELEASE a`), q(`ROLLBACK TO a`), q(insertV(5)), q(`COMMIT`)},
			"INSERT affected 1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY, v int)`)
			client := r.client()
			for _, step := range c.steps {
				step(client)
			}
			client.send(pgwire.Terminate, nil).flush()
			if got := summary(r.committed()); got != c.want {
				t.Errorf("published: %s\nexpected:  %s", got, c.want)
			}
		})
	}
}

func insertV(id int) string { return fmt.Sprintf(`INSERT INTO t VALUES (%d, 0)`, id) }
