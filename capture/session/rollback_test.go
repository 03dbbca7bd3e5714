package session_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
)

// hindered is an upstream on which a command fails, as often as left says, like one that a cancel hits: the
// server gets another in its place, as long, that it refuses.
type hindered struct {
	session.Primary
	command, other string
	left           atomic.Int64
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
	if bytes.Contains(p, []byte(c.by.command)) && c.by.left.Add(-1) >= 0 {
		p = bytes.ReplaceAll(p, []byte(c.by.command), []byte(c.by.other))
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
			h := &hindered{Primary: session.Primary{Address: upstreamAddress(r.pg)}, command: "ROLLBACK\x00", other: "SELECT 1\x00"}
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

// I1, I5: a COMMIT that a cancel hits before it has begun leaves the server's block, failed, with its savepoints. It
// ends through the agent, as behind any COMMIT that fails: nothing of it can be committed later, unrecorded, and a
// client outside of a block is not left in one.
func TestI5CommitsThatFailEndTheirBlock(t *testing.T) {
	inBlock := func(c *rawClient, id int) *rawClient {
		return c.query(`BEGIN`).query(insert(id)).query(`SAVEPOINT a`).query(`SELECT 1 AS behind`)
	}
	const plain, chain = "COMMIT\x00", "COMMIT AND CHAIN\x00"
	for name, try := range map[string]struct {
		command string
		run     func(c *rawClient, id int) (answers int)
	}{
		"simple":   {plain, func(c *rawClient, id int) int { c.query(insert(id)); return 1 }},
		"extended": {plain, func(c *rawClient, id int) int { c.run(insert(id)).sync(); return 1 }},
		"block":    {plain, func(c *rawClient, id int) int { inBlock(c, id).query(`COMMIT`); return 5 }},
		"one Query": {plain, func(c *rawClient, id int) int {
			c.query(`BEGIN; ` + insert(id) + `; SAVEPOINT a`).query("COMMIT")
			return 2
		}},
		"pipeline": {plain, func(c *rawClient, id int) int {
			inBlock(c, id).run(`COMMIT`).sync()
			return 5
		}},
		"more in the pipeline": {plain, func(c *rawClient, id int) int {
			inBlock(c, id).run(`COMMIT`).run(insert(id + 100)).sync().run(`SELECT 2 AS other`).sync()
			return 6
		}},
		"chain": {chain, func(c *rawClient, id int) int { inBlock(c, id).query(`COMMIT AND CHAIN`); return 5 }},
		"chain in a pipeline": {chain, func(c *rawClient, id int) int {
			inBlock(c, id).run(`COMMIT AND CHAIN`).sync()
			return 5
		}},
	} {
		for _, none := range []bool{false, true} {
			t.Run(fmt.Sprint(name, none), func(t *testing.T) {
				pg := testkit.SharedPostgres(t)
				h := &hindered{Primary: session.Primary{Address: upstreamAddress(pg)}, command: try.command,
					other: "MOVE " + strings.Repeat("c", len(try.command)-6) + "\x00"}
				r := rigWith(t, setting{pg: pg, upstream: h, session: func(c *session.Config) { c.None = none }}, plainTable)
				c := r.client()
				h.left.Store(1)
				for range try.run(c, 1) {
					c.ready()
				}
				if got := c.take(); !strings.Contains(got, "34000") || !strings.HasSuffix(got, `Z "I"`) || h.left.Load() > 0 {
					t.Errorf("a COMMIT that failed:\n%s", got)
				}
				c.query(`ROLLBACK TO a`).ready()
				if got := c.take(); !strings.Contains(got, "25P01") {
					t.Errorf("the block goes on:\n%s", got)
				}
				d := r.client() // the agent's own COMMIT stays another command in c
				d.query(insert(50)).ready()
				r.same()
			})
		}
	}
}

// I1: a ROLLBACK that a cancel hits has not ended its block: what a savepoint brings back is recorded.
func TestI1RollbacksThatFailEndNothing(t *testing.T) {
	for name, run := range map[string]func(c *rawClient, sql string) *rawClient{
		"simple":   func(c *rawClient, sql string) *rawClient { return c.query(sql) },
		"extended": func(c *rawClient, sql string) *rawClient { return c.run(sql).sync() },
		"several":  func(c *rawClient, sql string) *rawClient { return c.query(`SELECT 1; ` + sql) },
	} {
		t.Run(name, func(t *testing.T) {
			pg := testkit.SharedPostgres(t)
			h := &hindered{Primary: session.Primary{Address: upstreamAddress(pg)}, command: "ROLLBACK\x00", other: "MOVE ccc\x00"}
			r := rigWith(t, setting{pg: pg, upstream: h}, plainTable)
			c := r.client()
			for _, sql := range []string{`BEGIN`, insert(1), `SAVEPOINT a`, insert(2)} {
				c.query(sql).ready()
			}
			h.left.Store(1)
			run(c, `ROLLBACK`).says("34000", `Z "E"`)
			c.query(`ROLLBACK TO a`).says(`Z "T"`)
			c.query(insert(3)).ready()
			c.query(`COMMIT`).says(`COMMIT`, `Z "I"`)
			if got := r.ids(); got != "1 3" {
				t.Errorf("on the primary: %s", got)
			}
			r.same()
		})
	}
}
