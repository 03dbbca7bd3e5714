package session_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

const drawnTable = `CREATE TABLE d (id serial PRIMARY KEY, w text, at timestamptz DEFAULT now())`

// lines are those of the COPY streams published.
func lines(ops []event.Operation) (list [][]byte) {
	var data []byte
	for _, op := range ops {
		if op.Kind == event.OpCopy {
			data = append(data, op.Data...)
		}
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// TestI7DrawnCopyIsBounded: a long COPY whose serial column is drawn goes in pieces,
// and what is published is what is there.
func TestI7DrawnCopyIsBounded(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.ChunkBytes = 64 << 10 }, drawnTable)
	c := r.client()
	c.query(`COPY d (w) FROM STDIN`).until(pgwire.CopyInResponse)
	before := heap()
	line := strings.Repeat("z", 1000)
	for i := range 20000 {
		c.send(pgwire.CopyData, []byte(line[:500]+"\\\n")).send(pgwire.CopyData, []byte(line[500:]+"\n"))
		if i == 15000 {
			c.flush()
			if grown := heap() - before; grown > 48<<20 {
				t.Errorf("the process grew by %d bytes", grown)
			}
		}
	}
	c.send(pgwire.CopyDone, nil).says(`COPY 20000`, `Z "I"`)
	c.query(`SELECT count(DISTINCT id), min(id), max(id), count(DISTINCT at) FROM d`).says(`20000`)
	if n := bytes.Count(bytes.Join(lines(r.committed()), nil), []byte("\t20")); n < 1 {
		t.Errorf("no drawn value is published")
	}
	if size, chunks := r.largest(); size > 256<<10 || chunks < 50 {
		t.Errorf("the largest record has %d bytes, there are %d chunks", size, chunks)
	}
	c.query(`COPY d (w) FROM STDIN`).until(pgwire.CopyInResponse)
	for range 17 << 4 { // a row beyond what may be kept of one
		c.send(pgwire.CopyData, bytes.Repeat([]byte("x"), 64<<10))
	}
	c.send(pgwire.CopyDone, nil).says(`C=57014`, `more than`, `Z "I"`)
}

// TestI2CancelOfDrawnCopy: a cancel at any moment of a COPY in pieces leaves what is
// published and what is there the same.
func TestI2CancelOfDrawnCopy(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.ChunkBytes = 4 << 10 }, drawnTable)
	c := r.client()
	random := rand.New(rand.NewPCG(1, 2))
	ended := map[bool]int{}
	for i := range 40 {
		c.query(`COPY d (w) FROM STDIN`).until(pgwire.CopyInResponse)
		done := make(chan struct{})
		go func() {
			defer close(done)
			<-time.After(time.Duration(random.IntN(15000)) * time.Microsecond)
			r.cancel(c.key)
		}()
		for k := range 20 {
			c.send(pgwire.CopyData, []byte(strings.Repeat(fmt.Sprintf("%d %d\n", i, k), 50)))
		}
		c.send(pgwire.CopyDone, nil).ready()
		ended[strings.Contains(c.take(), "COPY 1000")]++
		<-done
		c.query(`ROLLBACK`).ready() // a late cancel may hit this
		c.query(`ROLLBACK`).ready()
		c.take()
	}
	t.Logf("complete: %d, cancelled: %d", ended[true], ended[false])
	want := r.pg.Query(t, r.db, `SELECT count(*) FROM d`)[0][0]
	var got []string
	for _, l := range lines(r.committed()) {
		got = append(got, string(l[:bytes.IndexByte(l, '\t')]))
	}
	if fmt.Sprint(len(got)) != want || want != fmt.Sprint(1000*ended[true]) {
		t.Errorf("published are %d rows, there are %s, of %d COPY commands that were complete", len(got), want, ended[true])
	}
	for _, row := range r.pg.Query(t, r.db, `SELECT id FROM d ORDER BY id`) {
		if len(got) == 0 || got[0] != row[0] {
			t.Fatalf("row %s is there, next published is %v", row[0], got[:min(1, len(got))])
		}
		got = got[1:]
	}
}

// A COPY with drawn values in the extended protocol is refused, not run unseen.
func TestI6DrawnCopyInTheExtendedProtocolIsRefused(t *testing.T) {
	r := newRig(t, nil, drawnTable)
	c := r.client()
	c.run(`COPY d (w) FROM STDIN`).sync().says(`C=0A000 M=opmux: COPY that leaves out`, `Z "I"`)
	c.query(`SELECT count(*) FROM d`).says(`0`, `Z "I"`)
}

// copyGivesUp is a COPY that its client fails; the sequences as for copyFails.
func copyGivesUp(sql, data string) func(*rawClient) {
	return func(c *rawClient) {
		c.query(sql).until(pgwire.CopyInResponse)
		c.send(pgwire.CopyData, []byte(data)).send(pgwire.CopyFail, append([]byte("no"), 0)).ready()
		drawnAgain(c)
	}
}

// copyFails is copyIn of what the server refuses, behind which the sequences stand
// elsewhere: the agent drew for the rows behind the bad one as well.
func copyFails(sql, data string) func(*rawClient) {
	return func(c *rawClient) {
		copyIn(sql, data)(c)
		drawnAgain(c)
	}
}

func drawnAgain(c *rawClient) {
	for _, seq := range []string{"drawn_id_seq", "drawn_n_seq"} {
		q(`SELECT setval('` + seq + `', (SELECT coalesce(max(n), 1000) FROM drawn))`)(c)
	}
}

// pieces are the lines of a stream that the agent sends in several pieces; the
// last of them, and the one numbered bad, is such that the server refuses it.
func pieces(last, bad int) string {
	var b strings.Builder
	for i := last - 25000; i < last; i++ {
		n := strconv.Itoa(i + 1)
		if i-(last-25000) == bad {
			n = "x" + n
		}
		b.WriteString("piece " + strconv.Itoa(i) + "\t" + n + "\n")
	}
	return b.String()
}
