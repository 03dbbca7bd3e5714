package session_test

import (
	"errors"
	"fmt"
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

// TestI3CopiedTablesHaveTheIndexesOfTheirPlace: LIKE locks out nobody who makes an index
// of the table that it copies, in a transaction or outside.
func TestI3CopiedTablesHaveTheIndexesOfTheirPlace(t *testing.T) {
	for _, makes := range []string{`CREATE INDEX i ON t (id)`, makesI} {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprint(makes, " extended ", extended), func(t *testing.T) {
				const copies = `CREATE TABLE copied (LIKE t INCLUDING ALL)`
				r := newRig(t, nil, plainTable)
				a, b := r.client(), r.client()
				b.query(`BEGIN`).ready()
				if extended {
					b.run(copies).sync().ready()
				} else {
					b.query(copies).ready()
				}
				a.query(makes).flush()
				testkit.Eventually(t, testkit.Patience, func() error {
					made := r.pg.Query(t, r.db, `SELECT FROM pg_index WHERE indexrelid = to_regclass('i') AND indisvalid`)
					waits := r.pg.Query(t, r.db, `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)
					if len(made)+len(waits) == 0 {
						return errors.New("the index is neither made nor waits")
					}
					return nil
				})
				b.query(`COMMIT`).says(`COMMIT`)
				a.says(`CREATE INDEX`)
				r.wantPlaces(copies, makes)
			})
		}
	}
}

// TestI6NoIndexIsCopiedThatIsInvalidByThen: the command has begun between the look at the
// table and the copy of it.
func TestI6NoIndexIsCopiedThatIsInvalidByThen(t *testing.T) {
	r := newRig(t, nil, plainTable, `CREATE TABLE other (id int)`)
	a, b, c := r.client(), r.client(), r.client()
	for _, sql := range []string{`BEGIN`, insert(1)} {
		c.query(sql).ready() // which the command waits for
	}
	b.query(`BEGIN`).ready()
	b.parse("copy", `CREATE TABLE copied (LIKE t INCLUDING ALL)`).bind("p", "copy", nil).sync().ready()
	a.query(makesI).flush()
	r.awaitTrue(`SELECT count(*) = 1 FROM pg_index WHERE indexrelid = to_regclass('i') AND NOT indisvalid`)
	b.take()
	b.execute("p", 0).sync().says(`CREATE TABLE`)
	b.query(`COMMIT`).says(`C=0A000`, `index public.i of table t is invalid`)
	b.query(`ROLLBACK`).ready()
	c.query(`COMMIT`).ready()
	a.says(`CREATE INDEX`)
}
