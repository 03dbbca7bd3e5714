package catalog_test

import (
	"errors"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/internal/testkit"
)

// I6: where DDL is not counted any more, what the catalogue knows would be believed for
// good; agents end, and the next start counts again.
func TestI6CountersThatWereTakenAwayEndIt(t *testing.T) {
	for name, sql := range map[string]string{
		"disabled": `alter event trigger opmux_ddl_start disable`, "in replicas only": `alter event trigger opmux_ddl enable replica`,
		"dropped": `drop event trigger opmux_ddl`, "with the schema": `drop schema opmux cascade`,
	} {
		pg := testkit.SharedPostgres(t)
		db := pg.CreateDB(t)
		pg.Exec(t, db, `create table t(id int primary key)`)
		c := open(t, pg.DSN(db))
		before := table(t, c, "t")
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context()) }()
		pg.Exec(t, db, sql, `alter table t add x int`)
		select {
		case err := <-ended:
			if !errors.Is(err, catalog.ErrUncounted) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(testkit.Patience):
			t.Fatalf("%s: it goes on", name)
		}
		if c.Restarts() == 0 {
			t.Errorf("%s: open transactions go on", name)
		}
		again := open(t, pg.DSN(db))
		if after := table(t, again, "t"); !again.Counted() || len(after.Columns) == len(before.Columns) {
			t.Errorf("%s: behind the next start: counted %t, %+v", name, again.Counted(), after)
		}
	}
}
