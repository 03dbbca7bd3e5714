package session_test

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// long tells whether the long form was asked for, as of integration/memory.
func long() bool { return os.Getenv("OPMUX_SPLIT") == "long" }

// dialBare connects without saying anything.
func dialBare(t testing.TB, address string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{t: t, conn: conn, r: pgwire.NewReader(conn, 8<<10), w: pgwire.NewWriter(conn, 64<<10)}
}

// trickle writes byte by byte.
type trickle struct{ net.Conn }

func (c trickle) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// connectInPieces logs in and runs a query, everything byte by byte.
func connectInPieces(t *testing.T, dsn string) error {
	t.Helper()
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return err
	}
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return trickle{conn}, nil
	}
	conn, err := pgconn.ConnectConfig(t.Context(), cfg)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
		return err
	}
	_ = conn.Close(t.Context()) // the server may have closed it by the first byte of Terminate
	return nil
}
