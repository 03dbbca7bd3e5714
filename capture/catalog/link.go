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
	// prepared maps texts to the names of conn's prepared statements: planning a
	// look-up takes longer than running it.
	prepared map[string]string
}

// maxPrepared bounds a connection's prepared statements (I7).
const maxPrepared = 500

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
	rows, err := l.run(ctx, sql, args)
	if err != nil && !fresh && l.conn.IsClosed() && ctx.Err() == nil {
		if _, err := l.open(ctx); err != nil {
			return nil, err
		}
		rows, err = l.run(ctx, sql, args)
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
	l.conn, l.prepared = nil, map[string]string{}
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

// run runs a query by its prepared statement.
func (l *link) run(ctx context.Context, sql string, args []string) ([][]event.Value, error) {
	name := l.prepared[sql]
	if name == "" {
		if len(l.prepared) >= maxPrepared {
			return query(ctx, l.conn, sql, args)
		}
		name = fmt.Sprint("opmux_", len(l.prepared))
		if _, err := l.conn.Prepare(ctx, name, sql, nil); err != nil {
			return nil, fmt.Errorf("catalogue: %w", err)
		}
		l.prepared[sql] = name
	}
	return values(l.conn.ExecPrepared(ctx, name, literals(args), nil, nil).Read())
}

func query(ctx context.Context, conn *pgconn.PgConn, sql string, args []string) ([][]event.Value, error) {
	return values(conn.ExecParams(ctx, sql, literals(args), nil, nil, nil).Read())
}

func literals(args []string) [][]byte {
	out := make([][]byte, len(args))
	for i, a := range args {
		out[i] = []byte(a)
	}
	return out
}

func values(res *pgconn.Result) ([][]event.Value, error) {
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
