package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// elsewhere is the database that foreign tables lead to.
const elsewhere = "elsewhere"

// foreignSchema has foreign tables and what hides them, for the primary alone: the
// backup has the local tables.
func foreignSchema(p *rig.Rig) []string {
	return []string{
		"CREATE EXTENSION postgres_fdw", "CREATE EXTENSION dblink",
		fmt.Sprintf("CREATE SERVER afar FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '%d', dbname '%s')", p.Primary.Port, elsewhere),
		fmt.Sprintf("CREATE USER MAPPING FOR PUBLIC SERVER afar OPTIONS (user '%s')", pgserver.Superuser),
		"CREATE FOREIGN TABLE away (id int, v text) SERVER afar OPTIONS (table_name 'away')",
		"CREATE TABLE mixed (id int, v text) PARTITION BY RANGE (id)", "CREATE TABLE mixed_here PARTITION OF mixed FOR VALUES FROM (0) TO (100)",
		"CREATE FOREIGN TABLE mixed_away PARTITION OF mixed FOR VALUES FROM (100) TO (200) SERVER afar OPTIONS (table_name 'away')",
		"CREATE VIEW through AS SELECT * FROM away",
		"CREATE FUNCTION writes_away() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO away VALUES (50, 'hidden'); UPDATE here SET v = 'hidden' WHERE id = 1; RETURN 1; END $$",
		"CREATE FUNCTION reads_away() RETURNS int LANGUAGE plpgsql AS $$ BEGIN UPDATE here SET v = (SELECT max(v) FROM away) WHERE id = 2; RETURN 1; END $$",
	}
}

// I6: what goes to another server is not carried, and what comes from there is
// carried as rows.
func TestI6ForeignTables(t *testing.T) {
	for name, yaml := range map[string]string{"plain": "", "triggers": triggersOn} {
		t.Run(name, func(t *testing.T) {
			b := setUp(t, rig.Config{AgentYAML: yaml}, "CREATE TABLE here (id int PRIMARY KEY, v text)", "INSERT INTO here VALUES (1, 'a'), (2, 'b'), (3, 'c')")
			b.onPrimary("CREATE DATABASE " + elsewhere)
			b.query(b.Primary.DSN(elsewhere), "CREATE TABLE away (id int, v text)")
			b.query(b.Primary.DSN(elsewhere), "INSERT INTO away VALUES (1, 'from afar'), (2, 'and more')")
			for _, sql := range foreignSchema(b.Rig) {
				b.onPrimary(sql)
			}
			b.must(b.agent("a1").Start(b.ctx))
			b.must(b.worker("w1").Start(b.ctx))
			b.must(b.verifier().Start(b.ctx))
			b.foreignWrites()
			b.foreignReads()
		})
	}
}

func (b *bench) foreignWrites() {
	b.t.Helper()
	conn := testkit.Connect(b.t, b.agent("a1").DSN())
	link := fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=%s", b.Primary.Port, elsewhere, pgserver.Superuser)
	for _, sql := range []string{
		"INSERT INTO away VALUES (9, 'x')", "UPDATE away SET v = 'x'", "DELETE FROM away WHERE id = 1", "TRUNCATE away", "COPY away FROM '/dev/null'",
		"INSERT INTO through VALUES (9, 'x')", "INSERT INTO mixed VALUES (150, 'x')", "UPDATE mixed SET v = 'x'", "UPDATE mixed SET id = 150", "INSERT INTO mixed_away VALUES (150, 'x')",
		"WITH w AS (DELETE FROM away RETURNING *) INSERT INTO here SELECT id + 10, v FROM w",
		"SELECT writes_away()", "DO $$ BEGIN INSERT INTO away VALUES (9, 'x'); END $$", "CREATE FOREIGN TABLE more (id int) SERVER afar", "DROP FOREIGN TABLE away CASCADE",
		"CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw", "IMPORT FOREIGN SCHEMA public FROM SERVER afar INTO public",
		"SELECT dblink_exec('" + link + "', 'INSERT INTO away VALUES (9, ''x'')')",
		"UPDATE here SET v = dblink_exec('" + link + "', 'INSERT INTO away VALUES (9, ''x'')') WHERE id = 3",
		"SELECT * FROM dblink('" + link + "', 'INSERT INTO away VALUES (9, ''x'') RETURNING id') AS t(id int)",
	} {
		_, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol)
		if err == nil || !strings.Contains(err.Error(), "opmux: ") {
			b.t.Errorf("%s: error %v, want a refusal", sql, err)
		}
	}
	if got := b.query(b.Primary.DSN(elsewhere), "SELECT string_agg(v, '|' ORDER BY id) FROM away")[0][0]; got != "from afar|and more" {
		b.t.Errorf("the other server has %q: what was refused has stayed", got)
	}
	b.identicalHere()
}

func (b *bench) foreignReads() {
	b.t.Helper()
	conn := testkit.Connect(b.t, b.agent("a1").DSN())
	for _, sql := range []string{
		"INSERT INTO here SELECT id + 20, v FROM away", "UPDATE here SET v = away.v FROM away WHERE away.id = here.id", "INSERT INTO here SELECT id + 30, v FROM through",
		"DELETE FROM here WHERE v IN (SELECT v FROM away WHERE id = 2) AND id > 25",
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe} {
			if _, err := conn.Exec(b.ctx, "BEGIN"); err != nil {
				b.t.Fatal(err)
			}
			err := execute(b.ctx, conn, mode, sql)
			end := "COMMIT"
			if mode == pgx.QueryExecModeSimpleProtocol {
				end = "ROLLBACK"
			}
			if _, failed := conn.Exec(b.ctx, end); err != nil || failed != nil {
				b.t.Errorf("%s: %v, %v", sql, err, failed)
			}
		}
	}
	if b.AgentYAML != "" {
		if _, err := conn.Exec(b.ctx, "SELECT reads_away()"); err != nil {
			b.t.Errorf("reads_away(): %v", err)
		}
	}
	b.identicalHere()
}

// identicalHere compares the one table that both servers have.
func (b *bench) identicalHere() {
	b.t.Helper()
	b.must(b.Wait(b.ctx, catchUpTimeout))
	const sql = "SELECT * FROM here ORDER BY id"
	if want, got := b.onPrimary(sql), b.onBackup(sql); fmt.Sprint(want) != fmt.Sprint(got) {
		b.t.Errorf("the backup has %v, the primary %v", got, want)
	}
}
