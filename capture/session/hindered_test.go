package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
)

// hinder is a rig on which one of the agent's own messages is to fail, once left says so.
func hinder(t *testing.T, none bool, command, other string, setup ...string) (*rig, *hindered) {
	pg := testkit.SharedPostgres(t)
	h := &hindered{Primary: session.Primary{Address: upstreamAddress(pg)}, command: command, other: other}
	return rigWith(t, setting{pg: pg, upstream: h, session: func(c *session.Config) { c.None = none }}, setup...), h
}

// I1, I5: a COMMIT, the client's or the agent's, that a question of the agent's before it keeps from
// being run is answered by an error, and its block is over.
func TestI1QuestionsThatFailRefuseTheCommit(t *testing.T) {
	for name, q := range map[string]struct{ command, other, write string }{
		"guard":   {"SAVEPOINT opmux_commit", "SAVEPOINT 2pmux_commit", insert(1)},
		"look-up": {"select case when s.is_called", "selekt case when s.is_called", `CREATE SEQUENCE q; SELECT nextval('q')`},
		"flush":   {"SET CONSTRAINTS ALL", "SET KONSTRAINTS ALL", `INSERT INTO d VALUES (1)`},
	} {
		for _, none := range []bool{false, true} {
			for _, extended := range []bool{false, true} {
				t.Run(fmt.Sprint(name, none, extended), func(t *testing.T) {
					r, h := hinder(t, none, q.command, q.other, plainTable, `CREATE TABLE d (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)`)
					run := func(c *rawClient, sql string) *rawClient {
						if extended && !strings.Contains(sql, ";") {
							return c.run(sql).sync()
						}
						return c.query(sql)
					}
					if _, err := r.cat.Version(context.Background()); err != nil { // or there is no guard
						t.Fatal(err)
					}
					c := r.client()
					for _, sql := range []string{`BEGIN`, q.write, `SAVEPOINT a`, insert(2)} {
						run(c, sql).says(`C "`)
					}
					h.left.Store(1)
					run(c, `COMMIT`).ready()
					if got := c.take(); strings.Count(got, "E S=ERROR") != 1 || !strings.HasSuffix(got, `Z "I"`) || h.left.Load() > 0 {
						t.Errorf("a COMMIT:\n%s", got)
					}
					run(c, `ROLLBACK TO a`).says("25P01")
					c = r.client() // the former one has prepared it already
					h.left.Store(1)
					run(c, q.write).ready()
					if got := c.take(); strings.Count(got, "E S=ERROR") != 1 || !strings.HasSuffix(got, `Z "I"`) || h.left.Load() > 0 {
						t.Errorf("an autocommit write:\n%s", got)
					}
					run(c, insert(3)).says("INSERT 0 1", `Z "I"`)
					if got := r.ids(); got != "3" {
						t.Errorf("on the primary: %s", got)
					}
					r.same()
				})
			}
		}
	}
}

// I5: what stands in a Query behind a statement that a question of the agent's makes fail does not run.
func TestI5NothingRunsBehindAQuestionThatFails(t *testing.T) {
	r, h := hinder(t, false, "SELECT pg_catalog.pg_current_xact_id_if", "SELEKT pg_catalog.pg_current_xact_id_if", plainTable)
	c := r.client()
	c.query(`BEGIN; SAVEPOINT a`).says(`Z "T"`)
	h.left.Store(1)
	c.query(insert(1) + `; ROLLBACK TO a; ` + insert(2) + `; COMMIT`).ready()
	if got := c.take(); strings.Count(got, `C "`) != 1 || strings.Count(got, "E S=") != 1 || !strings.HasSuffix(got, `Z "E"`) || h.left.Load() > 0 {
		t.Errorf("behind a probe that failed:\n%s", got)
	}
	c.query(`ROLLBACK TO a; ` + insert(3) + `; COMMIT`).says(`Z "I"`)
	if got := r.ids(); got != "3" {
		t.Errorf("on the primary: %s", got)
	}
	r.same()
}

// I5: a cancel that comes between Bind and Execute of the agent's ROLLBACK leaves the portal there, and
// the ROLLBACK is tried again all the same.
func TestI5RollbacksWhoseExecuteFailsAreTriedAgain(t *testing.T) {
	r, h := hinder(t, false, "E\x00\x00\x00\x17opmux_rollback", "E\x00\x00\x00\x17opmux_rollbacx", schema...)
	c := r.client()
	h.left.Store(2)
	c.run(`UPDATE t SET v = v / 0 WHERE id < 3`).sync().ready()
	if got := c.take(); !strings.Contains(got, "22012") || strings.Count(got, "E S=") != 1 || !strings.HasSuffix(got, `Z "I"`) || h.left.Load() >= 0 {
		t.Errorf("a statement that failed:\n%s", got)
	}
	c.run(`UPDATE t SET v = 7 WHERE id < 3`).sync().says("UPDATE 2", `Z "I"`)
}

// I5: a cancel behind a command outside of transactions that has ended does not make it one that failed,
// and the session's setting is given back.
func TestI5SettingsAreGivenBackBehindACancel(t *testing.T) {
	r, h := hinder(t, false, "SELECT pg_catalog.set_config(", "SELEKT pg_catalog.set_config(", plainTable)
	const sql = `CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (id)`
	for name, run := range map[string]func(*rawClient){
		"simple":   func(c *rawClient) { c.query(sql).ready() },
		"extended": func(c *rawClient) { c.run(sql).sync().ready() },
		"failed":   func(c *rawClient) { c.run(sql).run(`SELECT 1/0`).sync().ready() },
	} {
		c := r.client()
		c.query(`SET client_min_messages = warning`).says("SET")
		h.left.Store(2)
		run(c)
		errs := map[string]int{"failed": 1}[name]
		if got := c.take(); !strings.Contains(got, "CREATE INDEX") || strings.Count(got, "E S=") != errs || !strings.HasSuffix(got, `Z "I"`) || h.left.Load() >= 0 {
			t.Errorf("%s:\n%s", name, got)
		}
		c.query(`SHOW client_min_messages`).says("warning", `Z "I"`)
	}
}

// I5: a DISCARD ALL that is cancelled while it drops temporary tables has dropped the agent's statements
// already; one that is refused has not. The session goes on behind either.
func TestI5DiscardsThatAreCancelled(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, nil, plainTable)
	c := r.client()
	c.run(insert(1)).sync().says("INSERT 0 1")
	c.query(`BEGIN; DISCARD ALL`).says("25001", `Z "E"`)
	c.query(`ROLLBACK`).says(`Z "I"`)
	c.run(insert(2)).sync().says("INSERT 0 1")
	c.query(`CREATE TEMPORARY TABLE mine (id int)`).says("CREATE TABLE")
	conn := r.pg.Connect(t, r.db)
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `BEGIN; LOCK TABLE `+r.pg.Query(t, r.db, `SELECT oid::regclass FROM pg_class WHERE relname = 'mine'`)[0][0]); err != nil {
		t.Fatal(err)
	}
	c.query(`DISCARD ALL`).flush()
	testkit.Eventually(t, testkit.Patience, func() error {
		const sql = `SELECT FROM (SELECT pid FROM pg_locks WHERE NOT granted AND relation = (SELECT oid FROM pg_class WHERE relname = 'mine')) w WHERE pg_cancel_backend(w.pid)`
		if len(r.pg.Query(t, r.db, sql)) == 0 {
			return errors.New("DISCARD does not wait")
		}
		return nil
	})
	c.says("57014", `Z "I"`)
	c.run(insert(3)).sync().says("INSERT 0 1", `Z "I"`)
	c.query(insert(4)).says("INSERT 0 1", `Z "I"`)
	r.same()
}
