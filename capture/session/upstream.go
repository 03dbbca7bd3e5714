package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

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

// TLS implements Upstream.
func (p *Primary) TLS() bool { return p.Config != nil }

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
			return nil, err
		}
		return encrypted, conn.SetDeadline(time.Time{})
	case answer[0] == 'N' && p.Optional:
		return conn, conn.SetDeadline(time.Time{})
	}
	return nil, errors.New("the server does not offer it; set upstream.tls.mode: disable, or configure the server")
}
