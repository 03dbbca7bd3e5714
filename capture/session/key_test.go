package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// keeper is an upstream whose server gives keys of any length, as of protocol 3.2: it
// stands before a real one, gives a key of its own for the server's, and the server's
// for its own where a client brings it back.
type keeper struct {
	session.Primary
	length int
	mu     sync.Mutex
	given  map[string][]byte // the server's body of BackendKeyData, by the one that was given
	asked  [][]byte          // bodies of CancelRequests that arrived
}

// key is a body of BackendKeyData for the server's.
func (k *keeper) key(truth []byte) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := append(bytes.Clone(truth[:4]), bytes.Repeat([]byte{0xa5}, k.length)...)
	k.given[string(out)] = bytes.Clone(truth)
	return out
}

func (k *keeper) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := k.Primary.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &keptConn{Conn: conn, by: k, r: pgwire.NewReader(conn, 8<<10)}, nil
}

type keptConn struct {
	session.Conn
	by      *keeper
	r       *pgwire.Reader
	out     []byte
	started bool
}

func (c *keptConn) Write(p []byte) (int, error) {
	if !c.started && pgwire.KindOfStartup(p[4:]) == pgwire.StartupCancel {
		c.by.mu.Lock()
		c.by.asked = append(c.by.asked, bytes.Clone(p[4:]))
		truth := c.by.given[string(p[8:])]
		c.by.mu.Unlock()
		if _, err := c.Conn.Write(pgwire.UntypedPacket(append(bytes.Clone(p[4:8]), truth...))); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	c.started = true
	return c.Conn.Write(p)
}

func (c *keptConn) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		m, err := c.r.Message(16 << 20)
		if err != nil {
			return 0, err
		}
		c.out = bytes.Clone(m.Raw)
		if m.Type == pgwire.BackendKeyData {
			c.out = raw(pgwire.BackendKeyData, c.by.key(m.Body())...)
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// TestCancelKeysOfEveryLength: keys of 4 to 256 bytes pass to the client and back, and
// cancel; a length that no protocol has ends the session that is given it.
func TestCancelKeysOfEveryLength(t *testing.T) {
	for _, length := range []int{4, 5, 32, 255, 256} {
		upstream := &keeper{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}, length: length, given: map[string][]byte{}}
		r := rigWith(t, setting{upstream: upstream}, plainTable)
		c := r.client()
		if len(c.key) != 4+length {
			t.Fatalf("the client got a key of %d bytes, expected %d", len(c.key)-4, length)
		}
		c.query(`BEGIN`).ready()
		c.query(insert(1)).ready()
		c.query(`SELECT pg_sleep(60)`).flush()
		done := make(chan string, 1)
		go func() { c.ready(); done <- c.take() }()
		testkit.Eventually(t, testkit.Patience, func() error {
			r.cancel(c.key)
			select {
			case text := <-done:
				if !strings.Contains(text, "57014") {
					t.Errorf("%d bytes: the statement ended with %s", length, text)
				}
				return nil
			default:
				return errors.New("the statement still runs")
			}
		})
		c.query(`ROLLBACK`).ready()
		r.same()
	}
}

// TestKeysOfNoProtocol: a key that nobody can have is neither given to a client nor
// brought to the server.
func TestKeysOfNoProtocol(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	upstream := &keeper{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}, given: map[string][]byte{}}
	r := rigWith(t, setting{upstream: upstream, logs: core}, plainTable)
	for _, length := range []int{0, 3, 257, 9000} {
		r.cancel(make([]byte, 4+length))
	}
	logged(t, logs, "CancelRequest has a cancel key of 257 bytes", "4 to 256")
	upstream.mu.Lock()
	if len(upstream.asked) > 0 {
		t.Errorf("the server was asked %d times", len(upstream.asked))
	}
	upstream.mu.Unlock()
	for _, length := range []int{0, 3, 257, 60000} {
		upstream.mu.Lock()
		upstream.length = length
		upstream.mu.Unlock()
		if got := r.answers(greeting("user", "postgres", "database", r.db)); strings.Contains(got, `Z "`) {
			t.Errorf("a session with a key of %d bytes: %.200s", length, got)
		}
	}
	logged(t, logs, "BackendKeyData has a cancel key of 257 bytes")
}

// TestI7SilenceAtThePassword: a client that says nothing when it is asked for its
// password gives its place back, on the captured database and on others.
func TestI7SilenceAtThePassword(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithSCRAM())
	pg.Exec(t, "postgres", `CREATE ROLE app LOGIN PASSWORD 'secret'`)
	r := rigWith(t, setting{pg: pg, limits: session.Limits{Sessions: 10, Handshakes: 1},
		session: func(c *session.Config) { c.AuthTimeout, c.PassOthers = time.Second, true }}, plainTable)
	for _, database := range []string{r.db, "postgres"} {
		c := dialBare(t, r.address)
		if _, err := c.conn.Write(greeting("user", "app", "database", database)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c.conn); err != nil {
			t.Errorf("%s: a client that gives no password is kept: %v", database, err)
		}
	}
	r.client().query(insert(1)).says(`INSERT 0 1`)
}
