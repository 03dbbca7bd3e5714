package session_test

import (
	"testing"

	"github.com/opmux/opmux/capture/session"
)

// twoPhase is a conversation that ends every transaction that it prepares.
var twoPhase = []func(*rawClient){
	q(`BEGIN`), q(`UPDATE t SET v = 1 WHERE id = 1`), q(`PREPARE TRANSACTION 'same'`), q(`SELECT v FROM t WHERE id = 1`), q(`COMMIT PREPARED 'same'`), q(`SELECT v FROM t WHERE id = 1`),
	q(`BEGIN`), q(`UPDATE t SET v = 2 WHERE id = 1`), q(`PREPARE TRANSACTION 'same'`), q(`ROLLBACK PREPARED 'same'`), q(`SELECT v FROM t WHERE id = 1`),
	q(`COMMIT PREPARED 'same'`), q(`ROLLBACK PREPARED 'it''s "this"'`), q(`PREPARE TRANSACTION 'same'`), q(`BEGIN`), q(`SELECT 1`), q(`PREPARE TRANSACTION 'same'`), q(`COMMIT PREPARED 'same'`),
	q(`BEGIN`), q(`PREPARE TRANSACTION 'same'`), q(`BEGIN`), q(`INSERT INTO t VALUES (1000, 1)`), q(`PREPARE TRANSACTION 'same'`), q(`SELECT 1`), q(`SELECT * FROM t WHERE id = 1000`), q(`COMMIT PREPARED 'same'`),
	q(`BEGIN`), q(`INSERT INTO t VALUES (1, 1)`), q(`SELECT 1`), q(`PREPARE TRANSACTION 'same'`), q(`COMMIT PREPARED 'same'`),
	q(`BEGIN`), q(`INSERT INTO child VALUES (20, 777)`), q(`PREPARE TRANSACTION 'same'`), q(`COMMIT PREPARED 'same'`),
	q(`BEGIN`), q(`INSERT INTO t VALUES (1001, 1)`), q(`NOTIFY x`), q(`PREPARE TRANSACTION 'same'`), q(`SELECT * FROM t WHERE id = 1001`),
	q(`BEGIN`), q(`INSERT INTO t VALUES (1002, 1)`), q(`COMMIT PREPARED 'same'`), q(`SELECT 1`), q(`ROLLBACK`), q(`BEGIN`), q(`ROLLBACK PREPARED 'same'`), q(`COMMIT`),
	q(`BEGIN; INSERT INTO t VALUES (1003, 1); PREPARE TRANSACTION 'same'`), q(`COMMIT PREPARED 'same'; SELECT 1`), q(`SELECT 1; COMMIT PREPARED 'same'`), q(`COMMIT PREPARED 'same'`),
	q(`INSERT INTO t VALUES (1004, 1); PREPARE TRANSACTION 'same'`), q(`COMMIT PREPARED 'same'`), q(`SELECT * FROM t WHERE id > 999 ORDER BY id`),
	q(`BEGIN`), q(`SET LOCAL TimeZone = 'Asia/Tokyo'`), q(`SET DateStyle = 'SQL, DMY'`), q(`UPDATE t SET v = 5 WHERE id = 1`), q(`PREPARE TRANSACTION 'same'`), q(`SHOW TimeZone`), q(`SHOW DateStyle`), q(`ROLLBACK PREPARED 'same'`), q(`RESET ALL`),
	q(`BEGIN`), q(`INSERT INTO s (v) VALUES ('prepared') RETURNING id`), q(`SAVEPOINT a`), q(`INSERT INTO s (v) VALUES ('gone') RETURNING id`), q(`ROLLBACK TO a`), q(`PREPARE TRANSACTION 'same'`), q(`COMMIT PREPARED 'same'`), q(`SELECT v FROM s WHERE v IN ('prepared', 'gone')`),
	ext(`BEGIN`, nil, 0), ext(`UPDATE t SET v = 6 WHERE id = 1`, nil, 0), ext(`PREPARE TRANSACTION 'same'`, nil, 0), ext(`COMMIT PREPARED 'same'`, nil, 0), ext(`COMMIT PREPARED 'same'`, nil, 0),
	ext(`BEGIN`, nil, 0), ext(`UPDATE t SET v = 7 WHERE id = 1`, nil, 0), ext(`PREPARE TRANSACTION 'same'`, nil, 0), ext(`ROLLBACK PREPARED 'same'`, nil, 0), ext(`PREPARE TRANSACTION 'same'`, nil, 0), ext(`SELECT v FROM t WHERE id = 1`, nil, 0),
	ext(`BEGIN`, nil, 0), ext(`INSERT INTO t VALUES (1)`, nil, 0), ext(`PREPARE TRANSACTION 'same'`, nil, 0), ext(`BEGIN`, nil, 0), ext(`COMMIT PREPARED 'same'`, nil, 0), ext(`ROLLBACK`, nil, 0),
	func(c *rawClient) {
		for _, sql := range []string{`BEGIN`, `INSERT INTO t VALUES (1005, 1)`, `PREPARE TRANSACTION 'same'`} {
			c.parse("", sql).bind("", "", nil).execute("", 0)
		}
		c.sync().ready()
	},
	func(c *rawClient) {
		for _, sql := range []string{`BEGIN`, `INSERT INTO t VALUES (1)`, `PREPARE TRANSACTION 'same'`} {
			c.parse("", sql).bind("", "", nil).execute("", 0)
		}
		c.sync().ready()
	}, q(`ROLLBACK`), q(`COMMIT PREPARED 'same'`), q(`SELECT id FROM t WHERE id > 999 ORDER BY id`),
}

// TestI5TwoPhaseAnswersAreTheServersOwn: the conversation through the agent is, message by
// message, the one that a client has directly. Names are the whole server's, so that
// the two come one after the other.
func TestI5TwoPhaseAnswersAreTheServersOwn(t *testing.T) {
	for gate, none := range map[string]bool{"recorded": false, "none": true} {
		t.Run(gate, func(t *testing.T) {
			r := newRig(t, func(c *session.Config) { c.None = none }, schema...)
			past := r.pg.CreateDB(t)
			r.pg.Exec(t, past, schema...)
			a, b := r.client(), dialRaw(t, upstreamAddress(r.pg), past)
			var got []string
			for _, step := range twoPhase {
				step(a)
				got = append(got, a.take())
			}
			for i, step := range twoPhase {
				step(b)
				if want := b.take(); got[i] != want {
					t.Errorf("step %d: through the agent:\n%s\ndirectly:\n%s", i, got[i], want)
				}
			}
			if rows := r.pg.Query(t, r.db, `SELECT xid FROM opmux.prepared`); len(rows) > 0 {
				t.Errorf("transactions that have ended are kept: %v", rows)
			}
			query := `SELECT t::text FROM t UNION ALL SELECT s::text FROM s ORDER BY 1`
			if got, want := r.pg.Query(t, r.db, query), r.pg.Query(t, past, query); len(got) != len(want) {
				t.Errorf("through the agent %d rows, directly %d", len(got), len(want))
			}
		})
	}
}

// TestNamesOfAnotherDatabase: what is prepared elsewhere is not this database's to end.
func TestNamesOfAnotherDatabase(t *testing.T) {
	r := newRig(t, nil, plainTable)
	other := r.pg.CreateDB(t)
	r.pg.Exec(t, other, `BEGIN; CREATE TABLE x (); PREPARE TRANSACTION 'elsewhere'`)
	defer r.pg.Exec(t, other, `ROLLBACK PREPARED 'elsewhere'`)
	a, b := r.client(), dialRaw(t, upstreamAddress(r.pg), r.db)
	for _, sql := range []string{`COMMIT PREPARED 'elsewhere'`, `ROLLBACK PREPARED 'elsewhere'`} {
		q(sql)(a)
		q(sql)(b)
		if got, want := a.take(), b.take(); got != want {
			t.Errorf("%s: through the agent:\n%s\ndirectly:\n%s", sql, got, want)
		}
	}
}
