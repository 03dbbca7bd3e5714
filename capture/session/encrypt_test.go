package session_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// logged waits for a line of the log that has all words, in its message or its error.
func logged(t *testing.T, logs *observer.ObservedLogs, words ...string) {
	t.Helper()
	testkit.Eventually(t, testkit.Patience, func() error {
		for _, entry := range logs.All() {
			text, _ := entry.ContextMap()["error"].(string)
			if text += entry.Message; containsAll(text, words) {
				return nil
			}
		}
		return errors.New("the log has no line with " + strings.Join(words, " and "))
	})
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// TestPlaintextBeforeTLS: what a third party puts between the request for TLS and the
// handshake ends the connection, whether it comes in the same packet or behind it
// (CVE-2021-23214); no word of it is answered or run.
func TestPlaintextBeforeTLS(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithTLS())
	r := rigWith(t, setting{pg: pg, session: func(c *session.Config) { c.ClientTLS = certificate(t, pg) }}, plainTable)
	evil := append(greeting("user", "postgres", "database", r.db), raw(pgwire.Query, append([]byte(insert(1)), 0)...)...)
	for sent, want := range map[string]string{
		string(pgwire.SSLRequestPacket()):                        "",
		string(gssRequest()) + string(pgwire.SSLRequestPacket()): "N",
	} {
		c := dialBare(t, r.address)
		if _, err := c.conn.Write(append([]byte(sent), evil...)); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c.conn); string(got) != want || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%x and a session in plain text: answered %q, %v; want %q and the end", sent, got, err, want)
		}
	}
	c := dialBare(t, r.address)
	if _, err := c.conn.Write(pgwire.SSLRequestPacket()); err != nil {
		t.Fatal(err)
	}
	expectBytes(t, c.conn, "S")
	if _, err := c.conn.Write(evil); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(c.conn); strings.Contains(string(rest), "postgres") || len(rest) > 7 { // a TLS alert at most
		t.Errorf("behind the answer: answered %q", rest)
	}
	if ids := r.ids(); ids != "" {
		t.Errorf("what was slipped in has run: rows %s", ids)
	}
}

func gssRequest() []byte { return pgwire.UntypedPacket([]byte{0x04, 0xd2, 0x16, 0x30}) }

func expectBytes(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// TestRequestsForEncryption: GSS is answered N and goes on, TLS where there is none too.
func TestRequestsForEncryption(t *testing.T) {
	r := newRig(t, nil, plainTable)
	start := greeting("user", "postgres", "database", r.db)
	for name, requests := range map[string][][]byte{
		"GSS": {gssRequest()}, "TLS": {pgwire.SSLRequestPacket()},
		"GSS, then TLS": {gssRequest(), pgwire.SSLRequestPacket()}, "TLS, then GSS": {pgwire.SSLRequestPacket(), gssRequest()},
	} {
		c := dialBare(t, r.address)
		for _, request := range requests {
			if _, err := c.conn.Write(request); err != nil {
				t.Fatal(err)
			}
			expectBytes(t, c.conn, "N")
		}
		if _, err := c.conn.Write(start); err != nil {
			t.Fatal(err)
		}
		c.ready()
		if text := c.take(); !strings.Contains(text, `Z "I"`) {
			t.Errorf("%s: no session: %s", name, text)
		}
	}
}

// TestDirectTLS: a client that begins with TLS (sslnegotiation=direct) is served
// where it names the protocol, and refused by words where it does not.
func TestDirectTLS(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	pg := testkit.Postgres(t, testkit.WithTLS(), testkit.WithSCRAM())
	pg.Exec(t, "postgres", `CREATE ROLE app LOGIN PASSWORD 'secret'`)
	r := rigWith(t, setting{pg: pg, logs: core, upstream: secured(t, pg), session: func(c *session.Config) { c.ClientTLS = certificate(t, pg) }},
		plainTable, `GRANT ALL ON t TO app`)
	conn, err := pgx.Connect(t.Context(), "postgres://app:secret@"+r.address+"/"+r.db+"?sslmode=require&sslnegotiation=direct&channel_binding=require")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), insert(1)); err != nil {
		t.Error(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		protocols []string
		want      string
	}{
		"no name":    {nil, "must name the protocol postgresql"},
		"HTTP":       {[]string{"h2", "http/1.1"}, ""}, // the handshake fails
		"its name":   {[]string{"postgresql"}, `Z "I"`},
		"one of two": {[]string{"h2", "postgresql"}, `Z "I"`},
	} {
		got, err := begun(t, r, c.protocols)
		if (c.want == "") != (err != nil) || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
	plain := rigWith(t, setting{beside: r, agent: "a2", logs: core})
	if _, err := begun(t, plain, []string{"postgresql"}); err == nil {
		t.Error("a handshake with an agent that has no certificate succeeded")
	}
	logged(t, logs, "sslnegotiation=direct", "there is no listen.tls")
	r.same()
}

// begun begins with TLS and says what came of a start-up behind it.
func begun(t *testing.T, r *rig, protocols []string) (string, error) {
	t.Helper()
	c := dialBare(t, r.address)
	encrypted := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}) //nolint:gosec // a test of the protocol's name
	if err := encrypted.HandshakeContext(t.Context()); err != nil {
		return "", err
	}
	c.conn, c.r = encrypted, pgwire.NewReader(encrypted, 8<<10)
	if _, err := encrypted.Write(greeting("user", "postgres", "database", r.db)); err != nil {
		return "", err
	}
	for {
		m, err := c.r.Message(1 << 20)
		if err != nil {
			return c.take(), nil //nolint:nilerr // the agent's end of it is what is asked
		}
		c.notes = append(c.notes, noteOf(m))
		if m.Type == pgwire.ReadyForQuery {
			return c.take(), nil
		}
	}
}

// imposter is a server that answers a request for TLS in its own way.
func imposter(t *testing.T, answer string) *session.Primary {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(conn, make([]byte, 8)); err == nil {
				_, _ = conn.Write([]byte(answer))
				if answer != "" {
					_, _ = conn.Read(make([]byte, 1000)) // the ClientHello, so that the close is no reset
				}
			}
			_ = conn.Close()
		}
	}()
	return &session.Primary{Address: ln.Addr().String(), Config: &tls.Config{ServerName: "localhost"}}
}

// TestPlaintextBeforeUpstreamTLS: what stands between the server and the agent cannot
// put its own answers in front of the encrypted ones (CVE-2021-23222), nor have the
// agent do without TLS.
func TestPlaintextBeforeUpstreamTLS(t *testing.T) {
	authenticated := string(raw(pgwire.Authentication, 0, 0, 0, 0)) + string(raw(pgwire.ReadyForQuery, 'I'))
	for answer, want := range map[string]string{
		"S" + authenticated:             "does not look like a TLS handshake",
		"N":                             "the server does not offer it",
		"N" + authenticated:             "the server does not offer it",
		string(errored("FATAL", "XX0")): `answers the request for it with 'E'`,
		"HTTP/1.1 400 Bad Request":      `answers the request for it with 'H'`,
		"":                              "EOF",
	} {
		upstream := imposter(t, answer)
		conn, err := upstream.Dial(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), upstream.Address) {
			t.Errorf("%q: %v, want %q", answer, err, want)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// TestPrimaryIsVerified: a primary with a certificate of somebody else's, for another
// host or out of date is not spoken to, and the error names what was met and the way
// out. The client learns no more than that there is no primary.
func TestPrimaryIsVerified(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithTLS())
	right := secured(t, pg).Config
	stranger := x509.NewCertPool()
	other, err := x509.ParseCertificate(selfSigned(t).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	stranger.AddCert(other)
	for name, c := range map[string]struct {
		config *tls.Config
		want   []string
	}{
		"right":        {right, nil},
		"by address":   {&tls.Config{RootCAs: right.RootCAs, ServerName: "127.0.0.1"}, nil},
		"another CA":   {&tls.Config{RootCAs: stranger, ServerName: "localhost"}, []string{`issued by "CN=localhost"`, "upstream.tls.ca"}},
		"another host": {&tls.Config{RootCAs: right.RootCAs, ServerName: "db.example"}, []string{`for localhost, 127.0.0.1, not for "db.example"`, "upstream.address", "verify-ca"}},
		"at a later day": {&tls.Config{RootCAs: right.RootCAs, ServerName: "localhost", Time: func() time.Time { return time.Now().AddDate(1, 0, 0) }},
			[]string{"is valid from", "renew it"}},
	} {
		err := dialed(t, &session.Primary{Address: pg.Address(), Config: c.config})
		if (err == nil) != (c.want == nil) || (err != nil && !containsAll(err.Error(), append(c.want, pg.Address()))) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	expire(t, pg)
	core, logs := observer.New(zap.WarnLevel)
	r := rigWith(t, setting{pg: pg, logs: core, upstream: secured(t, pg)}, plainTable)
	if got := r.answers(greeting("user", "postgres", "database", r.db)); !strings.Contains(got, "S=FATAL C=08006 M=opmux: the primary cannot be reached") || strings.Contains(got, "valid from") {
		t.Errorf("an expired certificate: the client got %q", got)
	}
	logged(t, logs, "is valid from", "renew it at the primary")
}

func dialed(t *testing.T, p *session.Primary) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := p.Dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// expire gives a server a certificate that was good until yesterday.
func expire(t *testing.T, pg *testkit.PG) {
	t.Helper()
	pair := selfSigned(t, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, -9), time.Now().AddDate(0, 0, -1)
	})
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		filepath.Join(filepath.Dir(pg.CAFile()), "server.key"): {Type: "PRIVATE KEY", Bytes: key},
		pg.CAFile(): {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pg.Exec(t, "postgres", `SELECT pg_reload_conf()`)
	testkit.Eventually(t, testkit.Patience, func() error {
		if err := dialed(t, secured(t, pg)); err == nil || !strings.Contains(err.Error(), "valid from") {
			return errors.New("the server still shows its former certificate")
		}
		return nil
	})
}
