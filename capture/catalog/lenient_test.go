package catalog_test

import (
	"context"
	"testing"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgstrings"
)

// The agent's own functions run in sessions that have standard_conforming_strings as they like.
func TestOwnFunctionsHaveNoBackslashes(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	c, err := catalog.Open(context.Background(), catalog.Config{DSN: pg.DSN(db), Triggers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	rows := pg.Query(t, db, `select proname, prosrc from pg_proc where pronamespace = 'opmux'::regnamespace`)
	if len(rows) < 10 {
		t.Fatalf("there are %d functions", len(rows))
	}
	for _, row := range rows {
		if !pgstrings.Same(row[1]) {
			t.Errorf("opmux.%s: %s", row[0], row[1])
		}
	}
}
