package session_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
)

// prepare leaves an insertion prepared under a name.
func (c *rawClient) prepare(id int, gid string) {
	c.t.Helper()
	c.query(`BEGIN; `+insert(id)+`; PREPARE TRANSACTION '`+gid+`'`).says(`C "PREPARE TRANSACTION`, `Z "I"`)
}

// standing lists what is prepared in the rig's database.
func (r *rig) standing() string {
	r.t.Helper()
	var out []string
	for _, row := range r.pg.Query(r.t, r.db, `SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY 1`) {
		out = append(out, row[0])
	}
	return strings.Join(out, " ")
}

// TestI1TwoPhaseIsRecordedOnce: what is committed from any session of any agent is
// published once, what is rolled back is not, under both gates.
func TestI1TwoPhaseIsRecordedOnce(t *testing.T) {
	for gate, none := range map[string]bool{"recorded": false, "none": true} {
		t.Run(gate, func(t *testing.T) {
			r := newRig(t, func(c *session.Config) { c.None = none }, plainTable, `CREATE SEQUENCE drawn`)
			agents := []*rig{r}
			if !none {
				agents = append(agents, rigWith(t, setting{agent: "a2", beside: r}))
			}
			for id := range 12 {
				c := r.client()
				c.prepare(id, "g") // a name is used again
				c.close()
				end := `COMMIT PREPARED 'g'`
				if id%3 == 2 {
					end = `ROLLBACK PREPARED 'g'`
				}
				agents[id%len(agents)].client().query(end).says(`PREPARED`, `Z "I"`)
			}
			c := r.client()
			c.query(`BEGIN; SELECT nextval('drawn'); PREPARE TRANSACTION 'g'`).says(`PREPARE`)
			c.query(`ROLLBACK PREPARED 'g'`).says(`ROLLBACK PREPARED`)
			r.same()
			if got := r.ids(); got != "0 1 3 4 6 7 9 10" {
				t.Errorf("rows %s", got)
			}
			if last := lastMark(r.committed(), "drawn"); last != 1 {
				t.Errorf("the mark of the sequence is %d, want 1", last)
			}
			if rows := r.pg.Query(t, r.db, `SELECT xid FROM opmux.prepared`); len(rows) > 0 {
				t.Errorf("kept: %v", rows)
			}
		})
	}
}

// TestI3PreparedSequencesAreReadAtTheCommit: what others drew, or set, while a transaction
// was prepared is on targets before it, and its setval must not take that back.
func TestI3PreparedSequencesAreReadAtTheCommit(t *testing.T) {
	r := newRig(t, nil, plainTable, `CREATE SEQUENCE drawn`, `CREATE SEQUENCE lowered`)
	c := r.client()
	c.query(`BEGIN; SELECT setval('drawn', 5); INSERT INTO t (id) VALUES (nextval('lowered')); PREPARE TRANSACTION 'sets'`).says(`PREPARE`)
	other := r.client()
	other.query(`SELECT nextval('drawn') FROM generate_series(1, 3)`).says(`SELECT 3`)
	other.query(`SELECT setval('lowered', 100); SELECT setval('lowered', 40)`).says(`SELECT 1`)
	c.query(`COMMIT PREPARED 'sets'`).says(`C "COMMIT PREPARED`)
	ops := r.committed()
	last := ops[len(ops)-1].Sequences
	got := map[string]int64{}
	for _, m := range last {
		got[m.Name] = m.Value
	}
	if got["drawn"] != 8 || got["lowered"] != 40 {
		t.Errorf("the prepared transaction says of the sequences %v, want drawn 8 and lowered 40", got)
	}
}

// TestI4RacingAttemptsCommitOnce: of many sessions that commit one transaction, one
// does, and the others hear why they did not.
func TestI4RacingAttemptsCommitOnce(t *testing.T) {
	r := newRig(t, nil, plainTable)
	for id := range 6 {
		r.client().prepare(id, "race")
		var racers []*rawClient
		for range 5 {
			c := r.client()
			c.query(`COMMIT PREPARED 'race'`).flush()
			racers = append(racers, c)
		}
		won := 0
		for _, c := range racers {
			c.ready()
			switch text := c.take(); {
			case strings.Contains(text, `C "COMMIT PREPARED`):
				won++
			case strings.Contains(text, `C=55000 M=opmux: COMMIT PREPARED: another attempt`), strings.Contains(text, `C=42704`):
			default:
				t.Errorf("a racer heard %s", text)
			}
		}
		if won != 1 {
			t.Fatalf("%d sessions committed it", won)
		}
	}
	r.same()
}

// TestI6PreparedPastTheAgentIsRefused: its body is known to nobody.
func TestI6PreparedPastTheAgentIsRefused(t *testing.T) {
	for _, flag := range []bool{false, true} {
		r := newRig(t, func(c *session.Config) { c.Flag = flag }, plainTable)
		past := dialRaw(t, upstreamAddress(r.pg), r.db)
		past.prepare(1, "past")
		c := r.client()
		if flag {
			c.query(`COMMIT PREPARED 'past'`).says(`C "COMMIT PREPARED`)
			ops := r.committed()
			if len(ops) != 1 || strings.Join(ops[0].Diverged, " ") != "*" {
				t.Errorf("published: %+v", ops)
			}
			continue
		}
		c.query(`COMMIT PREPARED 'past'`).says(`C=0A000 M=opmux: COMMIT PREPARED: the transaction was prepared past opmux`, `Z "I"`)
		c.parse("", `COMMIT PREPARED 'past'`).bind("", "", nil).execute("", 0).sync().says(`C=0A000 M=opmux: COMMIT PREPARED`, `Z "I"`)
		c.query(`ROLLBACK PREPARED 'past'`).says(`C "ROLLBACK PREPARED`)
		r.same()
	}
}

// TestWhatCannotBePrepared is refused by name, and its transaction is over.
func TestWhatCannotBePrepared(t *testing.T) {
	r := newRig(t, nil, plainTable)
	c := r.client()
	for want, sql := range map[string]string{
		"changed the catalogue": `CREATE TABLE made (id int PRIMARY KEY)`,
		"recorded already":      `INSERT INTO t SELECT generate_series(100, 9000)`,
	} {
		c.query(`BEGIN`).ready()
		c.query(sql).says(`Z "T"`)
		c.query(`PREPARE TRANSACTION 'not'`).says(`C=0A000 M=opmux: PREPARE TRANSACTION: `, want, `Z "I"`)
	}
	c.run(insert(1)).run(`PREPARE TRANSACTION 'not'`).sync().says(`C=0A000 M=opmux: PREPARE TRANSACTION`, `Z "I"`)
	if got := r.standing() + r.ids(); got != "" {
		t.Errorf("left: %s", got)
	}
}

// TestI6DDLBetweenPrepareAndCommitIsNoticed: the commit is refused where DDL has changed
// what the statements mean, and only there.
func TestI6DDLBetweenPrepareAndCommitIsNoticed(t *testing.T) {
	r := newRig(t, nil, earlier...)
	c := r.client()
	c.prepare(1, "moved")
	r.pg.Exec(t, r.db, `CREATE TABLE early.other (id int)`)
	c.query(`COMMIT PREPARED 'moved'`).says(`C "COMMIT PREPARED`)
	c.prepare(2, "moved")
	r.pg.Exec(t, r.db, `CREATE TABLE early.t (id int PRIMARY KEY)`)
	c.query(`COMMIT PREPARED 'moved'`).says(`C=40001 M=opmux: the catalogue has changed since the transaction was prepared`, `Z "I"`)
	if got := r.standing(); got != "moved" {
		t.Fatalf("prepared: %q", got)
	}
	r.pg.Exec(t, r.db, `DROP TABLE early.t`)
	c.query(`COMMIT PREPARED 'moved'`).says(`C "COMMIT PREPARED`)
	r.same()
}

// TestI2GateFailureLeavesItPrepared: nothing is forwarded, and a later attempt is
// another intent.
func TestI2GateFailureLeavesItPrepared(t *testing.T) {
	kafka := holdBroker(t)
	r := rigWith(t, setting{brokers: kafka.addresses, timeout: 300 * time.Millisecond}, plainTable)
	c := r.client()
	c.prepare(1, "gate")
	kafka.hold()
	c.query(`COMMIT PREPARED 'gate'`).says(`C=40001`, `still prepared`, `Z "I"`)
	if got := r.standing(); got != "gate" {
		t.Fatalf("prepared: %q", got)
	}
	kafka.release()
	testkit.Eventually(t, testkit.Patience, r.ledger.Admit)
	c.query(`COMMIT PREPARED 'gate'`).says(`C "COMMIT PREPARED`)
	r.same()
	if rows := r.pg.Query(t, r.db, `SELECT body IS NULL FROM opmux.prepared`); len(rows) != 1 || rows[0][0] != "t" {
		t.Errorf("kept of two attempts: %v", rows)
	}
}

// TestI4UnknownAttemptsAreSettled: the connection is lost in COMMIT PREPARED, before the
// server has it and behind. What it was is found out before another attempt counts.
func TestI4UnknownAttemptsAreSettled(t *testing.T) {
	for gate, none := range map[string]bool{"recorded": false, "none": true} {
		t.Run(gate, func(t *testing.T) {
			cut := &cutter{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}
			r := rigWith(t, setting{upstream: cut, session: func(c *session.Config) { c.None = none }}, plainTable)
			for id, forward := range []bool{false, true, false, true} {
				gid := fmt.Sprint("cut", id, none)
				c := r.client()
				c.prepare(id, gid)
				cut.forward.Store(forward)
				cut.armed.Store(true)
				c.query(`COMMIT PREPARED '` + gid + `'`)
				c.ends()
				c.said(`S=FATAL C=08007`)
				cut.armed.Store(false)
				want := `C "COMMIT PREPARED`
				if forward {
					want = `C=42704`
				}
				testkit.Eventually(t, testkit.Patience, func() error {
					c := r.client()
					defer c.close()
					c.query(`COMMIT PREPARED '` + gid + `'`).ready()
					if text := c.take(); !strings.Contains(text, want) {
						return errors.New(text)
					}
					return nil
				})
			}
			r.same()
		})
	}
}
