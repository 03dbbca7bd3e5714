package session_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
)

// selfSigned makes a certificate of localhost, other than the server's.
func selfSigned(t *testing.T, change ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "another"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	for _, f := range change {
		f(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// login is a client that logs in, writes a row and says what went wrong.
type login func(r *rig, id int, options string) error

func byPsql(r *rig, id int, options string) error {
	psql := exec.CommandContext(r.t.(*testing.T).Context(), filepath.Join(r.pg.BinDir(), "psql"), "-X", "-w",
		"-d", "postgres://app:secret@"+r.address+"/"+r.db+"?"+options, "-c", insert(id))
	if out, err := psql.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func byPgx(r *rig, id int, options string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, "postgres://app:secret@"+r.address+"/"+r.db+"?"+options)
	if err != nil {
		var refused *pgconn.PgError
		if errors.As(err, &refused) {
			return fmt.Errorf("%w HINT %s", err, refused.Hint)
		}
		return err
	}
	_, err = conn.Exec(ctx, insert(id))
	return errors.Join(err, conn.Close(ctx))
}

// Words of the clients' own and the agent's refusals.
const (
	giveAgentKey = `(listen.tls.cert, listen.tls.key), or connect with channel_binding=disable.`
)

// refuses tells the words of a login that must fail, nil where it must succeed.
func refuses(agent string, upstreamTLS, clientTLS bool, binding string, own []string) []string {
	switch {
	case clientTLS && upstreamTLS && agent == "other" && binding != "disable":
		return []string{"SCRAM with channel binding cannot pass", giveAgentKey}
	case binding == "require" && (!clientTLS || !upstreamTLS):
		return own // the client sees itself that there is no channel to bind to
	}
	return nil
}

// TestChannelBinding: with TLS or without on either side, with the server's own
// certificate or another, and whatever the client demands, a login works or ends
// with words that name the way out.
func TestChannelBinding(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithTLS(), testkit.WithSCRAM())
	pg.Exec(t, "postgres", `CREATE ROLE app LOGIN PASSWORD 'secret'`)
	configs := map[string]*tls.Config{"none": nil, "server's": certificate(t, pg), "other": {Certificates: []tls.Certificate{selfSigned(t)}}}
	upstreams := map[bool]*session.Primary{false: {Address: pg.Address()}, true: secured(t, pg)}
	clients := map[string]struct {
		login login
		own   []string
	}{
		"psql": {byPsql, []string{"channel binding"}},
		"pgx":  {byPgx, []string{"channel binding required but"}},
	}
	for agent, config := range configs {
		for upstreamTLS, upstream := range upstreams {
			r := rigWith(t, setting{pg: pg, upstream: upstream, session: func(c *session.Config) { c.ClientTLS = config }},
				plainTable, `GRANT ALL ON t TO app`, `GRANT USAGE ON SCHEMA public TO app`)
			id := 0
			for name, client := range clients {
				for _, mode := range []string{"disable", "require"} {
					if mode == "require" && config == nil {
						continue
					}
					for _, binding := range []string{"disable", "prefer", "require"} {
						id++
						what := fmt.Sprintf("%s, certificate %s, TLS upstream %t, sslmode=%s channel_binding=%s", name, agent, upstreamTLS, mode, binding)
						err := client.login(r, id, "sslmode="+mode+"&channel_binding="+binding)
						want := refuses(agent, upstreamTLS, mode == "require", binding, client.own)
						if (err == nil) != (want == nil) {
							t.Errorf("%s: %v", what, err)
						}
						for _, word := range want {
							if err != nil && !strings.Contains(err.Error(), word) {
								t.Errorf("%s: %v, expected %q", what, err, word)
							}
						}
					}
				}
			}
			r.same()
		}
	}
}

// TestChannelBindingAsLibpqPrefers: with sslmode=prefer libpq goes on without TLS
// where a login over TLS was refused, unless the agent insists on it.
func TestChannelBindingAsLibpqPrefers(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithTLS(), testkit.WithSCRAM())
	pg.Exec(t, "postgres", `CREATE ROLE app LOGIN PASSWORD 'secret'`)
	for _, insists := range []bool{false, true} {
		r := rigWith(t, setting{pg: pg, upstream: secured(t, pg), session: func(c *session.Config) {
			c.ClientTLS, c.RequireTLS = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}, insists
		}}, plainTable, `GRANT ALL ON t TO app`)
		err := byPsql(r, 1, "sslmode=prefer")
		if insists != (err != nil) || (insists && !strings.Contains(err.Error(), "SCRAM with channel binding cannot pass")) {
			t.Errorf("TLS required %t: %v", insists, err)
		}
		r.same()
	}
}

// TestClientThatLeavesUnbound: where the client itself gives up, the agent's log
// names what it may have missed.
func TestClientThatLeavesUnbound(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	pg := testkit.Postgres(t, testkit.WithTLS(), testkit.WithSCRAM())
	pg.Exec(t, "postgres", `CREATE ROLE app LOGIN PASSWORD 'secret'`)
	r := rigWith(t, setting{pg: pg, logs: core, session: func(c *session.Config) { c.ClientTLS = certificate(t, pg) }}, plainTable)
	if err := byPsql(r, 1, "sslmode=require&channel_binding=require"); err == nil {
		t.Error("a client that demands channel binding got in without")
	}
	testkit.Eventually(t, testkit.Patience, func() error {
		for _, entry := range logs.All() {
			if strings.Contains(entry.Message, "channel_binding=require") && strings.Contains(entry.Message, "listen.tls") {
				return nil
			}
		}
		return errors.New("the log does not tell of it")
	})
}

// TestOnlyTheServersOwnCertificateBinds: one of the same name and key is another.
func TestOnlyTheServersOwnCertificateBinds(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithTLS(), testkit.WithSCRAM())
	conn, err := secured(t, pg).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	plain, err := (&session.Primary{Address: pg.Address()}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	other := &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	for name, c := range map[string]struct{ got, want bool }{
		"its own":          {session.Binds(conn, certificate(t, pg)), true},
		"another":          {session.Binds(conn, other), false},
		"none":             {session.Binds(conn, nil), false},
		"plain upstream":   {session.Binds(plain, certificate(t, pg)), false},
		"nothing to bind":  {session.Binds(plain, nil), false},
		"an empty listing": {session.Binds(conn, &tls.Config{}), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %t, want %t", name, c.got, c.want)
		}
	}
}

// TestOtherDatabasesLogIn: sessions that are only relayed log in by the same rules.
func TestOtherDatabasesLogIn(t *testing.T) {
	pg := testkit.Postgres(t, testkit.WithTLS(), testkit.WithSCRAM())
	pg.Exec(t, "postgres", `CREATE ROLE app LOGIN PASSWORD 'secret'`)
	r := rigWith(t, setting{pg: pg, upstream: secured(t, pg), session: func(c *session.Config) {
		c.PassOthers, c.ClientTLS = true, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	}}, plainTable)
	other := *r
	other.db = pg.CreateDB(t)
	pg.Exec(t, other.db, plainTable, `GRANT ALL ON t TO app`)
	for i, login := range []login{byPsql, byPgx} {
		if err := login(&other, i, "sslmode=disable"); err != nil {
			t.Errorf("without TLS: %v", err)
		}
		if err := login(&other, 10+i, "sslmode=require"); err == nil || !strings.Contains(err.Error(), giveAgentKey) {
			t.Errorf("with TLS and another certificate: %v", err)
		}
	}
}
