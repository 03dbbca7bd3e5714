package session_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
)

// TestCommitAndSyncAreAnsweredInOnePacket: a client that sends both at once is not
// woken twice, and neither is the server.
func TestCommitAndSyncAreAnsweredInOnePacket(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY)`)
	c := r.client()
	c.parse("begin", "BEGIN").parse("insert", insert(1)).parse("commit", "COMMIT").sync().ready()
	c.bind("", "begin", nil).execute("", 0).bind("", "insert", nil).execute("", 0).sync().ready()
	c.bind("", "commit", nil).execute("", 0).sync().flush()
	answer := make([]byte, 4096)
	n, err := c.conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	// BindComplete, CommandComplete, ReadyForQuery.
	if want := "2\x00\x00\x00\x04C\x00\x00\x00\x0bCOMMIT\x00Z\x00\x00\x00\x05I"; string(answer[:n]) != want {
		t.Errorf("the first packet is %q, want all of %q", answer[:n], want)
	}
	c.query(insert(2)).ready()
	if got := inserted(r.committed()); got != "1 2" {
		t.Errorf("inserted %q", got)
	}
}

// packets is an upstream that keeps the type of each packet's last message.
type packets struct {
	session.Primary
	mu    sync.Mutex
	lasts []byte
}

func (p *packets) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := p.Primary.Dial(ctx)
	return &packetConn{Conn: conn, by: p}, err
}

// take returns what was written since the last take.
func (p *packets) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := string(p.lasts)
	p.lasts = nil
	return out
}

type packetConn struct {
	session.Conn
	by *packets
}

// Write notes Sync and Flush, which are the last five bytes where they end a packet.
func (c *packetConn) Write(p []byte) (int, error) {
	last := byte('?')
	if at := len(p) - 5; at >= 0 && slices.Equal(p[at+1:], []byte{0, 0, 0, 4}) {
		last = p[at]
	}
	c.by.mu.Lock()
	c.by.lasts = append(c.by.lasts, last)
	c.by.mu.Unlock()
	return c.Conn.Write(p)
}

// TestAutocommitWriteTakesTwoRoundTrips: BEGIN, statement, probe and the client's Sync
// in one packet, guard and COMMIT in the next. A portal that holds rows back is read first.
func TestAutocommitWriteTakesTwoRoundTrips(t *testing.T) {
	up := &packets{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}
	r := rigWith(t, setting{upstream: up}, plainTable)
	c := r.client()
	c.parse("first", insert(1)).parse("second", insert(2)).parse("third", `INSERT INTO t VALUES (3), (4) RETURNING id`).sync().ready()
	c.bind("", "first", nil).execute("", 0).sync().ready() // prepares the agent's own statements
	for _, step := range []struct {
		statement string
		limit     int32
		want      string
	}{{"second", 0, "SS"}, {"third", 1, "HHSS"}} {
		up.take()
		c.bind("", step.statement, nil).execute("", step.limit).sync().ready()
		if got := up.take(); got != step.want {
			t.Errorf("%s: packets end with %q, want %q", step.statement, got, step.want)
		}
	}
	if got, want := summary(r.committed()), "INSERT affected 1; INSERT affected 1; INSERT affected 2"; got != want {
		t.Errorf("published %q, want %q", got, want)
	}
}

// TestPipelinedWritesAreNotWaitedForOneByOne, but a long pipeline is, now and then: what
// is known of each write under way is kept (I7).
func TestPipelinedWritesAreNotWaitedForOneByOne(t *testing.T) {
	up := &packets{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}
	r := rigWith(t, setting{upstream: up}, plainTable)
	c := r.client()
	c.query(insert(0)).ready()
	id := 0
	for _, step := range []struct{ writes, least, most int }{{2, 0, 0}, {400, 4, 40}} {
		up.take()
		for range step.writes {
			id++
			c.parse("", insert(id)).bind("", "", nil).execute("", 0)
		}
		c.sync().ready()
		packets := up.take()
		if waits := strings.Count(packets, "H"); waits < step.least || waits > step.most {
			t.Errorf("%d writes were waited for %d times, want %d to %d", step.writes, waits, step.least, step.most)
		}
		if !strings.HasSuffix(packets, "SS") {
			t.Errorf("%d writes: packets end with %q, want the pipeline's Sync and the COMMIT's", step.writes, packets)
		}
	}
	r.same()
}
