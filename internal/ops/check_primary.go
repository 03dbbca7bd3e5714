package ops

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/config"
)

// Versions of PostgreSQL (server_version_num / 10000) that opmux knows: the
// first has what settling needs, the last is that of its parser's grammar.
const (
	oldestPostgres = 13
	newestPostgres = 17
)

// primaryCheck looks at an agent's primary with the catalogue's login.
type primaryCheck struct {
	*findings
	cfg  *config.Agent
	conn *pgx.Conn
}

func checkPrimary(ctx context.Context, f *findings, cfg *config.Agent) {
	if checkUpstream(ctx, f, cfg.Upstream) {
		checkCertificates(ctx, f, cfg)
	}
	conn, err := connect(ctx, cfg.Catalog.DSN, "primary (catalog.dsn)")
	if err != nil {
		f.fatal("primary", "start the server, or correct catalog.dsn, or let the login in (pg_hba.conf)", "%v", err)
		return
	}
	defer disconnect(ctx, conn)
	c := &primaryCheck{findings: f, cfg: cfg, conn: conn}
	for _, check := range []func(context.Context) error{
		c.server, c.pooler, c.rights, c.ddlCounter, c.durability, c.timeouts, c.strings, c.sessions, c.prepared, c.tables,
	} {
		if err := check(ctx); err != nil {
			f.broken("primary", err)
		}
	}
}

// checkUpstream asks upstream.address whether it speaks PostgreSQL, and TLS
// where that is wanted, without a login: those are the applications' own.
func checkUpstream(ctx context.Context, f *findings, u config.Upstream) (fit bool) {
	network, address := u.Endpoint()
	answer, err := askTLS(ctx, network, address)
	switch {
	case err != nil:
		f.fatal("upstream", "start the primary, or correct upstream.address", "%s: %v", address, err)
	case answer != 'S' && answer != 'N':
		f.fatal("upstream", "correct upstream.address", "%s does not speak PostgreSQL's protocol", address)
	case answer == 'N' && u.TLS.Mode != "disable" && u.TLS.Mode != "prefer":
		f.fatal("upstream", "switch ssl on at the primary, or set upstream.tls.mode to disable", "%s offers no TLS, and upstream.tls.mode is %s", address, u.TLS.Mode)
	default:
		f.ok("upstream", "%s speaks PostgreSQL's protocol (TLS %s)", address, map[byte]string{'S': "offered", 'N': "not offered"}[answer])
		if host, _, err := net.SplitHostPort(u.Address); err == nil && u.TLS.Mode == "disable" && !isLocal(host) {
			f.warn("upstream", "set upstream.tls.mode to verify-full", "sessions with %s on another host are not encrypted", u.Address)
		}
		return true
	}
	return false
}

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || host == "" || (ip != nil && ip.IsLoopback())
}

// askTLS sends an SSLRequest and returns the server's one-byte answer.
func askTLS(ctx context.Context, network, address string) (byte, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return 0, fmt.Errorf("cannot connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, fmt.Errorf("cannot set a deadline: %w", err)
	}
	if _, err := conn.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return 0, fmt.Errorf("cannot write: %w", err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return 0, fmt.Errorf("no answer to a request for TLS: %w", err)
	}
	if answer[0] == 'S' { // a peer that only echoes would do the same: begin the handshake
		client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only asks what is spoken there, nothing secret is sent
		if err := client.HandshakeContext(ctx); err != nil {
			var alert tls.AlertError
			if !errors.As(err, &alert) { // an alert comes from a TLS server too: it wants a certificate
				return 0, fmt.Errorf("offers TLS, but the handshake fails: %w", err)
			}
		}
	}
	return answer[0], nil
}

func (c *primaryCheck) server(ctx context.Context) error {
	version, err := serverVersion(ctx, c.findings, "primary", c.conn)
	if err != nil {
		return err
	}
	recovery, err := one[bool](ctx, c.conn, "SELECT pg_is_in_recovery()")
	if err != nil {
		return err
	}
	if recovery {
		c.fatal("primary", "let catalog.dsn and upstream.address name the primary", "the server is a standby (in recovery)")
	}
	encoding, err := one[string](ctx, c.conn, "SHOW server_encoding")
	if err != nil {
		return err
	}
	if encoding != "UTF8" {
		c.warn("primary", "use a database with encoding UTF8", "the database has encoding %s: beyond ASCII, what clients in encodings other than UTF8 and that one (and SQL_ASCII) send cannot be read and follows on_unsafe; "+
			"targets must have the same", encoding)
	}
	database, err := one[string](ctx, c.conn, "SELECT current_database()")
	if err != nil {
		return err
	}
	c.ok("primary", "PostgreSQL %s, database %s, encoding %s", version, database, encoding)
	return nil
}

// serverVersion checks the server's version and returns it in words.
func serverVersion(ctx context.Context, f *findings, where string, conn *pgx.Conn) (string, error) {
	number, err := one[int](ctx, conn, "SELECT current_setting('server_version_num')::int")
	if err != nil {
		return "", err
	}
	version, err := one[string](ctx, conn, "SHOW server_version")
	if err != nil {
		return "", err
	}
	switch major := number / 10000; {
	case major < oldestPostgres:
		f.fatal(where, fmt.Sprintf("upgrade to PostgreSQL %d or later", oldestPostgres), "PostgreSQL %s is too old", version)
	case major > newestPostgres:
		f.warn(where, "none needed: statements with newer syntax follow on_unsafe", "PostgreSQL %s is newer than the grammar that opmux knows (%d)", version, newestPostgres)
	}
	return version, nil
}

// pooler finds a transaction pooler in between: named statements, session state
// and settling by backend need a server session of their own.
func (c *primaryCheck) pooler(ctx context.Context) error {
	const name = "opmux_check"
	if _, err := c.conn.Exec(ctx, "PREPARE "+name+" AS SELECT 1"); err != nil {
		return fmt.Errorf("PREPARE: %w", err)
	}
	first, err := one[int32](ctx, c.conn, "SELECT pg_backend_pid()")
	if err != nil {
		return err
	}
	second, err := one[int32](ctx, c.conn, "SELECT pg_backend_pid()")
	if err != nil {
		return err
	}
	_, err = c.conn.Exec(ctx, "DEALLOCATE "+name)
	if err != nil || first != second || uint32(second) != c.conn.PgConn().PID() {
		c.fatal("primary", "let catalog.dsn and upstream.address name the server itself", "a connection pooler stands between: prepared statements and server processes change under the session")
	}
	return nil
}

// timeouts compares what the server does to sessions that wait with the gate's
// timeout: while a COMMIT is held, the server sees a session idle in its transaction.
func (c *primaryCheck) timeouts(ctx context.Context) error {
	settings, err := sessionSettings(ctx, c.conn, "idle_in_transaction_session_timeout", "transaction_timeout", "statement_timeout", "idle_session_timeout")
	if err != nil {
		return err
	}
	gate := c.cfg.Gate.Timeout
	if c.cfg.Gate.Mode == "none" {
		gate = 0
	}
	for _, s := range settings {
		limit, err := parseMilliseconds(s.value)
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		remedy := fmt.Sprintf("set it above gate.timeout (%s), or to 0, or shorten gate.timeout", gate)
		switch {
		case limit == 0 || limit > gate:
		case s.name == "idle_in_transaction_session_timeout":
			c.fatal("primary", remedy, "%s: the server ends sessions whose COMMIT waits for the gate", s)
		case s.name == "transaction_timeout":
			c.warn("primary", remedy, "%s: transactions whose COMMIT waits for the gate may be ended by the server", s)
		}
		if limit > 0 && s.login == c.conn.Config().User && strings.HasPrefix(s.name, "idle_session") {
			c.warn("primary", "ALTER ROLE "+quote(s.login)+" SET idle_session_timeout = 0", "%s: the server closes the agent's own idle connections", s)
		}
		if limit > 0 && s.login == c.conn.Config().User && s.name == "statement_timeout" && limit < time.Second {
			c.warn("primary", "ALTER ROLE "+quote(s.login)+" SET statement_timeout = 0", "%s: the agent's own look-ups may be cut off", s)
		}
	}
	return nil
}

// strings finds who would run with standard_conforming_strings off, under which the text of
// some functions cannot be known.
func (c *primaryCheck) strings(ctx context.Context) error {
	settings, err := sessionSettings(ctx, c.conn, "standard_conforming_strings")
	if err != nil {
		return err
	}
	for _, s := range settings {
		if s.value != "off" {
			continue
		}
		c.warn("primary", "set it on, its default since PostgreSQL 9.1",
			"%s: writes are refused of tables whose checks, indexes or generated columns call a function with a backslash in its text", s)
	}
	return nil
}
