package property

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// do does a thing and writes down that and when it was done; false: the server
// refused it, as it may.
func (c *client) do(ctx context.Context, a action) (bool, error) {
	s := c.recording.begin(c.id, c.number, a)
	defer c.recording.end(s)
	return c.perform(ctx, a)
}

// perform does what was drawn, now or in an earlier run.
func (c *client) perform(ctx context.Context, a action) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	switch a.verb {
	case connects:
		return true, c.connect(ctx)
	case leaves:
		c.close()
		return true, nil
	case several:
		return c.performSeveral(ctx, a.st)
	case pipes:
		return true, c.performPipeline(ctx, a.piped)
	case copies:
		return c.performCopy(ctx, a)
	}
	return c.performExec(ctx, a)
}

// performExec sends one statement and looks at the answer.
func (c *client) performExec(ctx context.Context, a action) (bool, error) {
	st := a.st
	before := c.conn.TxStatus()
	fields, tag, err := c.send(ctx, &st, a.how)
	c.note(st.kind, st.inline(), tag, err)
	if finding := c.ledger.judge(st, err); finding != nil {
		return false, finding
	}
	if err == nil && st.sql == discardAll {
		c.prepared = map[string]*pgconn.StatementDescription{}
	}
	if err == nil && st.fields != anyFields && fields != st.fields {
		return false, findingf("%s: %d result columns, want %d: %s", st.kind, fields, st.fields, st.inline())
	}
	return err == nil, c.checkStatus(st, before, err)
}

// queryCanceled is what a cancel, or statement_timeout, ends a command with.
const queryCanceled = "57014"

// commits tells whether a command is to end its block by a commit.
func commits(sql string) bool { return strings.HasPrefix(sql, "COMMIT") || sql == "END" }

// checkStatus compares the session's state with what it must be (I5).
func (c *client) checkStatus(st stmt, before byte, err error) error {
	want := before
	switch {
	case st.kind == "control" && (err == nil || before == idle || code(err) == queryCanceled || !commits(st.sql)):
		return nil // the script knows
	case st.kind == "control":
		want = idle // a COMMIT that fails, but for a cancel before it began, has ended its block
	case err != nil && before == block:
		want = aborted
	}
	if got := c.conn.TxStatus(); got != want {
		return findingf("status %c after %s (%v), want %c", got, st.inline(), err, want)
	}
	return nil
}

// send sends a statement and returns the number of result columns.
func (c *client) send(ctx context.Context, st *stmt, how manner) (int, string, error) {
	switch how.protocol {
	case "extended":
		return answer(c.conn.ExecParams(ctx, st.sql, st.values(), nil, nil, how.formats))
	case "prepared":
		return c.sendPrepared(ctx, st, how)
	}
	results := c.conn.Exec(ctx, st.inline())
	fields, tag := 0, ""
	for results.NextResult() {
		fields, tag, _ = answer(results.ResultReader()) // Close has the error
	}
	return fields, tag, results.Close()
}

func (c *client) sendPrepared(ctx context.Context, st *stmt, how manner) (int, string, error) {
	p := c.prepared[st.sql]
	if p == nil {
		var err error
		if p, err = c.conn.Prepare(ctx, fmt.Sprintf("s%d", len(c.prepared)), st.sql, nil); err != nil {
			return 0, "", err
		}
		c.prepared[st.sql] = p
	}
	values, formats := st.values(), []int16(nil)
	if how.binary {
		values, formats = binary(p.ParamOIDs, values)
	}
	return answer(c.conn.ExecPrepared(ctx, p.Name, values, formats, how.formats))
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

func (c *client) performSeveral(ctx context.Context, st stmt) (bool, error) {
	_, err := c.conn.Exec(ctx, st.sql).ReadAll()
	c.note(st.kind, st.sql, "", err)
	return err == nil, c.ledger.judge(st, err)
}

func (c *client) performCopy(ctx context.Context, a action) (bool, error) {
	tag, err := c.conn.CopyFrom(ctx, strings.NewReader(a.data), a.st.sql)
	c.note(a.st.kind, fmt.Sprintf("%s: %q", a.st.sql, a.data), tag.String(), err)
	if code(err) == "22P04" {
		return false, nil // the row that is none
	}
	return err == nil, c.ledger.judge(a.st, err)
}

// note writes what was sent, and how it ended, for people.
func (c *client) note(kind, sql, tag string, err error) {
	if err != nil {
		tag = "error: " + err.Error()
	}
	c.last = fmt.Sprintf("[%s] %s -- %s", kind, strings.ReplaceAll(sql, "\n", "\\n"), tag)
	fmt.Fprintf(c.log, "%s %s\n", time.Now().Format("15:04:05.000"), c.last)
}
