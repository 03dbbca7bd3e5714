package session_test

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/wire/pgwire"
)

// lie takes a message of the server's and returns what the agent gets instead;
// false: it does not apply.
type lie func(typ byte, body []byte) ([]byte, bool)

// liar is an upstream that stands between the agent and a real server and lies
// once about what the server said, so that the truth can be looked up.
type liar struct {
	session.Primary
	mu   sync.Mutex
	next lie // nil: tells the truth
	told atomic.Int64
}

// arm has the next fitting message turned into a lie; nil disarms.
func (l *liar) arm(next lie) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = next
}

func (l *liar) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := l.Primary.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &lyingConn{Conn: conn, by: l, r: pgwire.NewReader(conn, 8<<10)}, nil
}

type lyingConn struct {
	session.Conn
	by  *liar
	r   *pgwire.Reader
	out []byte
}

func (c *lyingConn) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		m, err := c.r.Message(16 << 20)
		if err != nil {
			return 0, err
		}
		c.out = append(c.out[:0], c.by.say(m)...)
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

func (l *liar) say(m pgwire.Message) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		if out, ok := l.next(m.Type, m.Body()); ok {
			l.next = nil
			l.told.Add(1)
			return out
		}
	}
	return m.Raw
}

// raw is a message as it is sent.
func raw(typ byte, body ...byte) []byte {
	n := len(body) + 4
	return append([]byte{typ, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

func tagged(tag string) []byte { return raw(pgwire.CommandComplete, append([]byte(tag), 0)...) }

func errored(severity, code string) []byte {
	return raw(pgwire.ErrorResponse, pgwire.AppendFields(nil, []pgwire.Field{{Code: pgwire.FieldSeverity, Value: severity},
		{Code: pgwire.FieldSeverityPlain, Value: severity}, {Code: pgwire.FieldCode, Value: code}, {Code: pgwire.FieldMessage, Value: "a lie"}})...)
}

// tag lies about the answer to a command of that name.
func tag(of string, instead func(truth []byte) []byte) lie {
	return func(typ byte, body []byte) ([]byte, bool) {
		if typ != pgwire.CommandComplete || len(body) < len(of) || string(body[:len(of)]) != of {
			return nil, false
		}
		return instead(raw(typ, body...)), true
	}
}

// message lies about a message of that type.
func message(of byte, instead func(truth []byte) []byte) lie {
	return func(typ byte, body []byte) ([]byte, bool) {
		if typ != of {
			return nil, false
		}
		return instead(raw(typ, body...)), true
	}
}

// status lies about a ReadyForQuery of that status.
func status(of byte, instead ...byte) lie {
	return func(typ byte, body []byte) ([]byte, bool) {
		if typ != pgwire.ReadyForQuery || body[0] != of {
			return nil, false
		}
		return instead, true
	}
}

func before(lie ...byte) func([]byte) []byte {
	return func(truth []byte) []byte { return append(append([]byte(nil), lie...), truth...) }
}

func instead(lie ...byte) func([]byte) []byte { return func([]byte) []byte { return lie } }
