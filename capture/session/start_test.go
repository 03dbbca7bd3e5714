package session_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// greeting is a StartupMessage.
func greeting(params ...string) []byte {
	body := []byte{0, 3, 0, 0}
	for _, p := range params {
		body = append(append(body, p...), 0)
	}
	return pgwire.UntypedPacket(append(body, 0))
}

// answers sends bytes to the agent and returns what comes back until it closes the
// connection, or says that it is ready.
func (r *rig) answers(sent []byte) string {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	c := &rawClient{t: r.t, conn: conn, r: pgwire.NewReader(conn, 8<<10), w: pgwire.NewWriter(conn, 64<<10)}
	defer c.close()
	if err := conn.SetDeadline(time.Now().Add(2 * testkit.Patience)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := conn.Write(sent); err != nil {
		return ""
	}
	for {
		m, err := c.r.Message(1 << 20)
		if err != nil {
			return c.take()
		}
		c.notes = append(c.notes, noteOf(m))
		if m.Type == pgwire.ReadyForQuery {
			return c.take()
		}
	}
}

// TestStartUp: what a session may begin with, and what not.
func TestStartUp(t *testing.T) {
	r := rigWith(t, setting{session: func(c *session.Config) { c.AuthTimeout = 2 * time.Second }}, plainTable)
	session := func(db string, more ...string) []byte {
		return greeting(append([]string{"user", "postgres", "database", db}, more...)...)
	}
	declares := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	newer := session(r.db)
	newer[7] = 2
	for name, c := range map[string]struct {
		sent []byte
		want string
	}{
		"captured":             {session(r.db), `Z "I"`},
		"another database":     {session("postgres"), `S=FATAL C=3D000 M=opmux: `},
		"replication":          {session(r.db, "replication", "database"), `S=FATAL C=0A000 M=opmux: replication`},
		"replication on":       {session(r.db, "replication", "true"), `S=FATAL C=0A000 M=opmux: replication`},
		"no such user":         {greeting("user", "nobody", "database", r.db), `S=FATAL C=28000`},
		"settings":             {session(r.db, "options", "-c search_path=pg_catalog"), `Z "I"`},
		"newer minor version":  {newer, `Z "I"`},
		"protocol 2":           {pgwire.UntypedPacket([]byte{0, 2, 0, 0, 0}), `S=FATAL C=08P01`},
		"requests without end": {append(append(append(pgwire.SSLRequestPacket(), pgwire.SSLRequestPacket()...), pgwire.SSLRequestPacket()...), session(r.db)...), ``},
		"a length of 1 GB":     {append(declares(1<<30), 'x'), ``},
		"a length of 2 bytes":  {declares(2), ``},
		"a length below zero":  {declares(1 << 31), ``},
		"half a packet":        {session(r.db)[:10], ``},
		"HTTP":                 {[]byte("GET / HTTP/1.1\r\n\r\n"), ``},
		"a cut parameter":      {pgwire.UntypedPacket([]byte{0, 3, 0, 0, 'u', 's'}), `C=08P01`},
	} {
		if got := r.answers(c.sent); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestHostileLengthsEndOneSession: lengths that are lies cost nothing, and others go on.
func TestHostileLengthsEndOneSession(t *testing.T) {
	r := newRig(t, nil, plainTable)
	other := r.client()
	for _, sent := range [][]byte{
		{pgwire.Query, 0xff, 0xff, 0xff, 0xff}, {pgwire.Query, 0, 0, 0, 0}, {pgwire.Query, 0x3f, 0xff, 0xff, 0xff, 'x'}, {'?', 0, 0, 0, 4},
	} {
		c := r.client()
		before := heap()
		if _, err := c.conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		if sent[1] == 0x3f { // it may yet come
			if grown := heap() - before; grown > 16<<20 {
				t.Errorf("a declared length took %d bytes", grown)
			}
			c.close()
			continue
		}
		c.ends()
	}
	other.query(insert(1)).says(`INSERT 0 1`)
}

// secured is a server's upstream with TLS, verified.
func secured(t *testing.T, pg *testkit.PG) *session.Primary {
	t.Helper()
	pem, err := os.ReadFile(pg.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &session.Primary{Address: pg.Address(), Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
}

// certificate lets the agent show the server's certificate as its own.
func certificate(t *testing.T, pg *testkit.PG) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(pg.CAFile(), filepath.Join(filepath.Dir(pg.CAFile()), "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// TestTLSAndSCRAM: encryption and passwords on both sides, and what a client must
// not be able to slip in before them.
func TestTLSAndSCRAM(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithTLS(), testkit.WithSCRAM())
	r := rigWith(t, setting{pg: pg, upstream: secured(t, pg), session: func(c *session.Config) { c.ClientTLS = certificate(t, pg) }},
		plainTable, `CREATE ROLE app LOGIN PASSWORD 'secret'`, `GRANT ALL ON t TO app`, `GRANT USAGE ON SCHEMA public TO app`)
	// Bytes behind SSLRequest that were not encrypted (CVE-2021-23214).
	if got := r.answers(append(pgwire.SSLRequestPacket(), greeting("user", "postgres", "database", r.db)...)); got != "" {
		t.Errorf("a start-up in plain text behind SSLRequest was answered: %q", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i, mode := range []string{"disable", "prefer", "require"} {
		conn, err := pgx.Connect(ctx, "postgres://app:secret@"+r.address+"/"+r.db+"?sslmode="+mode)
		if err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		if _, err := conn.Exec(ctx, insert(i)); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		slow := make(chan error, 1)
		go func() {
			_, err := conn.Exec(ctx, `SELECT pg_sleep(30)`)
			slow <- err
		}()
		testkit.Eventually(t, testkit.Patience, func() error {
			if err := conn.PgConn().CancelRequest(ctx); err != nil {
				return err
			}
			select {
			case err := <-slow:
				if err == nil || !strings.Contains(err.Error(), "57014") {
					t.Errorf("%s: a cancelled statement ended with %v", mode, err)
				}
				return nil
			default:
				return errors.New("the statement still runs")
			}
		})
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if _, err := pgx.Connect(ctx, "postgres://app:wrong@"+r.address+"/"+r.db+"?sslmode=require"); err == nil || !strings.Contains(err.Error(), "28P01") {
		t.Errorf("a wrong password: %v", err)
	}
	r.same()
}

// TestOtherDatabasesPass: where the operator wants it, sessions on other databases
// are relayed and nothing of them is published.
func TestOtherDatabasesPass(t *testing.T) {
	r := rigWith(t, setting{session: func(c *session.Config) { c.PassOthers = true }}, plainTable)
	other := r.pg.CreateDB(t)
	r.pg.Exec(t, other, plainTable)
	c := dialRaw(t, r.address, other)
	c.query(insert(1)).says(`INSERT 0 1`, `Z "I"`)
	c.run(`SELECT count(*) FROM t`).sync().says(`SELECT 1`, `Z "I"`)
	if ops := r.committed(); len(ops) != 0 {
		t.Errorf("published: %v", ops)
	}
}
