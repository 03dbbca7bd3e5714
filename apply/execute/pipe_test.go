package execute

import (
	"context"
	"net"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// Leaving a pipeline whose connection was lost does not write to it: the race
// detector sees that it would meet the driver's own goodbye there.
func TestALostConnectionIsLeftAlone(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	cfg, err := pgconn.ParseConfig(pg.DSN(pg.CreateDB(t)))
	if err != nil {
		t.Fatal(err)
	}
	var socket *net.TCPConn
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			socket = c.(*net.TCPConn)
		}
		return c, err
	}
	for range 20 {
		conn, err := pgconn.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		p := newPipe(t.Context(), conn)
		if err := p.query("SELECT pg_sleep(60)", nil, nil, nil, request{}); err != nil {
			t.Fatal(err)
		}
		p.line.SendFlushRequest()
		if err := p.line.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := socket.CloseRead(); err != nil {
			t.Fatal(err)
		}
		if err := p.read(); err == nil || !conn.IsClosed() {
			t.Fatalf("the connection was not lost: %v", err)
		}
		p.abandon()
		<-conn.CleanupDone()
	}
}
