package session_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// splitter is an upstream whose stream breaks off, or arrives in another piece,
// behind the byte at.
type splitter struct {
	session.Primary
	at  atomic.Int64 // of the next connection; below zero: nowhere
	end atomic.Bool  // it breaks off there
	saw atomic.Int64 // bytes of the last connection that ended
}

func (s *splitter) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := s.Primary.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &splitConn{Conn: conn, by: s, at: s.at.Load(), end: s.end.Load()}, nil
}

type splitConn struct {
	session.Conn
	by       *splitter
	at, seen int64
	end      bool
}

func (c *splitConn) Read(p []byte) (int, error) {
	if left := c.at - c.seen; c.at >= 0 && left >= 0 && int64(len(p)) > left {
		if left == 0 && c.end {
			return 0, io.ErrUnexpectedEOF
		}
		p = p[:max(left, 1)]
	}
	n, err := c.Conn.Read(p)
	c.seen += int64(n)
	c.by.saw.Store(c.seen)
	return n, err
}

// conversation is a client's whole stream: start-up, the extended protocol, COPY
// and a block, all of whose rows have ids of its own.
func conversation(database string, id int) []byte {
	var sink bytes.Buffer
	w := pgwire.NewWriter(&sink, 1<<16)
	send := func(typ byte, body []byte) { _ = w.Message(typ, body) }
	_ = w.Write(greeting("user", "postgres", "database", database, "application_name", "raw"))
	send(pgwire.Parse, pgwire.ParseBody{Text: insert(id)}.Append(nil))
	send(pgwire.Bind, pgwire.BindBody{}.Append(nil))
	send(pgwire.Execute, pgwire.ExecuteBody{}.Append(nil))
	send(pgwire.Sync, nil)
	send(pgwire.Query, pgwire.AppendQuery(nil, `COPY t FROM STDIN`))
	send(pgwire.CopyData, fmt.Appendf(nil, "%d\n", id+1))
	send(pgwire.CopyDone, nil)
	for _, sql := range []string{`BEGIN`, insert(id + 2), `COMMIT`} {
		send(pgwire.Query, pgwire.AppendQuery(nil, sql))
	}
	send(pgwire.Terminate, nil)
	_ = w.Flush()
	return sink.Bytes()
}

// speak sends a stream in two pieces and returns what came back; without the rest
// the client vanishes behind the first.
func (r *rig) speak(stream []byte, cut int, rest bool) string {
	r.t.Helper()
	c := dialBare(r.t, r.address)
	defer c.close()
	if _, err := c.conn.Write(stream[:cut]); err != nil {
		return ""
	}
	if !rest {
		return ""
	}
	if _, err := c.conn.Write(stream[cut:]); err != nil {
		return ""
	}
	c.ends()
	return c.take()
}

// step is how far apart cuts are: every byte in the long form.
func step(t *testing.T, every int) int {
	t.Helper()
	if !long() {
		return every
	}
	return 1
}

// TestPiecesOfEverySize: a client's and a server's stream mean the same wherever
// they are cut into pieces (I5).
func TestPiecesOfEverySize(t *testing.T) {
	upstream := &splitter{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}
	upstream.at.Store(-1)
	r := rigWith(t, setting{upstream: upstream}, plainTable)
	id := 1000
	whole := func(cut int) string {
		id += 10
		return strings.ReplaceAll(r.speak(conversation(r.db, id), cut, true), fmt.Sprint(id), "ID")
	}
	want := whole(1)
	if !strings.Contains(want, "COPY 1") || !strings.Contains(want, "COMMIT") {
		t.Fatalf("the conversation went wrong:\n%s", want)
	}
	for cut := 1; cut < len(conversation(r.db, id)); cut += step(t, 29) {
		if got := whole(cut); got != want {
			t.Fatalf("cut behind byte %d:\n%s\nexpected\n%s", cut, got, want)
		}
	}
	for at := int64(1); at < upstream.saw.Load(); at += int64(step(t, 61)) {
		upstream.at.Store(at)
		if got := whole(1); got != want {
			t.Fatalf("the server's stream in pieces behind byte %d:\n%s\nexpected\n%s", at, got, want)
		}
	}
	r.same()
}

// TestI1StreamsEndAtEveryByte: wherever a client's or a server's stream ends, what
// was published is what is there.
func TestI1StreamsEndAtEveryByte(t *testing.T) {
	upstream := &splitter{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}
	upstream.at.Store(-1)
	r := rigWith(t, setting{upstream: upstream}, plainTable)
	id := 1000
	r.speak(conversation(r.db, id), 1, true)
	for cut := 1; cut < len(conversation(r.db, id)); cut += step(t, 23) {
		id += 10
		r.speak(conversation(r.db, id), cut, false)
	}
	total := upstream.saw.Load()
	upstream.end.Store(true)
	for at := int64(1); at < total+500; at += int64(step(t, 53)) {
		id += 10
		upstream.at.Store(at)
		r.speak(conversation(r.db, id), 1, true)
	}
	upstream.at.Store(-1)
	testkit.Eventually(t, testkit.Patience, func() error { // every backend has gone
		rows := r.pg.Query(t, r.db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'raw'`)
		if rows[0][0] != "0" {
			return fmt.Errorf("%s backends are still there", rows[0][0])
		}
		return nil
	})
	r.client().query(insert(1)).says(`INSERT 0 1`)
	r.same()
}

// TestAuthenticationInPieces: TLS is asked for, and a password given, byte by byte.
func TestAuthenticationInPieces(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithTLS(), testkit.WithSCRAM())
	r := rigWith(t, setting{pg: pg, upstream: secured(t, pg), session: func(c *session.Config) { c.ClientTLS = certificate(t, pg) }},
		plainTable, `CREATE ROLE app LOGIN PASSWORD 'secret'`)
	for _, mode := range []string{"disable", "require"} {
		if err := connectInPieces(t, "postgres://app:secret@"+r.address+"/"+r.db+"?sslmode="+mode); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}
