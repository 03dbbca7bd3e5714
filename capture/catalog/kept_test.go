package catalog_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

// looking is a session that counts how often it is asked for facts.
type looking struct {
	conn  *pgx.Conn
	kept  catalog.Kept
	asked int
}

func (l *looking) Kept() (*catalog.Kept, error) { return &l.kept, nil }

func (l *looking) Query(ctx context.Context, sql string, _ ...string) ([][]event.Value, error) {
	if strings.Contains(sql, "'Functions'") {
		l.asked++
	}
	var text string
	err := l.conn.QueryRow(ctx, sql).Scan(&text)
	return [][]event.Value{{{Text: []byte(text)}}}, err
}

// The facts are looked up once for as long as nobody's DDL can have changed them.
func TestFactsAreKept(t *testing.T) {
	ctx := context.Background()
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	c := open(t, pg.DSN(db))
	own, other := &looking{conn: testkit.Connect(t, pg.DSN(db))}, testkit.Connect(t, pg.DSN(db))
	own.kept.PID = int32(own.conn.PgConn().PID())
	run := func(conn *pgx.Conn, sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	facts := func(what string, asked int, function string, there bool) {
		t.Helper()
		own.asked = 0
		for range 3 {
			f, err := c.Facts(ctx, own)
			if err != nil {
				t.Fatal(err)
			}
			if _, known := f.Functions[function]; known != there || f.Version != catalog.Unsettled {
				t.Errorf("%s: function %s is known: %v, version %d", what, function, known, f.Version)
			}
		}
		if own.asked != asked {
			t.Errorf("%s: asked %d times, want %d", what, own.asked, asked)
		}
	}
	const creates = `create function %s() returns int language sql as 'select 1'`
	run(own.conn, "begin; create temp table x (); "+strings.ReplaceAll(creates, "%s", "mine"))
	facts("own DDL under way", 1, "mine", true)
	facts("nothing new", 0, "mine", true)
	run(other, "begin; "+strings.ReplaceAll(creates, "%s", "theirs"))
	facts("DDL of others under way", 3, "theirs", false)
	run(other, "commit")
	facts("it has ended", 1, "theirs", true)
	run(own.conn, "drop function mine()")
	facts("own DDL", 1, "mine", false)
	own.kept.Drop()
	facts("dropped", 1, "mine", false)
}
