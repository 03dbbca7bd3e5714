package session_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/wire/pgwire"
)

// spoiler is an upstream on which one message fails, the at-th since it was armed, as if a
// cancel had hit it: the server gets another in its place, which it refuses, and its
// error comes back as that of a cancelled statement.
type spoiler struct {
	session.Primary
	mu   sync.Mutex
	seen int
	at   int // 0: none
	hit  string
}

// spoiltName is what the server is asked for in place of what it was to do.
const spoiltName = "opmux_spoilt"

// arm begins to count anew.
func (s *spoiler) arm(at int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.at, s.hit = 0, at, ""
}

// struck is the message that was hit; empty where there were fewer.
func (s *spoiler) struck() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hit
}

func (s *spoiler) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := s.Primary.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &spoilerConn{Conn: conn, by: s}, nil
}

type spoilerConn struct {
	session.Conn
	by      *spoiler
	started bool   // the untyped startup packet is through
	out     []byte // the beginning of a message
	raw     []byte // the same of the server's
	in      []byte // to be read
}

func (c *spoilerConn) Write(p []byte) (int, error) {
	if !c.started {
		c.started = true
		return c.Conn.Write(p)
	}
	var send []byte
	c.out = append(c.out, p...)
	for m := cutMessage(&c.out); m != nil; m = cutMessage(&c.out) {
		send = append(send, c.by.pass(m)...)
	}
	if _, err := c.Conn.Write(send); err != nil {
		return 0, err
	}
	return len(p), nil
}

// cutMessage takes a whole message off the front; nil where there is none.
func cutMessage(b *[]byte) []byte {
	if len(*b) < 5 {
		return nil
	}
	n := int(binary.BigEndian.Uint32((*b)[1:])) + 1
	if len(*b) < n {
		return nil
	}
	m := (*b)[:n:n]
	*b = (*b)[n:]
	return m
}

// pass returns what the server gets for a message.
func (s *spoiler) pass(m []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == 0 {
		return m
	}
	other := spoilt(m)
	if other == nil {
		return m
	}
	if s.seen++; s.seen != s.at {
		return m
	}
	s.hit = string(m)
	return other
}

// spoilt is a message of the same kind that the server refuses; nil for those that no
// cancel can hit.
func spoilt(m []byte) []byte {
	body := m[5:]
	switch m[0] {
	case pgwire.Query:
		body = pgwire.AppendQuery(nil, spoiltName)
	case pgwire.Parse:
		b, _ := pgwire.DecodeParse(body)
		b.Text = spoiltName
		body = b.Append(nil)
	case pgwire.Bind:
		b, _ := pgwire.DecodeBind(body)
		b.Statement = spoiltName
		body = b.Append(nil)
	case pgwire.Execute:
		b, _ := pgwire.DecodeExecute(body)
		b.Portal = spoiltName
		body = b.Append(nil)
	case pgwire.Describe:
		b, _ := pgwire.DecodeTarget(body)
		b.Name = spoiltName
		body = b.Append(nil)
	default:
		return nil
	}
	return pgwire.AppendMessage(nil, m[0], body)
}

func (c *spoilerConn) Read(p []byte) (int, error) {
	for len(c.in) == 0 {
		buf := make([]byte, 8<<10)
		n, err := c.Conn.Read(buf)
		c.raw = append(c.raw, buf[:n]...)
		for m := cutMessage(&c.raw); m != nil; m = cutMessage(&c.raw) {
			if m[0] == pgwire.ErrorResponse && bytes.Contains(m, []byte(spoiltName)) {
				m = cancelled()
			}
			c.in = append(c.in, m...)
		}
		if len(c.in) == 0 && err != nil {
			return 0, err
		}
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func cancelled() []byte {
	var b []byte
	for _, f := range []string{"SERROR", "VERROR", "C57014", "Mcanceling statement due to user request"} {
		b = append(append(b, f...), 0)
	}
	return pgwire.AppendMessage(nil, pgwire.ErrorResponse, append(b, 0))
}
