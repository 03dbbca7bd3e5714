package catalog

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/event"
)

// queryTimeout bounds one look-up, so that a hanging server is noticed.
const queryTimeout = 15 * time.Second

// link is one connection of the catalogue's own, made again when it is lost.
type link struct {
	cfg *pgconn.Config
	// connected is called with every new connection before it is used.
	connected func(ctx context.Context, conn *pgconn.PgConn) error

	mu     sync.Mutex
	conn   *pgconn.PgConn
	closed bool
}

// Query implements Querier. Look-ups change nothing, so a query on a connection
// that turns out to be dead is tried once more on a new one.
func (l *link) Query(ctx context.Context, sql string, args ...string) ([][]event.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := query(ctx, l.conn, sql, args)
	if err != nil && !fresh && l.conn.IsClosed() && ctx.Err() == nil {
		if _, err := l.open(ctx); err != nil {
			return nil, err
		}
		rows, err = query(ctx, l.conn, sql, args)
	}
	return rows, err
}

// Exec runs commands without parameters.
func (l *link) Exec(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.open(ctx); err != nil {
		return err
	}
	_, err := l.conn.Exec(ctx, sql).ReadAll()
	return err
}

// open makes sure that there is a connection; fresh says that it made one.
func (l *link) open(ctx context.Context) (fresh bool, err error) {
	if l.closed {
		return false, fmt.Errorf("catalogue: connection is closed")
	}
	if l.conn != nil && !l.conn.IsClosed() {
		return false, nil
	}
	l.conn = nil
	conn, err := pgconn.ConnectConfig(ctx, l.cfg)
	if err != nil {
		return false, fmt.Errorf("catalogue: connect to the primary: %w", err)
	}
	if err := l.connected(ctx, conn); err != nil {
		_ = conn.Close(ctx) // the first error is the one to tell
		return false, err
	}
	l.conn = conn
	return true, nil
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.conn.Close(ctx) // nothing depends on a clean goodbye
		l.conn = nil
	}
}

func query(ctx context.Context, conn *pgconn.PgConn, sql string, args []string) ([][]event.Value, error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	res := conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	if res.Err != nil {
		return nil, fmt.Errorf("catalogue: %w", res.Err)
	}
	rows := make([][]event.Value, len(res.Rows))
	for i, r := range res.Rows {
		rows[i] = make([]event.Value, len(r))
		for j, v := range r {
			rows[i][j] = event.Value{Null: v == nil, Text: v}
		}
	}
	return rows, nil
}
