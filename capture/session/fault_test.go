package session_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// says reads up to ReadyForQuery and fails unless the notes have all of the parts
// in that order.
func (c *rawClient) says(parts ...string) {
	c.t.Helper()
	c.ready()
	c.said(parts...)
}

// said looks at what was read since the last take.
func (c *rawClient) said(parts ...string) {
	c.t.Helper()
	text := c.take()
	at := 0
	for _, p := range parts {
		i := strings.Index(text[at:], p)
		if i < 0 {
			c.t.Fatalf("%q is missing, in this order, in:\n%s", p, text)
		}
		at += i + len(p)
	}
}

// ends reads to the end of the connection.
func (c *rawClient) ends() {
	c.t.Helper()
	c.flush()
	for {
		m, err := c.r.Message(16 << 20)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.t.Error("the connection goes on")
			return
		case err != nil:
			return
		}
		c.notes = append(c.notes, noteOf(m))
	}
}

// heldBroker is a broker that takes records only while it is open.
type heldBroker struct {
	addresses []string
	mu        sync.Mutex
	taking    chan struct{} // closed while records are taken
	waiting   atomic.Bool   // records have come that are not taken
}

func holdBroker(t *testing.T) *heldBroker {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	h := &heldBroker{addresses: cluster.ListenAddrs(), taking: make(chan struct{})}
	close(h.taking)
	t.Cleanup(cluster.Close)
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		h.mu.Lock()
		taking := h.taking
		h.mu.Unlock()
		select {
		case <-taking:
		default:
			h.waiting.Store(true)
			cluster.SleepControl(func() { <-taking })
		}
		return nil, nil, false
	})
	return h
}

func (h *heldBroker) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taking = make(chan struct{})
}

func (h *heldBroker) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.taking)
}

// ids are the values of t.id.
func (r *rig) ids() string {
	r.t.Helper()
	var out []string
	for _, row := range r.pg.Query(r.t, r.db, `SELECT id FROM t ORDER BY id`) {
		out = append(out, row[0])
	}
	return strings.Join(out, " ")
}

// inserted are the ids of INSERT INTO t VALUES (id) among published operations.
func inserted(ops []event.Operation) string {
	var ids []int
	for _, op := range ops {
		var id int
		if _, err := fmt.Sscanf(op.Text, "INSERT INTO t VALUES (%d", &id); err == nil {
			ids = append(ids, id)
		}
		for _, line := range strings.Fields(string(op.Data)) {
			if id, err := strconv.Atoi(line); err == nil {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return strings.Trim(fmt.Sprint(ids), "[]")
}

// same fails unless what was published is what is there.
func (r *rig) same() {
	r.t.Helper()
	testkit.Eventually(r.t, testkit.Patience, func() error {
		ops, err := committedOf(r.records())
		if err != nil {
			return err
		}
		if have, want := inserted(ops), r.ids(); have != want {
			return fmt.Errorf("published: %s; on the primary: %s", have, want)
		}
		return nil
	})
}

// insertions run an INSERT of one row in each way of the protocol, ending at ReadyForQuery.
var insertions = map[string]func(c *rawClient, id int){
	"simple":   func(c *rawClient, id int) { c.query(insert(id)) },
	"extended": func(c *rawClient, id int) { c.run(insert(id)).sync() },
	"several":  func(c *rawClient, id int) { c.query(`SELECT 1; ` + insert(id)) },
	"block":    func(c *rawClient, id int) { c.query(`BEGIN; ` + insert(id) + `; COMMIT`) },
	"pipeline": func(c *rawClient, id int) { c.run(`BEGIN`).run(insert(id)).run(`COMMIT`).sync() },
	"copy": func(c *rawClient, id int) {
		c.query(`COPY t FROM STDIN`).until(pgwire.CopyInResponse)
		c.send(pgwire.CopyData, fmt.Appendf(nil, "%d\n", id)).send(pgwire.CopyDone, nil)
	},
}

func insert(id int) string { return fmt.Sprintf(`INSERT INTO t VALUES (%d)`, id) }

const plainTable = `CREATE TABLE t (id int PRIMARY KEY)`

// TestI2GateTimeoutLeavesNothing: a commit whose record is not acknowledged in time
// is refused with 40001, is not there, and is said to be aborted; the session goes on.
func TestI2GateTimeoutLeavesNothing(t *testing.T) {
	kafka := holdBroker(t)
	r := rigWith(t, setting{brokers: kafka.addresses, timeout: 300 * time.Millisecond}, plainTable)
	c := r.client()
	id := 0
	for name, run := range insertions {
		id++
		kafka.hold()
		run(c, id)
		c.says(`C=40001 M=opmux: Kafka did not acknowledge`, `Z "I"`)
		kafka.release()
		if ids := r.ids(); ids != "" {
			t.Fatalf("%s: rows are there: %s", name, ids)
		}
		testkit.Eventually(t, testkit.Patience, r.ledger.Admit)
		c.query(`SELECT 1`).says(`SELECT 1`, `Z "I"`)
	}
	c.query(insert(100)).says(`INSERT 0 1`, `Z "I"`)
	outcomes := map[bool]int{}
	testkit.Eventually(t, testkit.Patience, func() error {
		if _, err := committedOf(r.records()); err != nil {
			return err
		}
		clear(outcomes)
		for _, rec := range r.records() {
			if b, ok := rec.Body.(*event.Outcomes); ok {
				for _, o := range b.List {
					outcomes[o.Committed]++
				}
			}
		}
		return nil
	})
	if outcomes[false] != len(insertions) || outcomes[true] != 1 {
		t.Fatalf("outcomes: %v", outcomes)
	}
}

// TestI6FirstWriteIsRefusedWhileKafkaIsDown: nothing runs, reads go on, a block fails.
func TestI6FirstWriteIsRefusedWhileKafkaIsDown(t *testing.T) {
	kafka := holdBroker(t)
	r := rigWith(t, setting{brokers: kafka.addresses, timeout: 300 * time.Millisecond}, plainTable)
	c := r.client()
	kafka.hold()
	c.query(insert(1)).says(`C=40001`)
	testkit.Eventually(t, testkit.Patience, func() error {
		if r.ledger.Admit() == nil {
			return errors.New("Kafka is still considered up")
		}
		return nil
	})
	for name, run := range insertions {
		if name == "copy" {
			c.query(`COPY t FROM STDIN`)
		} else {
			run(c, 2)
		}
		c.ready()
		text := c.take()
		if !strings.Contains(text, `C=40001 M=opmux: `) {
			t.Fatalf("%s: %s", name, text)
		}
		c.query(`ROLLBACK`).says(`Z "I"`) // a block that had begun has failed
	}
	c.query(`BEGIN`).says(`Z "T"`)
	c.query(insert(3)).says(`C=40001`, `Z "E"`)
	c.query(`SELECT 1`).says(`C=25P02`, `Z "E"`)
	c.query(`ROLLBACK`).says(`Z "I"`)
	c.query(`SELECT count(*) FROM t`).says(`0`, `Z "I"`)
	kafka.release()
	testkit.Eventually(t, testkit.Patience, r.ledger.Admit)
	c.query(insert(4)).says(`INSERT 0 1`, `Z "I"`)
	if ids := r.ids(); ids != "4" {
		t.Fatalf("rows: %s", ids)
	}
	r.same()
}

// TestI2EpochEndClosesSessions: a session of an ended epoch hears so, and what it has
// open does not commit.
func TestI2EpochEndClosesSessions(t *testing.T) {
	r := newRig(t, nil, plainTable)
	idle, open := r.client(), r.client()
	open.query(`BEGIN`).ready()
	open.query(insert(1)).ready()
	open.take()
	other := rigWith(t, setting{beside: r, agent: "a1"})
	idle.ends()
	idle.said(`S=FATAL C=57P01`)
	open.query(`COMMIT`).ends()
	if text := open.take(); strings.Contains(text, "COMMIT") {
		t.Fatalf("a session of an ended epoch committed: %s", text)
	}
	c := other.client()
	c.query(insert(2)).says(`INSERT 0 1`)
	if ids := other.ids(); ids != "2" {
		t.Fatalf("rows: %s", ids)
	}
	other.same()
}

// TestI1DrainEndsAtTransactionEnds: a stopping agent lets transactions end, wherever
// they are, and takes no new ones.
func TestI1DrainEndsAtTransactionEnds(t *testing.T) {
	r := rigWith(t, setting{drain: 20 * time.Second}, plainTable)
	idle, block, copying, pipeline, partial := r.client(), r.client(), r.client(), r.client(), r.client()
	// Half a message first: it has arrived when the others have been answered.
	partial.query(`BEGIN`).ready()
	message := pgwire.AppendQuery([]byte{pgwire.Query, 0, 0, 0, byte(len(insert(4)) + 5)}, insert(4))
	if _, err := partial.conn.Write(message[:9]); err != nil {
		t.Fatal(err)
	}
	block.query(`BEGIN`).ready()
	block.query(insert(1)).ready()
	copying.query(`COPY t FROM STDIN`).until(pgwire.CopyInResponse)
	copying.send(pgwire.CopyData, []byte("2\n")).flush()
	pipeline.run(insert(3)).send(pgwire.Flush, nil).until(pgwire.CommandComplete)
	r.stop()
	idle.ends()
	idle.said(`S=FATAL C=57P01`)
	if _, err := partial.conn.Write(message[9:]); err != nil {
		t.Fatal(err)
	}
	partial.says(`INSERT 0 1`, `Z "T"`)
	partial.query(`COMMIT`).says(`COMMIT`, `Z "I"`)
	copying.send(pgwire.CopyData, []byte("5\n")).send(pgwire.CopyDone, nil).says(`COPY 2`, `Z "I"`)
	pipeline.run(insert(6)).sync().says(`INSERT 0 1`, `INSERT 0 1`, `Z "I"`)
	block.query(`SELECT 1`).says(`SELECT 1`, `Z "T"`)
	block.query(`COMMIT`).says(`COMMIT`, `Z "I"`)
	for _, c := range []*rawClient{block, copying, pipeline, partial} {
		c.ends()
		c.said(`S=FATAL C=57P01`)
	}
	<-r.stopped
	if ids := r.ids(); ids != "1 2 3 4 5 6" {
		t.Fatalf("rows: %s", ids)
	}
	if ops := r.committed(); inserted(ops) != "1 2 3 4 5 6" {
		t.Fatalf("published: %s", inserted(ops))
	}
}

// lastMark is the highest value that operations have of a sequence.
func lastMark(ops []event.Operation, name string) int64 {
	var last int64
	for i := range ops {
		for _, m := range ops[i].Sequences {
			if m.Name == name {
				last = max(last, m.Value)
			}
		}
	}
	return last
}
