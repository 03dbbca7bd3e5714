package catalog_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/internal/testkit"
)

// What the first build of the capture triggers made and asked, as agents of it still do
// that run, or start, beside others.
const (
	firstTable = `CREATE UNLOGGED TABLE opmux.captured (xact xid8 NOT NULL, what text NOT NULL, relation oid, note text, before bytea, after bytea)`
	firstRow   = `CREATE OR REPLACE FUNCTION opmux.capture_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
		INSERT INTO opmux.captured VALUES (pg_current_xact_id(), left(tg_op, 1), tg_relid, nullif(pg_trigger_depth(), 1)::text,
			CASE WHEN tg_op <> 'INSERT' THEN convert_to(format('%s', old), 'UTF8') END, CASE WHEN tg_op <> 'DELETE' THEN convert_to(format('%s', new), 'UTF8') END);
		RETURN NULL; END $$`
	firstTake = `SELECT string_agg(concat(d.what, d.note, convert_from(d.before, 'UTF8'), convert_from(d.after, 'UTF8')), ' ' ORDER BY d.cmin::text::int8) FROM opmux.captured d WHERE d.xact = pg_current_xact_id()`
)

// I6: agents of the build before the order of the writes was kept run beside those of this
// one, and are not in their way.
func TestI6ImagesBesideAnOlderBuild(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, other := testkit.Connect(t, pg.DSN(db)), testkit.Connect(t, pg.DSN(db))
	run := func(sql string) string {
		t.Helper()
		var out *string
		rows, err := conn.Query(ctx, sql)
		if err == nil {
			for rows.Next() {
				_ = rows.Scan(&out)
			}
			err = rows.Err()
		}
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if out == nil {
			return ""
		}
		return *out
	}
	for _, sql := range []string{`CREATE SCHEMA opmux`, firstTable, `CREATE INDEX captured_xact ON opmux.captured (xact)`, `CREATE TABLE t (id int PRIMARY KEY, n int)`,
		`CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET n = n + 1 WHERE id <> NEW.id; RETURN NULL; END $$`,
		`CREATE TRIGGER more AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION more()`} {
		run(sql)
	}
	// A transaction that has images, as one may have that is prepared, is not waited for.
	for _, sql := range []string{`BEGIN`, `INSERT INTO opmux.captured VALUES (pg_current_xact_id(), 'T')`} {
		if _, err := other.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	c, err := catalog.Open(ctx, catalog.Config{DSN: pg.DSN(db), Triggers: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	insert := `INSERT INTO t VALUES (1, 0), (2, 0)`
	for _, sql := range []string{`BEGIN`, catalog.SwitchOn, insert} {
		run(sql)
	}
	if got, want := run(firstTake), `I(1,0) U2(2,0)(2,1) I(2,0) U2(1,0)(1,1)`; got != want {
		t.Errorf("an older agent finds %s, want %s", got, want)
	}
	for _, sql := range []string{`DELETE FROM opmux.captured d WHERE d.xact = pg_current_xact_id()`, `COMMIT`} {
		run(sql)
	}
	if n := run(`SELECT count(*)::text FROM opmux.captured`); n != "0" {
		t.Errorf("an older agent leaves %s images behind", n)
	}
	// What an older build keeps is not taken for what has an order.
	take := strings.ReplaceAll(catalog.TakeSQL, "$1", "encode(sha256(s.secret || convert_to(pg_backend_pid()::text, 'UTF8')), 'hex')")
	taken := func() string {
		return run(`SELECT string_agg(what || was || became, ' ') FROM opmux.capture_secret s, LATERAL (` + take + `) t`)
	}
	for _, sql := range []string{firstRow, `DELETE FROM t`, `BEGIN`, catalog.SwitchOn, insert} {
		run(sql)
	}
	if got, want := taken(), `V V V V`; got != want {
		t.Errorf("of an older build's images comes %s, want %s", got, want)
	}
	run(`COMMIT`)
}
