package session_test

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opmux/opmux/capture/session"
)

// hindered is an upstream on which a ROLLBACK of the agent's fails, as often as left says, like one that a cancel
// hits: the server gets a command in its place that it refuses in a failed transaction.
type hindered struct {
	session.Primary
	left atomic.Int64
}

func (h *hindered) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := h.Primary.Dial(ctx)
	return &hinderedConn{conn, h}, err
}

type hinderedConn struct {
	session.Conn
	by *hindered
}

func (c *hinderedConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("ROLLBACK\x00")) && c.by.left.Add(-1) >= 0 {
		p = bytes.ReplaceAll(p, []byte("ROLLBACK\x00"), []byte("SELECT 1\x00"))
	}
	return c.Conn.Write(p)
}

// I5: a client outside of a block is never left in a failed transaction of the agent's, also where that
// one's ROLLBACK fails.
func TestI5RollbacksThatFailAreTriedAgain(t *testing.T) {
	for name, write := range map[string]func(c *rawClient, sql string) *rawClient{
		"simple": func(c *rawClient, sql string) *rawClient { return c.query(sql) },
		"extended": func(c *rawClient, sql string) *rawClient {
			return c.parse("", sql).bind("", "", nil).execute("", 0).sync()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, schema...)
			h := &hindered{Primary: session.Primary{Address: upstreamAddress(r.pg)}}
			r = rigWith(t, setting{agent: "a2", upstream: h, beside: r})
			c := r.client()
			h.left.Store(2)
			write(c, `UPDATE t SET v = v / 0 WHERE id < 3`).ready()
			if got := c.take(); !strings.Contains(got, "22012") || !strings.HasSuffix(got, `Z "I"`) || strings.Contains(got, "25P02") || h.left.Load() >= 0 {
				t.Errorf("a statement that failed, behind %d ROLLBACKs:\n%s", h.left.Load(), got)
			}
			write(c, `UPDATE t SET v = 7 WHERE id < 3`).ready()
			if got := c.take(); !strings.Contains(got, "UPDATE 2") {
				t.Errorf("the next statement:\n%s", got)
			}
		})
	}
}
