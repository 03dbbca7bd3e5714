package session_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/testkit"
)

const (
	asReader = `CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END'`
	asWriter = `CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN INSERT INTO t VALUES (1); RETURN 1; END'`
)

// I6: what a session keeps of the catalogue while its transaction has changed it is never
// older than what the server runs: a function that writes is known as one, however it
// came to be one.
func TestI6KeptFactsAreNotStale(t *testing.T) {
	for name, c := range map[string]struct {
		before string // of f, as it is at first
		// steps are of the session itself, or of another one (those that begin with "other:").
		steps []string
	}{
		"own DDL":                        {asReader, []string{`BEGIN`, `CREATE TEMP TABLE x ()`, `SELECT f()`, asWriter}},
		"own DDL in a Query of several":  {asReader, []string{`BEGIN`, `CREATE TEMP TABLE x ()`, `SELECT f(); ` + asWriter}},
		"DDL of another session":         {asReader, []string{`BEGIN`, `CREATE TEMP TABLE x ()`, `SELECT f()`, `other:` + asWriter}},
		"DDL that was under way":         {asReader, []string{`other:BEGIN`, `other:` + asWriter, `BEGIN`, `CREATE TEMP TABLE x ()`, `SELECT 1::numeric`, `other:COMMIT`}},
		"DDL undone to a savepoint":      {asWriter, []string{`BEGIN`, `CREATE TEMP TABLE x ()`, `SAVEPOINT s`, asReader, `SELECT f()`, `ROLLBACK TO s`}},
		"an error undone to a savepoint": {asWriter, []string{`BEGIN`, `CREATE TEMP TABLE x ()`, `SAVEPOINT s`, asReader, `SELECT f()`, `fails:SELECT 1 / 0`, `ROLLBACK TO s`}},
		"a transaction undone":           {asWriter, []string{`BEGIN`, `CREATE TEMP TABLE x ()`, asReader, `SELECT f()`, `ROLLBACK AND CHAIN`}},
		"another transaction":            {asWriter, []string{`BEGIN`, `CREATE TEMP TABLE x ()`, asReader, `SELECT f()`, `ROLLBACK`, `BEGIN`, `SAVEPOINT s`}},
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeDescribeExec} {
			t.Run(name+"/"+mode.String(), func(t *testing.T) {
				r := newRig(t, nil, `CREATE TABLE t (id int)`, c.before)
				own, other := testkit.Connect(t, r.DSN()), testkit.Connect(t, r.pg.DSN(r.db))
				for _, step := range c.steps {
					sql, others := strings.CutPrefix(step, "other:")
					sql, fails := strings.CutPrefix(sql, "fails:")
					conn := own
					if others {
						conn = other
					}
					if err := runIn(conn, mode, sql); (err != nil) != fails {
						t.Fatalf("%s: %v", step, err)
					}
				}
				if err := runIn(own, mode, `SELECT f()`); err == nil || !strings.Contains(err.Error(), "opmux: ") {
					t.Errorf("a function that writes ran: %v", err)
				}
			})
		}
	}
}

// I6: what is on its way to the server is waited for: it may undo DDL.
func TestI6KeptFactsInAPipeline(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int)`, asWriter)
	conn := testkit.Connect(t, r.DSN())
	for _, sql := range []string{`BEGIN`, `CREATE TEMP TABLE x ()`, `SAVEPOINT s`, asReader, `SELECT f()`} {
		if err := runIn(conn, pgx.QueryExecModeDescribeExec, sql); err != nil {
			t.Fatal(err)
		}
	}
	batch := &pgconn.Batch{}
	batch.ExecParams(`ROLLBACK TO s`, nil, nil, nil, nil)
	batch.ExecParams(`SELECT f()`, nil, nil, nil, nil)
	if _, err := conn.PgConn().ExecBatch(context.Background(), batch).ReadAll(); err == nil || !strings.Contains(err.Error(), "opmux: ") {
		t.Errorf("a function that writes ran: %v", err)
	}
}

// runIn runs a statement by the protocol that a mode names.
func runIn(conn *pgx.Conn, mode pgx.QueryExecMode, sql string) error {
	if mode == pgx.QueryExecModeSimpleProtocol || strings.Contains(sql, "; CREATE") {
		return conn.PgConn().Exec(context.Background(), sql).Close()
	}
	return conn.PgConn().ExecParams(context.Background(), sql, nil, nil, nil, nil).Read().Err
}

// I6: a transaction without BEGIN ends with its Sync, behind which more may be on its way.
func TestI6KeptFactsOfAnImplicitTransaction(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int)`, strings.Replace(asWriter, "f()", "w(int)", 1))
	conn := testkit.Connect(t, r.DSN())
	if err := runIn(conn, pgx.QueryExecModeSimpleProtocol, `CREATE DOMAIN pg_temp.d AS int CHECK (w(value) > 0)`); err != nil {
		t.Fatal(err)
	}
	p := conn.PgConn().StartPipeline(context.Background())
	for _, sql := range []string{`CREATE TEMP TABLE x ()`, `DROP DOMAIN pg_temp.d`, `SELECT 1::numeric`, `SELECT 1 / 0`, "", `SELECT 1::pg_temp.d`, ""} {
		if sql == "" {
			if err := p.Sync(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	_ = p.Close() // of errors, which are two
	if rows := r.pg.Query(t, r.db, `SELECT count(*) FROM t`); rows[0][0] != "0" {
		t.Error("a function that writes ran")
	}
}
