package session_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
)

// shapes lists what the records say of tables, one line for each transaction.
func (r *rig) shapes() []string {
	var out []string
	for _, rec := range r.records() {
		tx, ok := rec.Body.(*event.Transaction)
		if !ok {
			continue
		}
		var list []string
		for _, s := range tx.Shapes {
			list = append(list, s.Schema+"."+s.Table+"("+strings.Join(s.Columns, ",")+")")
		}
		slices.Sort(list)
		out = append(out, strings.Join(list, " "))
	}
	return out
}

// TestI6ShapesTravelWhenTheyChange: once for each table that is written, whatever
// session writes it, and again after DDL that went past the agent. A transaction
// that was rolled back, or whose own DDL changes the table, says nothing.
func TestI6ShapesTravelWhenTheyChange(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY, v int)`, `CREATE TABLE u (id int PRIMARY KEY)`)
	c := r.client()
	run := func(list ...string) {
		for _, sql := range list {
			c.query(sql).ready()
		}
	}
	run(`INSERT INTO t VALUES (1, 1)`, `INSERT INTO t VALUES (1, 1)`, `UPDATE t SET v = 2 WHERE id = 1`, `BEGIN`, `INSERT INTO u VALUES (1)`, `ROLLBACK`,
		`CREATE TEMP TABLE t (id int, odd int)`, `INSERT INTO pg_temp.t VALUES (1, 2)`, `DROP TABLE pg_temp.t`,
		`BEGIN`, `INSERT INTO u VALUES (1)`, `UPDATE t SET v = 3 WHERE id = 1`, `COMMIT`)
	c = r.client()
	run(`INSERT INTO u SELECT id + 1 FROM t`)
	r.pg.Exec(t, r.db, `ALTER TABLE t ADD past int DEFAULT 7`)
	run(`INSERT INTO t (id) VALUES (2)`, `INSERT INTO t (id) VALUES (3)`)
	run(`BEGIN`, `INSERT INTO t (id) VALUES (4)`, `ALTER TABLE t DROP past`, `INSERT INTO t (id) VALUES (5)`, `COMMIT`, `DELETE FROM t WHERE id = 5`)
	want := []string{
		"public.t(id,v)", "", "public.u(id)", "",
		"public.t(id,v,past)", "", "", "public.t(id,v)",
	}
	if got := r.shapes(); !slices.Equal(got, want) {
		t.Errorf("shapes\n got %q\nwant %q", got, want)
	}
}
