package integration

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Under policy flag what is refused otherwise runs as it does without opmux (I5):
// what commits by itself may, what cannot run in a block does not find itself in
// one, and DDL is not refused for the change that it makes.
func TestFlaggedStatementsRunAsWithoutOpmux(t *testing.T) {
	b := up(t, rig.Config{OnUnsafe: "flag"}, append([]string{
		"CREATE PROCEDURE step(fails bool) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO nokey VALUES (10); COMMIT; INSERT INTO nokey VALUES (11); IF fails THEN RAISE 'enough'; END IF; END $$",
		"CREATE TABLE family (id int PRIMARY KEY)", "CREATE TABLE twice (n int)", "INSERT INTO twice VALUES (1), (1)",
	}, classesSchema...)...)
	for _, c := range []struct {
		sql  string
		code int
	}{
		{"CREATE TABLE made AS SELECT 1 AS n", 0},
		{"ALTER TABLE made ADD COLUMN m serial", 0},
		{"ALTER TABLE made ADD COLUMN o float8 DEFAULT random(), ADD PRIMARY KEY (m)", 0},
		{"CREATE UNIQUE INDEX CONCURRENTLY twice_n ON twice (n)", 1}, // leaves an invalid index
		{"CREATE MATERIALIZED VIEW seen AS SELECT m FROM made", 0},   // of what the backup does not have
		{"REFRESH MATERIALIZED VIEW seen", 0},
		{"VACUUM FULL nokey", 0},
		{"REINDEX TABLE CONCURRENTLY twice", 0},
		{"CALL step(false)", 0},
		{"CALL step(true)", 1},
		{"DO $$ BEGIN INSERT INTO nokey VALUES (12); COMMIT; END $$", 0},
	} {
		if result := b.psql(c.sql); result.Code != c.code {
			t.Errorf("%s: exit code %d, want %d\n%s", c.sql, result.Code, c.code, result.Stderr)
		}
	}
	conn := testkit.Connect(t, b.agent("a1").DSN()).PgConn()
	for _, sql := range []string{"PREPARE m AS MERGE INTO nokey USING family f ON f.id = nokey.a WHEN MATCHED THEN DELETE;", "EXECUTE m;"} {
		if _, err := conn.Exec(b.ctx, sql).ReadAll(); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if got := b.onPrimary("SELECT count(*) FROM nokey WHERE a >= 10")[0][0]; got != "4" {
		t.Errorf("%s rows of the procedure, want 4: two of the first call, one of the second, one of DO", got)
	}
	b.must(b.Wait(b.ctx, catchUpTimeout))
	operations, err := b.Must(b.ctx, "tail", "--config", b.WorkerConfig("w1"), "--from", "beginning", "--json")
	b.must(err)
	if strings.Contains(operations, `: ","text"`) || !strings.Contains(operations, "REFRESH MATERIALIZED VIEW: under on_unsafe: flag") {
		t.Errorf("an operation without its reason:\n%s", operations)
	}
	status, err := b.Status(b.ctx)
	b.must(err)
	diverged := map[string]bool{}
	for _, d := range status.Diverged {
		diverged[d.Table] = true
	}
	if !diverged["*"] || !diverged["public.made"] || !diverged["public.seen"] {
		t.Errorf("diverged are %v, want public.made, public.seen and, by the procedure, *", diverged)
	}
}
