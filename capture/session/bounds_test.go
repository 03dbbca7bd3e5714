package session_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
	"github.com/opmux/opmux/wire/pgwire"
)

// heap is what the process holds after a collection, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// largest is the size of the largest record of the topic, and the number of chunks.
func (r *rig) largest() (size, chunks int) {
	r.t.Helper()
	messages, err := topics.ReadAll(context.Background(), r.topics, r.topics.Names().Ops(source))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range messages {
		size = max(size, len(m.Value))
	}
	for _, rec := range r.records() {
		if _, ok := rec.Body.(*event.Chunk); ok {
			chunks++
		}
	}
	return size, chunks
}

// TestI7LargeTransactionsAreChunked: whatever the size of a statement's rows or of a
// COPY, records are small and all of it is there, in the order in which it ran.
func TestI7LargeTransactionsAreChunked(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.ChunkBytes = 64 << 10 }, `CREATE TABLE big (id int PRIMARY KEY, w text)`)
	c := r.client()
	c.query(`INSERT INTO big SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g`).says(`INSERT 0 20000`, `Z "I"`)
	c.run(`UPDATE big SET w = w || 'y' WHERE id > 0`).sync().says(`UPDATE 20000`, `Z "I"`)
	c.query(`BEGIN`).ready()
	c.query(`COPY big FROM STDIN`).until(pgwire.CopyInResponse)
	before := heap()
	line := strings.Repeat("z", 1000)
	for i := range 20000 {
		c.send(pgwire.CopyData, fmt.Appendf(nil, "%d\t%s\n", 100000+i, line))
		if i == 15000 {
			c.flush()
			if grown := heap() - before; grown > 48<<20 { // the broker of this process holds what it was given: 15 MB
				t.Errorf("the process grew by %d bytes", grown)
			}
		}
	}
	c.send(pgwire.CopyDone, nil).says(`COPY 20000`, `Z "T"`)
	c.query(`SAVEPOINT a`).ready()
	c.query(`INSERT INTO big SELECT g, repeat('x', 100) FROM generate_series(200000, 210000) g`).ready()
	c.query(`ROLLBACK TO a`).ready()
	c.query(`DELETE FROM big WHERE id = 1`).ready()
	c.query(`COMMIT`).says(`COMMIT`, `Z "I"`)
	rows, data, last := map[event.Action]int{}, 0, event.Operation{}
	rolledBack := false
	for _, op := range r.committed() {
		switch op.Kind {
		case event.OpRows:
			rows[op.Rows.Action] += len(op.Rows.Rows)
		case event.OpCopy:
			data += bytes.Count(op.Data, []byte("\n"))
		case event.OpRollbackTo:
			rolledBack = true
		}
		last = op
	}
	if rows["insert"] < 20000 || rows["update"] != 20000 || data != 20000 || !rolledBack {
		t.Errorf("published: %v, %d lines of COPY, rolled back to the savepoint: %t", rows, data, rolledBack)
	}
	if !strings.HasPrefix(last.Text, "DELETE") {
		t.Errorf("the last operation is %s %q", last.Kind, last.Text)
	}
	if size, chunks := r.largest(); size > 256<<10 || chunks < 50 {
		t.Errorf("the largest record has %d bytes, there are %d chunks", size, chunks)
	}
}

// TestI7RowsAndResultsPassUnheld: rows larger than any buffer, and results of any
// length, cost the agent no memory.
func TestI7RowsAndResultsPassUnheld(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.MaxMessage = 1 << 20 }, `CREATE TABLE big (id int PRIMARY KEY, w text)`)
	c := r.client()
	before := heap()
	c.query(`SELECT repeat('x', 30000000)`)
	c.flush()
	for {
		typ, _, err := c.r.Header()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.r.Discard(); err != nil {
			t.Fatal(err)
		}
		if typ == pgwire.ReadyForQuery {
			break
		}
		if grown := heap() - before; grown > 16<<20 {
			t.Errorf("the process grew by %d bytes", grown)
		}
	}
	// What has to be kept whole is refused, and the session goes on.
	long := strings.Repeat("x", 2<<20)
	c.query(`INSERT INTO big VALUES (1, '`+long+`')`).says(`C=54000 M=opmux: `, `Z "I"`)
	c.parse("", `INSERT INTO big VALUES (1, $1)`).bind("", "", nil, long).execute("", 0).sync().says(`1 ""`, `C=54000`, `Z "I"`)
	c.query(`COPY big FROM STDIN`).until(pgwire.CopyInResponse)
	c.send(pgwire.CopyData, []byte("1\t"+long+"\n")).send(pgwire.CopyDone, nil).says(`C=54000`, `Z "I"`)
	c.query(`SELECT count(*) FROM big`).says(`0`)
}

// TestI2LargeTransactionRefusedHalfWay: Kafka goes while chunks are written; the
// transaction is refused with 40001, nothing of it is there, and the session goes on.
func TestI2LargeTransactionRefusedHalfWay(t *testing.T) {
	kafka := holdBroker(t)
	r := rigWith(t, setting{brokers: kafka.addresses, timeout: 300 * time.Millisecond,
		session: func(c *session.Config) { c.ChunkBytes = 16 << 10 }}, `CREATE TABLE big (id int PRIMARY KEY, w text)`)
	c := r.client()
	for _, end := range []string{`COMMIT`, `ROLLBACK`} {
		c.query(`BEGIN`).ready()
		c.query(`INSERT INTO big SELECT g, repeat('x', 100) FROM generate_series(1, 2000) g`).ready()
		kafka.hold()
		c.query(`UPDATE big SET w = w || 'y' WHERE id > 0`).says(`UPDATE 2000`, `Z "T"`)
		kafka.release() // too late: a chunk was given up
		testkit.Eventually(t, testkit.Patience, r.ledger.Admit)
		c.query(end).ready()
		if text := c.take(); !strings.Contains(text, "C=40001 M=opmux: ") && end == `COMMIT` {
			t.Fatal(text)
		}
	}
	c.query(`SELECT count(*) FROM big`).says(`"\x00\x01\x00\x00\x00\x010"`, `Z "I"`)
	c.query(`INSERT INTO big VALUES (1, 'x')`).says(`INSERT 0 1`)
	if ops := r.committed(); len(ops) != 1 {
		t.Fatalf("%d operations are published", len(ops))
	}
}

// openBytes is what sessions hold of open transactions, as the metric says.
func (r *rig) openBytes() int64 {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "opmux_capture_open_bytes" {
			return int64(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	r.t.Fatal("opmux_capture_open_bytes is missing")
	return 0
}

// TestI7OpenTransactionsShareABound: many transactions, each below what one may
// hold, hold no more than all may, and nothing is held once they have ended.
func TestI7OpenTransactionsShareABound(t *testing.T) {
	const open, sessions = 256 << 10, 12
	r := newRig(t, func(c *session.Config) { c.ChunkBytes, c.OpenBytes = 512<<10, open }, `CREATE TABLE big (id int PRIMARY KEY, w text)`)
	var clients []*rawClient
	for i := range sessions {
		c := r.client()
		c.query(`BEGIN`).ready()
		for j := range 30 {
			c.query(fmt.Sprintf(`INSERT INTO big VALUES (%d, '%s')`, i*100+j, strings.Repeat("x", 8000))).says(`INSERT 0 1`)
		}
		for range 500 {
			c.query(`SAVEPOINT a; RELEASE a`).ready()
		}
		clients = append(clients, c)
		if held := r.openBytes(); held > open+int64(i+1)*(40<<10) {
			t.Fatalf("%d sessions hold %d bytes", i+1, held)
		}
	}
	if r.openBytes() <= 0 {
		t.Fatal("open transactions hold nothing: the test measures nothing")
	}
	for i, c := range clients {
		switch i % 3 {
		case 0:
			c.query(`COMMIT`).says(`COMMIT`)
		case 1:
			c.query(`ROLLBACK`).says(`ROLLBACK`)
		default:
			c.close()
		}
	}
	testkit.Eventually(t, testkit.Patience, func() error {
		if held := r.openBytes(); held != 0 {
			return fmt.Errorf("%d bytes are held by transactions that have ended", held)
		}
		return nil
	})
	if ops := r.committed(); len(ops) != sessions/3*30 {
		t.Errorf("%d operations are published, expected %d", len(ops), sessions/3*30)
	}
}
