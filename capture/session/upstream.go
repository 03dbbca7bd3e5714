package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/opmux/opmux/internal/socket"
	"github.com/opmux/opmux/wire/pgwire"
)

// Primary is the Upstream that dials a PostgreSQL server.
type Primary struct {
	// Address is host:port, or the path of a unix socket.
	Address string
	// Config is nil for plain connections.
	Config *tls.Config
	// Optional goes on without encryption where the server does not offer it
	// (mode prefer).
	Optional bool
}

// Dial implements Upstream.
func (p *Primary) Dial(ctx context.Context) (Conn, error) {
	network := "tcp"
	if strings.HasPrefix(p.Address, "/") {
		network = "unix"
	}
	dialer := net.Dialer{KeepAlive: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, network, p.Address)
	if err != nil {
		return nil, err
	}
	conn = socket.Direct(conn)
	if p.Config == nil {
		return conn, nil
	}
	encrypted, err := p.encrypt(ctx, conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("TLS with the primary at %s: %w", p.Address, err), conn.Close())
	}
	return encrypted, nil
}

func (p *Primary) encrypt(ctx context.Context, conn net.Conn) (Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if _, err := conn.Write(pgwire.SSLRequestPacket()); err != nil {
		return nil, err
	}
	// One byte exactly: what would follow it unencrypted is not the server's word.
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, err
	}
	switch {
	case answer[0] == 'S':
		encrypted := tls.Client(conn, p.Config)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, certificateProblem(err)
		}
		return encrypted, conn.SetDeadline(time.Time{})
	case answer[0] == 'N' && p.Optional:
		return conn, conn.SetDeadline(time.Time{})
	}
	if answer[0] != 'N' {
		return nil, fmt.Errorf("the server answers the request for it with %q, expected S or N; is upstream.address a PostgreSQL server?", answer[0])
	}
	return nil, errors.New("the server does not offer it; set upstream.tls.mode: disable, or switch ssl on at the server")
}

// certificateProblem says why the primary's certificate is not accepted, and the way out.
func certificateProblem(err error) error {
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	const day = time.DateOnly
	switch {
	case errors.As(err, &host):
		return fmt.Errorf("its certificate is for %s, not for %q; let upstream.address name the primary as its certificate does, or set upstream.tls.mode: verify-ca",
			strings.Join(names(host.Certificate), ", "), host.Host)
	case errors.As(err, &unknown) && unknown.Cert != nil:
		return fmt.Errorf("its certificate (subject %q) was issued by %q, which is none of upstream.tls.ca; put the certificate of that authority there",
			unknown.Cert.Subject, unknown.Cert.Issuer)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return fmt.Errorf("the certificate of %q is valid from %s to %s, and this host's clock says %s; renew it at the primary",
			invalid.Cert.Subject, invalid.Cert.NotBefore.Format(day), invalid.Cert.NotAfter.Format(day), time.Now().Format(day))
	}
	return err
}

// names lists what a certificate is for; the common name counts no more.
func names(c *x509.Certificate) []string {
	list := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	if len(list) == 0 {
		return []string{"no host at all (it has no subjectAltName)"}
	}
	return list
}
