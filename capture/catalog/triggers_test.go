package catalog_test

import (
	"context"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/internal/testkit"
)

// I6: a login that may not install the capture triggers does not go by those of an
// older build, whose answers mean something else.
func TestI6TriggersOfAnOlderBuildAreNotUsed(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	first, err := catalog.Open(context.Background(), catalog.Config{DSN: pg.DSN(db), Triggers: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	_, take, _ := strings.Cut(catalog.TakeSQL, " FROM ")
	take, _, _ = strings.Cut(take, "(")
	pg.Exec(t, db, `DROP ROLE IF EXISTS opmux_may_not`, `CREATE ROLE opmux_may_not LOGIN`,
		`ALTER FUNCTION `+take+`(text) RENAME TO take`)
	c, err := catalog.Open(context.Background(), catalog.Config{DSN: pg.DSN(db) + "&user=opmux_may_not", Triggers: true})
	if err == nil {
		_ = c.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "those of an older build") {
		t.Errorf("error %v, want one about an older build", err)
	}
}
