package session_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// TestI6HostileClient: messages in any order and of any form end their own session
// alone, or are answered as the server does, and leave what is published true.
func TestI6HostileClient(t *testing.T) {
	r := newRig(t, nil, plainTable)
	bystander := r.client()
	bystander.query(`BEGIN`).ready()
	bystander.query(insert(1)).ready()
	var everyServer []byte // types that only a server sends
	for _, typ := range "RKZTtnI123sGWVvAN" {
		everyServer = append(everyServer, byte(typ))
	}
	id := 10
	for _, open := range []bool{false, true} {
		for _, typ := range append(everyServer, 0, 1, 0x7f, 0x80, 0xff, '!', 'p') {
			for _, body := range [][]byte{nil, {0}, bytes.Repeat([]byte{0xff}, 40)} {
				id++
				c := r.client()
				if open {
					c.query(`BEGIN`).ready()
					c.query(insert(id)).ready()
				}
				c.send(typ, body).ends()
				if text := c.take(); !strings.Contains(text, "FATAL C=08P01") {
					t.Errorf("type %q, open %t: %s", typ, open, text)
				}
			}
		}
	}
	q := func(sql string) []byte { return raw(pgwire.Query, append([]byte(sql), 0)...) }
	for name, stream := range map[string][]byte{
		"an unterminated query":      raw(pgwire.Query, []byte("SELECT 1")...),
		"two strings in a query":     raw(pgwire.Query, []byte("SELECT 1\x00SELECT 2\x00")...),
		"an unterminated name":       raw(pgwire.Parse, []byte("name")...),
		"a Bind of 65535 values":     raw(pgwire.Bind, 0, 0, 0, 0, 0xff, 0xff),
		"a value of 2 GB":            raw(pgwire.Bind, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff),
		"a value below null":         raw(pgwire.Bind, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe),
		"a Close of nothing":         raw(pgwire.Close),
		"a Close of something else":  raw(pgwire.Close, 'X', 'a', 0),
		"garbage":                    bytes.Repeat([]byte("\xde\xad\xbe\xef"), 3000),
		"a start-up in the middle":   greeting("user", "postgres"),
		"COPY data without a COPY":   append(raw(pgwire.CopyData, 'x'), q(`SELECT 1`)...),
		"a query during COPY":        append(q(`COPY t FROM STDIN`), q(insert(2))...),
		"a password during COPY":     append(q(`COPY t FROM STDIN`), raw(pgwire.PasswordData, 'x', 0)...),
		"Execute before Bind":        append(raw(pgwire.Execute, 0, 0, 0, 0, 0), raw(pgwire.Sync)...),
		"a block, Sync, and garbage": append(append(q(`BEGIN`), q(insert(3))...), 0xff, 0, 0, 0, 0),
	} {
		c := r.client()
		if _, err := c.conn.Write(append(stream, raw(pgwire.Terminate)...)); err != nil {
			t.Fatal(err)
		}
		if tcp, ok := c.conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite() // it is gone already where the session has ended
		}
		c.ends()
		if text := c.take(); strings.Contains(text, "panic") {
			t.Errorf("%s: %s", name, text)
		}
	}
	bystander.query(`COMMIT`).says(`COMMIT`, `Z "I"`)
	if ids := r.ids(); ids != "1" {
		t.Errorf("rows: %s", ids)
	}
	r.same()
}

// TestI5MalformedMessagesAreAnswered: a message of the right length whose content is not
// one is an error, as the server's, and the session goes on; in a block the block fails.
func TestI5MalformedMessagesAreAnswered(t *testing.T) {
	r := newRig(t, nil, plainTable)
	for name, m := range map[string]struct {
		typ  byte
		body string
	}{
		"a Query without its end":      {pgwire.Query, "SELECT 1"},
		"a Query with more behind it":  {pgwire.Query, "SELECT 1\x00x"},
		"a Parse without its end":      {pgwire.Parse, "name"},
		"formats of other parameters":  {pgwire.Bind, "\x00w\x00\x00\x02\x00\x00\x00\x00\x00\x01\x00\x00\x00\x011\x00\x00"},
		"a format that there is not":   {pgwire.Bind, "\x00w\x00\x00\x01\x00\x02\x00\x01\x00\x00\x00\x011\x00\x00"},
		"more formats than there are":  {pgwire.Bind, "\x00\x00\x7f\xff\x00\x00"},
		"a Describe of something else": {pgwire.Describe, "Xa\x00"},
		"a Close of nothing":           {pgwire.Close, ""},
		"an Execute without a limit":   {pgwire.Execute, "\x00"},
		"an Execute of nothing":        {pgwire.Execute, ""},
	} {
		for _, open := range []bool{false, true} {
			c := r.client()
			c.parse("w", `INSERT INTO t (id) VALUES ($1)`).sync().ready()
			status := `Z "I"`
			if open {
				c.query(`BEGIN`).ready()
				status = `Z "E"`
			}
			c.take()
			c.send(m.typ, []byte(m.body))
			if m.typ != pgwire.Query {
				c.execute("", 0).sync()
			}
			c.ready()
			if text := c.take(); !strings.Contains(text, "C=08P01") || strings.Contains(text, "FATAL") || !strings.HasSuffix(text, status) {
				t.Errorf("%s, open %t: %s", name, open, text)
			}
			c.query(`ROLLBACK`).ready()
			c.take()
			c.query(`SELECT 1`).says(`SELECT 1`, `Z "I"`)
			c.close()
		}
	}
	if ids := r.ids(); ids != "" {
		t.Errorf("rows: %s", ids)
	}
}

// TestI7ConnectionsAreBounded: of any number of connections no more are held than
// may be served and wait.
func TestI7ConnectionsAreBounded(t *testing.T) {
	r := rigWith(t, setting{limits: session.Limits{Sessions: 8, Handshakes: 3}}, plainTable)
	var closed atomic.Int64
	var silent []*rawClient
	var reads sync.WaitGroup
	for range 40 {
		c := dialBare(t, r.address)
		silent = append(silent, c)
		reads.Go(func() {
			if _, err := c.conn.Read(make([]byte, 1)); err != nil {
				closed.Add(1)
			}
		})
	}
	const want = 40 - (8 + 2*3)
	testkit.Eventually(t, testkit.Patience, func() error {
		if n := closed.Load(); n != want {
			return fmt.Errorf("%d of 40 connections were closed, expected %d", n, want)
		}
		return nil
	})
	for _, c := range silent {
		c.close()
	}
	reads.Wait()
	testkit.Eventually(t, testkit.Patience, func() error {
		if text := r.answers(greeting("user", "postgres", "database", r.db)); !strings.Contains(text, `Z "I"`) {
			return fmt.Errorf("no session: %q", text)
		}
		return nil
	})
}

// TestI7StartUpFloods: connections that say nothing, too much or nonsense keep
// nobody out for longer than a handshake may take, and are not held beyond a bound.
func TestI7StartUpFloods(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	r := rigWith(t, setting{logs: core, limits: session.Limits{Sessions: 8, Handshakes: 3},
		session: func(c *session.Config) { c.AuthTimeout = 700 * time.Millisecond }}, plainTable)
	var silent []*rawClient
	for range 10 {
		silent = append(silent, dialBare(t, r.address))
	}
	closed := 0
	for _, c := range silent {
		if err := c.conn.SetReadDeadline(time.Now().Add(2 * testkit.Patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.conn.Read(make([]byte, 1)); err != nil && !strings.Contains(err.Error(), "timeout") {
			closed++
		}
	}
	if closed != len(silent) {
		t.Errorf("%d of %d silent connections were closed", closed, len(silent))
	}
	if logs.FilterMessage("client did not become a session").Len() == 0 {
		t.Error("the log does not tell of clients that said nothing")
	}
	var endless []string
	for i := range 3000 {
		endless = append(endless, fmt.Sprint("p", i), "x")
	}
	for name, sent := range map[string][]byte{
		"parameters without end":   greeting(endless...),
		"a parameter without end":  pgwire.UntypedPacket(append([]byte{0, 3, 0, 0}, bytes.Repeat([]byte("u"), 9000)...)),
		"one parameter of the two": pgwire.UntypedPacket([]byte{0, 3, 0, 0, 'u', 's', 'e', 'r', 0}),
		"nothing but a length":     binary.BigEndian.AppendUint32(nil, 9999),
		"a TLS hello":              append([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}, bytes.Repeat([]byte{0}, 500)...),
	} {
		if text := r.answers(sent); strings.Contains(text, `Z "`) {
			t.Errorf("%s made a session: %s", name, text)
		}
	}
	var floods sync.WaitGroup
	for i := range 50 {
		floods.Go(func() { r.cancel([]byte{0, 0, 0, byte(i), 1, 2, 3, 4}) })
	}
	floods.Wait()
	testkit.Eventually(t, testkit.Patience, func() error {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	r.client().query(insert(1)).says(`INSERT 0 1`)
	r.same()
}

// TestI7ClientThatNeverReads: what it asked for waits in the server, not here, and
// others go on.
func TestI7ClientThatNeverReads(t *testing.T) {
	r := newRig(t, nil, plainTable)
	before := heap()
	var mute []*rawClient
	for i := range 10 {
		c := r.client()
		c.query(fmt.Sprintf(`INSERT INTO t SELECT g FROM generate_series(%d, %d) g RETURNING repeat('x', 20000)`, i*10000+1000, i*10000+3000)).flush()
		mute = append(mute, c)
	}
	other := r.client()
	other.query(insert(1)).says(`INSERT 0 1`)
	if grown := heap() - before; grown > 32<<20 {
		t.Errorf("the process grew by %d bytes", grown)
	}
	for _, c := range mute {
		c.close()
	}
	testkit.Eventually(t, testkit.Patience, func() error {
		if rows := r.pg.Query(t, r.db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'raw'`); rows[0][0] != "1" {
			return fmt.Errorf("%s backends are there, expected the other client's alone", rows[0][0])
		}
		return nil
	})
	if ids := r.ids(); ids != "1" {
		t.Errorf("rows of clients that never read: %.80s", ids)
	}
	r.same()
}
