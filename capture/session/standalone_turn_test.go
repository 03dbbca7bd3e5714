package session_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// TestStandaloneCommandsWaitForTheirTurnWithoutLocks: to Parse gives the session a lock,
// which the command waits for whose turn it is.
func TestStandaloneCommandsWaitForTheirTurnWithoutLocks(t *testing.T) {
	r := newRig(t, nil, plainTable)
	a, b, c := r.client(), r.client(), r.client()
	b.query(`BEGIN`).ready()
	b.query(insert(1)).ready()
	a.query(makesI).flush()
	r.awaitTrue(fmt.Sprint(`SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND pid = `, binary.BigEndian.Uint32(a.key)))
	c.parse("later", insert(2)).send(pgwire.Flush, nil).until(pgwire.ParseComplete)
	c.run(`DROP INDEX CONCURRENTLY i`).sync().flush()
	r.awaitTrue(twoTurns)
	b.query(`COMMIT`).says(`COMMIT`)
	a.says(`CREATE INDEX`)
	c.says(`DROP INDEX`)
	r.wantPlaces(insert(1), makesI, `DROP INDEX CONCURRENTLY IF EXISTS i`)
}

// TestI3PartitionsThatWereNotThereToDetach: the table is there at the command's place,
// and was not when it ran.
func TestI3PartitionsThatWereNotThereToDetach(t *testing.T) {
	one := newRig(t, nil)
	two := rigWith(t, setting{agent: "a2", beside: one})
	a, b := one.client(), two.client()
	b.query(`BEGIN`).ready()
	b.query(`CREATE TABLE p (a int) PARTITION BY LIST (a)`).ready()
	b.query(`CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)`).ready()
	a.query(`ALTER TABLE IF EXISTS p DETACH PARTITION p1 CONCURRENTLY`).says(`does not exist, skipping`, `ALTER TABLE`)
	a.query(`SET client_min_messages = error`).ready()
	a.query(`ALTER TABLE IF EXISTS p DETACH PARTITION p1 CONCURRENTLY`).says(`ALTER TABLE`)
	b.query(`COMMIT`).ready()
	one.wantPlaces(`CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)`)
	if n := one.pg.Query(t, one.db, `SELECT count(*) FROM pg_inherits`); n[0][0] != "1" {
		t.Error("the primary has detached it")
	}
	a.query(`ALTER TABLE IF EXISTS p DETACH PARTITION p1 CONCURRENTLY`).says(`ALTER TABLE`)
	one.wantPlaces(`CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)`, `ALTER TABLE IF EXISTS p DETACH PARTITION p1 CONCURRENTLY`)
}

// TestI3WhoGoesOnBehindAStandaloneCommandDoesNotHideThatItHasNoPlace: Kafka is away at its
// end for so long that its client is told all the same, which begins a transaction.
func TestI3WhoGoesOnBehindAStandaloneCommandDoesNotHideThatItHasNoPlace(t *testing.T) {
	broker := holdBroker(t)
	upstream := newDeaf(testkit.SharedPostgres(t))
	impatient := func(c *session.Config) { c.Patience = 100 * time.Millisecond }
	one := rigWith(t, setting{upstream: upstream, brokers: broker.addresses, session: impatient}, plainTable, `CREATE TABLE other (id int PRIMARY KEY)`)
	two := rigWith(t, setting{agent: "a2", beside: one, session: impatient})
	a, b := one.client(), two.client()
	b.query(`BEGIN`).ready()
	b.query(`INSERT INTO other VALUES (1)`).ready()
	unplug := upstream.plug()
	defer unplug()
	a.query(makesI).flush()
	one.awaitTrue(`SELECT count(*) = 1 FROM pg_index WHERE indexrelid = to_regclass('i') AND indisvalid`)
	broker.hold()
	unplug()
	a.says(`CREATE INDEX`)
	a.query(`BEGIN`).ready()
	b.query(`DROP INDEX i`).says(`DROP INDEX`)
	b.query(`COMMIT`).says(`C=40001`, `has ended, and its end is not recorded yet`)
	broker.release()
	one.wantPlaces(makesI)
	b.query(`ROLLBACK`).ready()
	b.query(`DROP INDEX i`).says(`DROP INDEX`)
	one.wantPlaces(makesI, `DROP INDEX IF EXISTS i`)
}

// panicking is an upstream whose connections panic when an index is to be made.
type panicking struct{ session.Primary }

func (u *panicking) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := u.Primary.Dial(ctx)
	return panickingConn{conn}, err
}

type panickingConn struct{ session.Conn }

func (c panickingConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(makesI)) {
		panic("as told")
	}
	return c.Conn.Write(p)
}

// TestStandaloneCommandsGiveUpTheirTurnsInAPanic: others would wait for it as long as the
// agent runs.
func TestStandaloneCommandsGiveUpTheirTurnsInAPanic(t *testing.T) {
	r := rigWith(t, setting{upstream: &panicking{session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}}, plainTable)
	a := r.client()
	a.query(makesI).ends()
	r.awaitTrue(`SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'opmux turn' AND datname = current_database()`)
	r.client().query(`CREATE TABLE other (a int)`).says(`CREATE TABLE`)
}
