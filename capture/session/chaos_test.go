package session_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// cancel sends a CancelRequest through the agent and waits for its end.
func (r *rig) cancel(key []byte) {
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	body := append([]byte{0x04, 0xd2, 0x16, 0x2e}, key...)
	if _, err := conn.Write(pgwire.UntypedPacket(body)); err == nil {
		_, _ = conn.Read(make([]byte, 1))
	}
}

// TestI2CancelAtAnyMoment: cancels hit the client's statements, and the BEGIN, COMMIT
// and probes that the agent adds; what is published is what is there.
func TestI2CancelAtAnyMoment(t *testing.T) {
	r := newRig(t, nil, plainTable, `CREATE TABLE d (id int PRIMARY KEY, p int REFERENCES t DEFERRABLE INITIALLY DEFERRED)`)
	var names []string
	for name := range insertions {
		if name != "copy" { // it may be cancelled before it asks for data
			names = append(names, name)
		}
	}
	var clients sync.WaitGroup
	for client := range 4 {
		c := r.client()
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(client), 1))
			for i := range 40 {
				id := client*1000 + i
				done := make(chan struct{})
				go func() {
					defer close(done)
					<-time.After(time.Duration(random.IntN(4000)) * time.Microsecond)
					r.cancel(c.key)
				}()
				insertions[names[i%len(names)]](c, id)
				c.ready()
				<-done
				c.query(`ROLLBACK`).ready() // a late cancel may hit this
				c.query(`ROLLBACK`).ready()
				c.query(fmt.Sprintf(`INSERT INTO d VALUES (%d, %d)`, id, id)).ready()
				c.take()
				if i%8 == 0 {
					c.query(`SELECT 1`).says(`SELECT 1`, `Z "I"`)
				}
			}
		})
	}
	clients.Wait()
	r.same()
}

// TestI1ClientsVanishAtAnyPoint: a client's end leaves no transaction without an
// outcome, and what it committed is published.
func TestI1ClientsVanishAtAnyPoint(t *testing.T) {
	r := newRig(t, nil, plainTable)
	var whole []byte
	id := 0
	for _, messages := range []func(w *pgwire.Writer, id int){
		func(w *pgwire.Writer, id int) { _ = w.Message(pgwire.Query, pgwire.AppendQuery(nil, insert(id))) },
		func(w *pgwire.Writer, id int) {
			for _, sql := range []string{`BEGIN`, insert(id), `COMMIT`, `BEGIN`} {
				_ = w.Message(pgwire.Query, pgwire.AppendQuery(nil, sql))
			}
		},
		func(w *pgwire.Writer, id int) {
			for _, sql := range []string{`BEGIN`, insert(id), `COMMIT`, insert(id + 1000)} {
				_ = w.Message(pgwire.Parse, pgwire.ParseBody{Text: sql}.Append(nil))
				_ = w.Message(pgwire.Bind, pgwire.BindBody{}.Append(nil))
				_ = w.Message(pgwire.Execute, pgwire.ExecuteBody{}.Append(nil))
			}
			_ = w.Message(pgwire.Sync, nil)
		},
		func(w *pgwire.Writer, id int) {
			_ = w.Message(pgwire.Query, pgwire.AppendQuery(nil, `COPY t FROM STDIN`))
			_ = w.Message(pgwire.CopyData, fmt.Appendf(nil, "%d\n", id))
			_ = w.Message(pgwire.CopyDone, nil)
		},
	} {
		var sink buffer
		w := pgwire.NewWriter(&sink, 1<<16)
		messages(w, 0)
		_ = w.Flush()
		whole = sink.bytes
		for cut := 1; cut <= len(whole); cut += 1 + len(whole)/12 {
			id++
			var again buffer
			w := pgwire.NewWriter(&again, 1<<16)
			messages(w, id)
			_ = w.Flush()
			c := r.client()
			_, _ = c.conn.Write(again.bytes[:min(cut, len(again.bytes))])
			c.close()
		}
	}
	testkit.Eventually(t, testkit.Patience, func() error { // every backend has gone
		rows := r.pg.Query(t, r.db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'raw'`)
		if rows[0][0] != "0" {
			return fmt.Errorf("%s backends are still there", rows[0][0])
		}
		return nil
	})
	r.same()
}

type buffer struct{ bytes []byte }

func (b *buffer) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// TestI3TwoAgentsOrderHotRows: the last operation in the topic on each row is the one
// that the primary kept.
func TestI3TwoAgentsOrderHotRows(t *testing.T) {
	one := newRig(t, nil, `CREATE TABLE hot (id int PRIMARY KEY, v int)`, `INSERT INTO hot SELECT g, 0 FROM generate_series(1, 3) g`)
	two := rigWith(t, setting{agent: "a2", beside: one})
	var clients sync.WaitGroup
	for client := range 8 {
		c := []*rig{one, two}[client%2].client()
		clients.Go(func() {
			for i := range 60 {
				sql := fmt.Sprintf(`UPDATE hot SET v = %d WHERE id = %d`, client*1000+i, 1+rand.IntN(3))
				if client < 4 {
					c.query(sql)
				} else {
					c.run(sql).sync()
				}
				c.says(`UPDATE 1`, `Z "I"`)
			}
		})
	}
	clients.Wait()
	last := map[int]int{}
	for _, op := range one.committed() {
		var v, id int
		if _, err := fmt.Sscanf(op.Text, `UPDATE hot SET v = %d WHERE id = %d`, &v, &id); err == nil {
			last[id] = v
		}
	}
	for _, row := range one.pg.Query(t, one.db, `SELECT id, v FROM hot`) {
		if want := fmt.Sprint(last[int(row[0][0]-'0')]); row[1] != want {
			t.Errorf("row %s is %s, and the topic ends with %s", row[0], row[1], want)
		}
	}
}

// TestI6RefusalsLeaveNoEffect: a refused statement has done nothing; in a block, the
// block has failed, and savepoints are the server's own.
func TestI6RefusalsLeaveNoEffect(t *testing.T) {
	r := newRig(t, nil, plainTable, `CREATE TABLE nokey (a int)`, `INSERT INTO nokey VALUES (1)`,
		`CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (999) RETURNING id'`)
	c := r.client()
	for _, sql := range []string{`UPDATE nokey SET a = 2`, `SELECT f()`, `DO $$ BEGIN INSERT INTO t VALUES (998); END $$`,
		`MERGE INTO t USING (SELECT 5 AS id) s ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id)`, `CREATE ROLE x`} {
		const refused = `C=0A000 M=opmux: `
		c.query(sql).says(refused, `Z "I"`)
		c.run(sql).sync().says(refused, `Z "I"`)
		c.query(insert(1)+`; `+sql).says(`INSERT 0 1`, refused, `Z "I"`)
		c.run(insert(1)).run(sql).run(insert(2)).sync().says(`INSERT 0 1`, refused, `Z "I"`)
		c.query(`BEGIN`).says(`Z "T"`)
		c.query(insert(1)).says(`Z "T"`)
		c.query(`SAVEPOINT a`).says(`Z "T"`)
		c.query(sql).says(refused, `Z "E"`)
		c.query(`SELECT 1`).says(`C=25P02`, `Z "E"`)
		c.query(`ROLLBACK TO a`).says(`Z "T"`)
		c.run(sql).sync().says(refused, `Z "E"`)
		c.query(`COMMIT`).says(`ROLLBACK`, `Z "I"`)
	}
	if ids := r.ids(); ids != "" {
		t.Fatalf("rows: %s", ids)
	}
	if rows := r.pg.Query(t, r.db, `SELECT a FROM nokey`); rows[0][0] != "1" {
		t.Fatalf("nokey: %v", rows)
	}
	r.same()
}

// TestI6UnknownStatementsCannotCommit: what the agent does not know of is run by the
// server only where it cannot commit.
func TestI6UnknownStatementsCannotCommit(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.Level = event.LevelCount }, plainTable)
	c := r.client()
	// A refused Query never reaches the server, whose unnamed statement lives on.
	c.parse("", insert(1)).sync().says(`1 ""`, `Z "I"`)
	c.query(`CREATE ROLE x`).says(`C=0A000`)
	c.bind("", "", nil).execute("", 0).sync().ready()
	c.take()
	// FETCH would run a portal of the protocol's that has not been executed.
	c.query(`BEGIN`).ready()
	c.parse("", insert(1)+` RETURNING id`).bind("p", "", nil).sync().ready()
	c.take()
	c.query(`FETCH ALL FROM p`).says(`C=0A000 M=opmux: `, `Z "E"`)
	c.query(`COMMIT`).ready()
	c.take()
	if ids := r.ids(); ids != "" {
		t.Fatalf("rows: %s", ids)
	}
	// A portal's names were resolved when it was bound.
	c.parse("w", insert(1)).run(`BEGIN`).bind("p", "w", nil).run(`SET LOCAL search_path = pg_catalog`).sync().ready()
	c.take()
	c.execute("p", 0).sync().says(`C=0A000 M=opmux: `, `Z "E"`)
	c.run(`ROLLBACK`).run(`BEGIN`).bind("p", "w", nil).run(`SAVEPOINT a`).sync().ready()
	c.take()
	c.execute("p", 0).sync().says(`INSERT 0 1`, `Z "T"`)
	c.run(`ROLLBACK`).sync().ready()
	c.take()
	c.query(insert(2)).says(`INSERT 0 1`)
	r.same()
}
