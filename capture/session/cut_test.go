package session_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
)

// cutter is an upstream that loses the connection at a COMMIT.
type cutter struct {
	session.Primary
	armed, forward atomic.Bool
}

func (c *cutter) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := c.Primary.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: conn, by: c, answered: make(chan struct{})}, nil
}

type cutConn struct {
	session.Conn
	by       *cutter
	cut      atomic.Bool
	answered chan struct{} // closed at the first answer behind the cut
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.cut.CompareAndSwap(true, false) {
		close(c.answered)
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// commits are what COMMIT looks like: a Query, the agent's own statement, and the
// Execute of the test's portal.
var commits = [][]byte{[]byte("COMMIT\x00"), []byte("opmux_commit\x00"), []byte("COMMIT PREPARED"), []byte("E\x00\x00\x00\x0fcommit\x00")}

func (c *cutConn) Write(p []byte) (int, error) {
	if !c.by.armed.Load() || !slices.ContainsFunc(commits, func(m []byte) bool { return bytes.Contains(p, m) }) {
		return c.Conn.Write(p)
	}
	if c.by.forward.Load() {
		c.cut.Store(true)
		if n, err := c.Conn.Write(p); err != nil {
			return n, err
		}
		<-c.answered // the server has committed, and nobody has heard it
	}
	return len(p), c.Close()
}

// TestI1UnknownOutcomeIsSaidAndSettled: a connection lost in COMMIT is 08007 to the
// client and, once settled, the truth to everybody else.
func TestI1UnknownOutcomeIsSaidAndSettled(t *testing.T) {
	cut := &cutter{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}
	r := rigWith(t, setting{upstream: cut}, plainTable)
	id := 0
	for name, run := range insertions {
		for _, forward := range []bool{false, true} {
			id++
			cut.armed.Store(false)
			c := r.client()
			if name == "pipeline" { // its Parse of COMMIT is none
				c.parse("c", `COMMIT`).sync().ready()
				run = func(c *rawClient, id int) {
					c.run(`BEGIN`).run(insert(id)).bind("commit", "c", nil).execute("commit", 0).sync()
				}
			}
			cut.forward.Store(forward)
			cut.armed.Store(true)
			run(c, id)
			c.ends()
			c.said(`S=FATAL C=08007`)
		}
	}
	cut.armed.Store(false)
	c := r.client()
	c.query(insert(100)).says(`INSERT 0 1`)
	r.same()
}
