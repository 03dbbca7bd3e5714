package catalog_test

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/internal/testkit"
)

// I5: drivers ask lastval() for the key of the row that they have inserted.
func TestI5CountingIsNotWhatTheClientDrewLast(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	open(t, pg.DSN(db))
	conn := testkit.Connect(t, pg.DSN(db))
	var last int
	if _, err := conn.Exec(context.Background(), `create sequence s start 700; select nextval('s'); create temp table x (n int)`); err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(context.Background(), `select lastval()`).Scan(&last); err != nil || last != 700 {
		t.Errorf("lastval() is %d (%v), the client drew 700", last, err)
	}
}

// I6: two commands that end at one moment count twice, or a look-up beside the second
// would stay good.
func TestI6EveryCommandCounts(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	c := open(t, pg.DSN(db))
	ctx := context.Background()
	before, err := c.Version(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const sessions, each = 4, 50
	var group errgroup.Group
	for range sessions {
		conn := testkit.Connect(t, pg.DSN(db))
		group.Go(func() error {
			for i := range each {
				if _, err := conn.Exec(ctx, fmt.Sprintf(`create temp table t%d (n int)`, i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if after, err := c.Version(ctx); err != nil || after-before != sessions*each {
		t.Errorf("the counter moved by %d (%v), want %d", after-before, err, sessions*each)
	}
}
