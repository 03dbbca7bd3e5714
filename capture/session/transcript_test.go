package session_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// rawClient speaks the protocol message by message, so that a test sees exactly
// what a client is sent.
type rawClient struct {
	t    testing.TB
	conn net.Conn
	r    *pgwire.Reader
	w    *pgwire.Writer
	key  []byte // of CancelRequest
	// notes are the server's messages since the last take, one a line.
	notes []string
}

func dialRaw(t testing.TB, address, database string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	c := &rawClient{t: t, conn: conn, r: pgwire.NewReader(conn, 8<<10), w: pgwire.NewWriter(conn, 64<<10)}
	body := []byte{0, 3, 0, 0}
	for _, s := range []string{"user", "postgres", "database", database, "application_name", "raw"} {
		body = append(append(body, s...), 0)
	}
	if _, err := conn.Write(pgwire.UntypedPacket(append(body, 0))); err != nil {
		t.Fatal(err)
	}
	c.ready()
	c.notes = nil
	return c
}

func (c *rawClient) close() { _ = c.conn.Close() }

func (c *rawClient) send(typ byte, body []byte) *rawClient {
	c.t.Helper()
	if err := c.w.Message(typ, body); err != nil {
		c.t.Fatal(err)
	}
	return c
}

func (c *rawClient) flush() {
	c.t.Helper()
	if err := c.w.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) query(sql string) *rawClient {
	return c.send(pgwire.Query, pgwire.AppendQuery(nil, sql))
}
func (c *rawClient) parse(name, sql string, oids ...uint32) *rawClient {
	return c.send(pgwire.Parse, pgwire.ParseBody{Name: name, Text: sql, OIDs: oids}.Append(nil))
}
func (c *rawClient) bind(portal, statement string, formats []int16, params ...string) *rawClient {
	b := pgwire.BindBody{Portal: portal, Statement: statement, ResultFormats: formats}
	for _, p := range params {
		b.Params = append(b.Params, pgwire.Param{Value: []byte(p)})
	}
	return c.send(pgwire.Bind, b.Append(nil))
}
func (c *rawClient) describe(portal bool, name string) *rawClient {
	return c.send(pgwire.Describe, pgwire.Target{Portal: portal, Name: name}.Append(nil))
}
func (c *rawClient) execute(portal string, limit int32) *rawClient {
	return c.send(pgwire.Execute, pgwire.ExecuteBody{Portal: portal, Limit: limit}.Append(nil))
}
func (c *rawClient) sync() *rawClient { return c.send(pgwire.Sync, nil) }

// ready reads up to and with ReadyForQuery.
func (c *rawClient) ready() { c.t.Helper(); c.until(pgwire.ReadyForQuery) }

// until reads up to and with a message of that type.
func (c *rawClient) until(typ byte) {
	c.t.Helper()
	c.flush()
	for {
		m, err := c.r.Message(16 << 20)
		if err != nil {
			c.t.Fatalf("reading the answer: %v; so far:\n%s", err, strings.Join(c.notes, "\n"))
		}
		c.notes = append(c.notes, noteOf(m))
		if m.Type == pgwire.BackendKeyData {
			c.key = append([]byte(nil), m.Body()...)
		}
		if m.Type == typ {
			return
		}
	}
}

func (c *rawClient) take() string {
	s := strings.Join(c.notes, "\n")
	c.notes = nil
	return s
}

// noteOf writes a message as text, without what differs from server to server:
// OIDs of tables, source lines of errors.
func noteOf(m pgwire.Message) string {
	body := m.Body()
	switch m.Type {
	case pgwire.ErrorResponse, pgwire.NoticeResponse:
		fields, err := pgwire.DecodeFields(body)
		if err != nil {
			return err.Error()
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%c", m.Type)
		for _, f := range fields {
			if strings.ContainsRune("SCMDHPWtcn", rune(f.Code)) {
				fmt.Fprintf(&b, " %c=%s", f.Code, f.Value)
			}
		}
		return b.String()
	case pgwire.RowDescription:
		return fmt.Sprintf("T %s", describeColumns(body))
	case pgwire.BackendKeyData:
		return "K"
	case pgwire.NotificationResponse:
		return fmt.Sprintf("A %q", body[4:])
	}
	return fmt.Sprintf("%c %q", m.Type, body)
}

// describeColumns leaves the tables' OIDs out.
func describeColumns(body []byte) string {
	var b strings.Builder
	n := pgwire.Columns(body)
	if n == 0 {
		return ""
	}
	body = body[2:]
	for range n {
		end := strings.IndexByte(string(body), 0)
		fmt.Fprintf(&b, "%s %x; ", body[:end], body[end+5:end+19])
		body = body[end+19:]
	}
	return b.String()
}
