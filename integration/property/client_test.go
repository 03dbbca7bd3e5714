package property

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// stuck bounds how long one answer may take: longer than any lock of a script,
// even on a busy machine.
const stuck = 60 * time.Second

// The states that ReadyForQuery tells.
const (
	idle    = 'I'
	block   = 'T'
	aborted = 'E'
)

// client is one application: it runs scripts on one connection after another.
type client struct {
	id     int
	r      *rand.Rand
	s      *schema
	dial   func(ctx context.Context) (*pgconn.PgConn, error)
	ledger *ledger
	log    io.Writer // gets every statement and how it ended

	recording *recording
	number    int // of the script that runs

	conn     *pgconn.PgConn
	prepared map[string]*pgconn.StatementDescription // by text
	// savepoints are those of the open block.
	savepoints int
	last       string // what was done last, and how it ended
}

// finding is a thing that must not be.
type finding struct{ what, code string }

func (f *finding) Error() string { return f.what }

// findingf makes a finding; an error among args gives it its SQLSTATE.
func findingf(format string, args ...any) error {
	f := &finding{what: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if err, ok := arg.(error); ok && f.code == "" {
			f.code = code(err)
		}
	}
	return f
}

// run runs scripts until until; an error is a finding.
func (c *client) run(ctx context.Context, until time.Time) error {
	defer c.close()
	for time.Now().Before(until) && ctx.Err() == nil {
		c.number = c.recording.script()
		if c.conn == nil {
			if _, err := c.do(ctx, action{verb: connects}); err != nil {
				return err
			}
		}
		if err := c.script(ctx); err != nil {
			return fmt.Errorf("client %d: %w", c.id, err)
		}
		if c.conn == nil {
			continue
		}
		if got := c.conn.TxStatus(); got != idle {
			return findingf("client %d: status %c after a script that ended its block; last: %s", c.id, got, c.last)
		}
	}
	return nil
}

func (c *client) connect(ctx context.Context) (err error) {
	c.conn, err = c.dial(ctx)
	c.prepared = map[string]*pgconn.StatementDescription{}
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	c.ledger.connected(c)
	return nil
}

// close leaves without a word where a block is open.
func (c *client) close() {
	if c.conn == nil {
		return
	}
	c.ledger.gone(c)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.conn.Close(ctx) // what the primary has is compared at the end
	c.conn = nil
}

// exec runs one statement by any protocol; false: it failed, as it may.
func (c *client) exec(ctx context.Context, st stmt) (bool, error) {
	how := manner{protocol: pick(c.r, "extended", "prepared", "prepared", "simple"), formats: c.formats(), binary: chance(c.r, 50)}
	return c.do(ctx, action{verb: executes, st: st, how: how})
}

// formats asks for text or binary results.
func (c *client) formats() []int16 {
	return pick(c.r, nil, nil, []int16{1})
}

// control runs a command of the block by simple or extended protocol.
func (c *client) control(ctx context.Context, sql string) (bool, error) {
	return c.exec(ctx, stmt{kind: "control", sql: sql, fields: anyFields})
}

// code is the SQLSTATE of an error, "" for none of the server's.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
