package property

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// script runs one random thing that an application does; at its end no block is
// open, or the connection is closed.
func (c *client) script(ctx context.Context) error {
	switch n := c.r.IntN(100); {
	case n < 38:
		_, err := c.exec(ctx, c.s.draw(c.r))
		return err
	case n < 66:
		return c.block(ctx)
	case n < 78:
		return c.pipeline(ctx)
	case n < 87:
		return c.several(ctx)
	case n < 92:
		return c.copyIn(ctx)
	case n < 95:
		return c.change(ctx)
	case n < 98:
		return c.settings(ctx)
	case n < 99:
		return pick(c.r, c.temporary, c.cursor, c.sqlPrepared, c.standalone)(ctx)
	}
	return c.leave(ctx)
}

var begins = []string{"BEGIN", "BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"}

// block runs a transaction with savepoints and errors.
func (c *client) block(ctx context.Context) error {
	if ok, err := c.control(ctx, pick(c.r, begins...)); !ok || err != nil {
		return err
	}
	c.savepoints = 0
	for range 1 + c.r.IntN(6) {
		if err := c.inBlock(ctx); err != nil {
			return err
		}
		if c.conn.TxStatus() == idle {
			return nil
		}
	}
	return c.end(ctx)
}

// inBlock runs one step inside of a block.
func (c *client) inBlock(ctx context.Context) error {
	if c.conn.TxStatus() == aborted {
		if c.savepoints > 0 && chance(c.r, 75) {
			_, err := c.control(ctx, fmt.Sprintf("ROLLBACK TO SAVEPOINT sp%d", c.r.IntN(c.savepoints)+1))
			return err
		}
		_, err := c.exec(ctx, c.s.draw(c.r))
		return err
	}
	switch n := c.r.IntN(100); {
	case n < 14:
		c.savepoints++
		_, err := c.control(ctx, fmt.Sprintf("SAVEPOINT sp%d", c.savepoints))
		return err
	case n < 20 && c.savepoints > 0:
		_, err := c.control(ctx, fmt.Sprintf("ROLLBACK TO sp%d", c.savepoints))
		return err
	case n < 23 && c.savepoints > 0:
		c.savepoints--
		_, err := c.control(ctx, fmt.Sprintf("RELEASE SAVEPOINT sp%d", c.savepoints+1))
		return err
	case n < 25:
		_, err := c.control(ctx, pick(c.r, "SET LOCAL search_path = other, public", "SET LOCAL TimeZone = 'Asia/Tokyo'",
			"SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL DEFERRED"))
		return err
	case n < 27:
		return c.copyIn(ctx)
	}
	_, err := c.exec(ctx, c.s.draw(c.r))
	return err
}

// end ends a block in one of the ways there are.
func (c *client) end(ctx context.Context) error {
	switch n := c.r.IntN(100); {
	case n < 68:
		_, err := c.control(ctx, "COMMIT")
		return c.ended(err)
	case n < 78:
		return c.twoPhase(ctx)
	case n < 92:
		_, err := c.control(ctx, pick(c.r, "ROLLBACK", "ABORT"))
		return c.ended(err)
	case n < 97:
		if ok, err := c.control(ctx, pick(c.r, "COMMIT AND CHAIN", "ROLLBACK AND CHAIN")); !ok || err != nil {
			return c.ended(err) // one that a cancel hits leaves its block, failed
		}
		if _, err := c.exec(ctx, c.s.draw(c.r)); err != nil {
			return err
		}
		_, err := c.control(ctx, "END")
		return c.ended(err)
	}
	_, err := c.do(ctx, action{verb: leaves})
	return err
}

// ended makes sure that a block is over; a cancel may have hit its end, and savepoints may still bring back a part.
func (c *client) ended(err error) error {
	if err != nil || c.conn.TxStatus() == idle {
		return err
	}
	if c.conn.TxStatus() == aborted && c.savepoints > 0 && chance(c.r, 50) {
		for _, sql := range []string{"ROLLBACK TO SAVEPOINT sp1", "COMMIT"} {
			if _, err := c.control(context.Background(), sql); err != nil {
				return err
			}
		}
		if c.conn.TxStatus() == idle {
			return nil
		}
	}
	if _, err := c.control(context.Background(), "ROLLBACK"); err != nil {
		return err
	}
	if c.conn.TxStatus() != idle {
		_, err = c.control(context.Background(), "ROLLBACK")
	}
	return err
}

// copyIn loads a few rows.
func (c *client) copyIn(ctx context.Context) error {
	t := pick(c.r, c.s.tables...)
	b := &builder{r: c.r}
	cols := b.given(t)
	for _, col := range t.cols {
		if col.def != "" && !col.always && !strings.Contains(names(cols)+",", col.name+",") {
			cols = append(cols, col)
		}
	}
	var data strings.Builder
	for range 1 + c.r.IntN(6) {
		var fields []string
		for _, col := range cols {
			if !col.notNull && chance(c.r, 8) {
				fields = append(fields, `\N`)
				continue
			}
			fields = append(fields, escape.Replace(value(c.r, col.typ)))
		}
		data.WriteString(strings.Join(fields, "\t") + "\n")
	}
	if chance(c.r, 10) {
		data.WriteString("not\ta\trow\n")
	}
	st := stmt{kind: "copy", sql: fmt.Sprintf("COPY %s (%s) FROM STDIN", t.name, names(cols)), mayRefuse: "a default that is left out is drawn"}
	if !c.drawn(t, cols) && !strings.Contains(data.String(), "now") && !strings.Contains(data.String(), "today") {
		st.mayRefuse = ""
	}
	_, err := c.do(ctx, action{verb: copies, st: st, data: data.String()})
	return err
}

// drawn tells whether a column with a drawn value is left out.
func (c *client) drawn(t *table, cols []*column) bool {
	for _, col := range t.cols {
		if col.def != "" && !strings.Contains(" "+names(cols)+",", " "+col.name+",") {
			return true
		}
	}
	return false
}

var escape = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

// pester cancels what any client runs, again and again: most cancels come too
// late, or hit what an agent does in between.
func (l *ledger) pester(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		l.mu.Lock()
		var conn *pgconn.PgConn
		for _, conn = range l.sessions {
			break // any
		}
		l.mu.Unlock()
		if conn == nil {
			continue
		}
		if err := conn.CancelRequest(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			continue // the client has gone
		}
	}
}
