package session_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// deaf is an upstream that does not hear, for a while, that an index was made.
type deaf struct {
	session.Primary
	mu      sync.Mutex
	hearing chan struct{} // closed while it hears
}

func newDeaf(pg *testkit.PG) *deaf {
	d := &deaf{Primary: session.Primary{Address: upstreamAddress(pg)}, hearing: make(chan struct{})}
	close(d.hearing)
	return d
}

func (d *deaf) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := d.Primary.Dial(ctx)
	return &deafConn{Conn: conn, by: d}, err
}

type deafConn struct {
	session.Conn
	by   *deaf
	made bool
}

func (c *deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.made = c.made || bytes.Contains(p[:n], []byte("CREATE INDEX\x00"))
	if c.made && bytes.Contains(p[:n], []byte("Z\x00\x00\x00\x05")) { // which is when all of it is committed
		c.made = false
		c.by.mu.Lock()
		hearing := c.by.hearing
		c.by.mu.Unlock()
		<-hearing
	}
	return n, err
}

// plug makes it deaf until the function that it returns is called.
func (d *deaf) plug() (unplug func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hearing = make(chan struct{})
	return sync.OnceFunc(func() { close(d.hearing) })
}

// places are the texts of committed operations in the order in which they are applied:
// those of standalone commands where their outcomes are.
func (r *rig) places() []string {
	r.t.Helper()
	var list []string
	intents := map[event.Ref]*event.Transaction{}
	at := map[event.Ref]int{} // in list, of those that are to be committed yet
	for _, rec := range r.records() {
		switch b := rec.Body.(type) {
		case *event.Transaction:
			ref := event.Ref{Agent: rec.Agent, Epoch: rec.Epoch, N: rec.N}
			intents[ref], at[ref] = b, len(list)
			if list = append(list, ""); !b.Intent {
				list[at[ref]] = texts(b)
			}
		case *event.Outcomes:
			for _, o := range b.List {
				if o.Agent == "" {
					o.Agent, o.Epoch = rec.Agent, rec.Epoch
				}
				switch tx := intents[o.Ref]; {
				case o.Committed && tx.Standalone:
					list = append(list, texts(tx))
				case o.Committed:
					list[at[o.Ref]] = texts(tx)
				}
			}
		}
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

func texts(tx *event.Transaction) string {
	var list []string
	for i := range tx.Operations {
		if text := tx.Operations[i].Text; text != "" {
			list = append(list, text)
		}
	}
	return strings.Join(list, "; ")
}

func (r *rig) wantPlaces(want ...string) {
	r.t.Helper()
	testkit.Eventually(r.t, testkit.Patience, func() error {
		if have := r.places(); !slices.Equal(have, want) {
			return fmt.Errorf("in order of their places:\n%s\nwant:\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
}

// awaitTrue waits for a query to say true.
func (r *rig) awaitTrue(sql string) {
	r.t.Helper()
	testkit.Eventually(r.t, testkit.Patience, func() error {
		if rows := r.pg.Query(r.t, r.db, sql); rows[0][0] != "t" {
			return errors.New("not yet: " + sql)
		}
		return nil
	})
}

const (
	makesI   = `CREATE INDEX CONCURRENTLY i ON t (id)`
	twoTurns = `SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'opmux turn' AND datname = current_database()`
	isHeld   = `SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()
		AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_stat_activity.pid AND l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation')`
)

// TestI3WhatFollowsAStandaloneCommandIsPlacedBehindIt: the command has ended on the
// primary, and its agent has not heard so, when another agent's comes, which it makes
// possible.
func TestI3WhatFollowsAStandaloneCommandIsPlacedBehindIt(t *testing.T) {
	for _, then := range []struct{ sql, waits string }{
		{`DROP INDEX CONCURRENTLY i`, twoTurns}, {`DROP INDEX CONCURRENTLY IF EXISTS i`, twoTurns},
		{`DROP INDEX i`, isHeld}, {`ALTER INDEX i RENAME TO j`, `SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()`},
	} {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprint(then.sql, " extended ", extended), func(t *testing.T) {
				upstream := newDeaf(testkit.SharedPostgres(t))
				one := rigWith(t, setting{upstream: upstream}, plainTable)
				two := rigWith(t, setting{agent: "a2", beside: one})
				a, b := one.client(), two.client()
				run := func(c *rawClient, sql string) {
					if extended {
						c.run(sql).sync()
					} else {
						c.query(sql)
					}
					c.flush()
				}
				unplug := upstream.plug()
				defer unplug()
				run(a, makesI)
				one.awaitTrue(`SELECT count(*) = 1 FROM pg_index WHERE indexrelid = to_regclass('i') AND indisvalid`)
				run(b, then.sql)
				done := make(chan struct{})
				go func() { defer close(done); b.ready() }()
				testkit.Eventually(t, testkit.Patience, func() error {
					select {
					case <-done:
						return nil // too early: its place will tell
					default:
					}
					if rows := one.pg.Query(t, one.db, then.waits); rows[0][0] != "t" {
						return errors.New("it neither waits nor has it ended")
					}
					return nil
				})
				unplug()
				a.ready()
				<-done
				if sql := then.sql; strings.HasPrefix(sql, "DROP") && !strings.Contains(sql, "IF EXISTS") {
					then.sql = strings.TrimSuffix(sql, "i") + "IF EXISTS i"
				}
				one.wantPlaces(makesI, then.sql)
			})
		}
	}
}

// TestI3WhatAStandaloneCommandWaitsForIsPlacedBeforeIt: neither waits for the other
// in a circle.
func TestI3WhatAStandaloneCommandWaitsForIsPlacedBeforeIt(t *testing.T) {
	for _, none := range []bool{false, true} {
		t.Run(fmt.Sprint("gate none ", none), func(t *testing.T) {
			r := newRig(t, func(c *session.Config) { c.None = none }, plainTable, `CREATE INDEX k ON t (id)`, `CREATE TABLE other (id int PRIMARY KEY)`)
			a, b, c := r.client(), r.client(), r.client()
			for _, sql := range []string{`BEGIN`, `DROP INDEX k`, `TRUNCATE t`, insert(1)} {
				b.query(sql).ready()
			}
			a.query(makesI).flush()
			r.awaitTrue(fmt.Sprint(`SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND pid = `, binary.BigEndian.Uint32(a.key)))
			c.query(`INSERT INTO other VALUES (2)`).says(`INSERT 0 1`)
			r.wantPlaces(`INSERT INTO other VALUES (2)`) // nobody waits for a long command
			b.query(`COMMIT`).says(`COMMIT`)
			a.says(`CREATE INDEX`)
			r.wantPlaces(`INSERT INTO other VALUES (2)`, `DROP INDEX IF EXISTS k; TRUNCATE t; `+insert(1), makesI)
		})
	}
}

// TestI3StandaloneCommandsThatDidNothing: what one does on a condition is decided before
// its place. A transaction that had made or dropped the object and not committed then
// would otherwise be placed before it.
func TestI3StandaloneCommandsThatDidNothing(t *testing.T) {
	one := newRig(t, nil, plainTable, `CREATE TABLE other (id int)`)
	two := rigWith(t, setting{agent: "a2", beside: one})
	b := two.client()
	var want []string
	for name, run := range map[string]func(c *rawClient, sql string){
		"simple":   func(c *rawClient, sql string) { c.query(sql) },
		"extended": func(c *rawClient, sql string) { c.run(sql).sync() },
		"prepared": func(c *rawClient, sql string) {
			c.parse("it", sql).sync().ready()
			c.query(`SELECT 1`).ready()
			c.bind("run", "it", nil).execute("run", 0).sync().ready()
			c.query(`DEALLOCATE it`)
		},
	} {
		for _, level := range []string{"notice", "warning", "error", "debug1"} {
			a := one.client()
			a.query(`SET client_min_messages = ` + level).ready()
			for _, sql := range []struct{ other, conditional string }{
				{`CREATE INDEX x ON other (id)`, `DROP INDEX CONCURRENTLY IF EXISTS x`},
				{`DROP INDEX x`, `CREATE INDEX CONCURRENTLY IF NOT EXISTS x ON t (id)`},
			} {
				b.query(`BEGIN`).ready()
				b.query(sql.other).ready()
				a.take()
				run(a, sql.conditional)
				a.ready()
				if got := a.take(); strings.Contains(got, "skipping") != (level == "notice" || level == "debug1") || strings.Contains(got, "E S=") {
					t.Errorf("%s, client_min_messages %s: %s: %s", name, level, sql.conditional, got)
				}
				b.query(`COMMIT`).ready()
				b.take()
				want = append(want, strings.Replace(sql.other, "DROP INDEX x", "DROP INDEX IF EXISTS x", 1))
			}
			for _, conditional := range []string{`CREATE INDEX CONCURRENTLY IF NOT EXISTS x ON t (id)`, `DROP INDEX CONCURRENTLY IF EXISTS x`} {
				run(a, conditional)
				a.ready()
				want = append(want, conditional)
			}
			a.take()
			run(a, `CREATE INDEX CONCURRENTLY IF NOT EXISTS x ON t (nocolumn)`)
			a.says(`C=42703`, `Z "I"`)
			a.query(`SHOW client_min_messages`).says(level, `Z "I"`)
			a.close()
		}
	}
	one.wantPlaces(want...)
}

// TestI6StandaloneCommandsAreCommittedWhenTheyAreSaidToBe: the server commits the last
// step of one in the extended protocol at Sync, which a client need not send.
func TestI6StandaloneCommandsAreCommittedWhenTheyAreSaidToBe(t *testing.T) {
	r := newRig(t, nil, plainTable)
	c := r.client()
	c.run(makesI).send(pgwire.Flush, nil).until(pgwire.CommandComplete)
	if rows := r.pg.Query(t, r.db, `SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass`); rows[0][0] != "t" {
		t.Error("the client has heard of an index that the server has not made yet")
	}
	c.close()
	r.wantPlaces(makesI)
}
