package property

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
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
	dsn    string
	ledger *ledger
	log    io.Writer // gets every statement and how it ended

	conn     *pgconn.PgConn
	prepared map[string]*pgconn.StatementDescription // by text
	// savepoints are those of the open block.
	savepoints int
}

// finding is a thing that must not be.
type finding struct{ what string }

func (f *finding) Error() string { return f.what }

func findingf(format string, args ...any) error { return &finding{fmt.Sprintf(format, args...)} }

// run runs scripts until until; an error is a finding.
func (c *client) run(ctx context.Context, until time.Time) error {
	defer c.close()
	for time.Now().Before(until) && ctx.Err() == nil {
		if c.conn == nil {
			if err := c.connect(ctx); err != nil {
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
			return findingf("client %d: status %c after a script that ended its block", c.id, got)
		}
	}
	return nil
}

func (c *client) connect(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	c.conn, err = pgconn.Connect(ctx, c.dsn)
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
	ctx, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	before := c.conn.TxStatus()
	fields, tag, err := c.send(ctx, &st)
	c.note(st, tag, err)
	if finding := c.ledger.judge(st, err); finding != nil {
		return false, finding
	}
	if err == nil && st.fields != anyFields && fields != st.fields {
		return false, findingf("%s: %d result columns, want %d: %s", st.kind, fields, st.fields, st.inline())
	}
	return err == nil, c.checkStatus(st, before, err)
}

// checkStatus compares the session's state with what it must be (I5).
func (c *client) checkStatus(st stmt, before byte, err error) error {
	want := before
	switch {
	case st.kind == "control":
		return nil // the script knows
	case err != nil && before == block:
		want = aborted
	}
	if got := c.conn.TxStatus(); got != want {
		return findingf("status %c after %s (%v), want %c", got, st.inline(), err, want)
	}
	return nil
}

// send sends it in one of three ways and returns the number of result columns.
func (c *client) send(ctx context.Context, st *stmt) (int, string, error) {
	switch c.r.IntN(4) {
	case 0:
		return answer(c.conn.ExecParams(ctx, st.sql, st.values(), nil, nil, c.formats()))
	case 1, 2:
		return c.sendPrepared(ctx, st)
	}
	results := c.conn.Exec(ctx, st.inline())
	fields, tag := 0, ""
	for results.NextResult() {
		fields, tag, _ = answer(results.ResultReader()) // Close has the error
	}
	return fields, tag, results.Close()
}

// formats asks for text or binary results.
func (c *client) formats() []int16 {
	return pick(c.r, nil, nil, []int16{1})
}

func (c *client) sendPrepared(ctx context.Context, st *stmt) (int, string, error) {
	p := c.prepared[st.sql]
	if p == nil {
		var err error
		if p, err = c.conn.Prepare(ctx, fmt.Sprintf("s%d", len(c.prepared)), st.sql, nil); err != nil {
			return 0, "", err
		}
		c.prepared[st.sql] = p
	}
	values, formats := st.values(), []int16(nil)
	if chance(c.r, 50) {
		values, formats = binary(p.ParamOIDs, values)
	}
	return answer(c.conn.ExecPrepared(ctx, p.Name, values, formats, c.formats()))
}

// binary turns parameters into the binary format where it is known how.
func binary(oids []uint32, texts [][]byte) (values [][]byte, formats []int16) {
	types := pgtype.NewMap()
	values, formats = slices.Clone(texts), make([]int16, len(texts))
	for i, text := range texts {
		typ, ok := types.TypeForOID(oids[i])
		if !ok || text == nil {
			continue
		}
		v, err := typ.Codec.DecodeValue(types, oids[i], pgtype.TextFormatCode, text)
		if err != nil || v == nil {
			continue
		}
		if b, err := types.Encode(oids[i], pgtype.BinaryFormatCode, v, nil); err == nil && b != nil {
			values[i], formats[i] = b, pgtype.BinaryFormatCode
		}
	}
	return values, formats
}

// answer reads a result to its end.
func answer(r *pgconn.ResultReader) (fields int, tag string, err error) {
	for r.NextRow() {
		if got, want := len(r.Values()), len(r.FieldDescriptions()); got != want {
			_, _ = r.Close()
			return 0, "", findingf("a row of %d values with %d columns described", got, want)
		}
	}
	fields = len(r.FieldDescriptions())
	done, err := r.Close()
	return fields, done.String(), err
}

// control runs a command of the block by simple or extended protocol.
func (c *client) control(ctx context.Context, sql string) (bool, error) {
	return c.exec(ctx, stmt{kind: "control", sql: sql, fields: anyFields})
}

func (c *client) note(st stmt, tag string, err error) {
	if err != nil {
		tag = "error: " + err.Error()
	}
	fmt.Fprintf(c.log, "%s [%s] %s -- %s\n", time.Now().Format("15:04:05.000"), st.kind, strings.ReplaceAll(st.inline(), "\n", "\\n"), tag)
}

// code is the SQLSTATE of an error, "" for none of the server's.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
