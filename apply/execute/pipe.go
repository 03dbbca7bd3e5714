package execute

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/crashpoint"
)

// A pipeline is read empty after so much was sent, so that neither side holds
// more than that of the other's words (I7).
const (
	maxUnread      = 512
	maxUnreadBytes = 512 << 10
	// maxUnreadRows is for requests that return rows, whose size is not known.
	maxUnreadRows = 64
)

// request is one request that was sent: what to do with its result.
type request struct {
	row  func([]event.Value)               // takes a row of the result; nil: rows do not matter
	rows int                               // how many rows are expected; 0: one
	done func(tag pgconn.CommandTag) error // takes the end of the result; may be nil
	fail func(err error) error             // says what the server's error is about; may be nil
	// local is for what is to be done in its turn without asking the server.
	local func()
	// described takes what the server says of a statement.
	described func(*pgconn.StatementDescription)
}

// pipe is one connection in pipeline mode, with a list of what was asked.
type pipe struct {
	ctx    context.Context
	conn   *pgconn.PgConn
	line   *pgconn.Pipeline
	unread []request
	asked  int // of these, without what is local
	bytes  int
	rows   int
}

func newPipe(ctx context.Context, conn *pgconn.PgConn) *pipe {
	return &pipe{ctx: ctx, conn: conn, line: conn.StartPipeline(ctx)}
}

// query sends a statement that is not kept.
func (p *pipe) query(sql string, params [][]byte, oids []uint32, formats []int16, r request) error {
	p.line.SendQueryParams(sql, params, oids, formats, nil)
	return p.sent(r, len(sql)+size(params))
}

// exec sends a prepared statement.
func (p *pipe) exec(s *statement, params [][]byte, formats []int16, r request) error {
	if !s.sent {
		p.line.SendPrepare(s.name, s.sql, s.oids)
		s.sent = true
		p.unread = append(p.unread, request{fail: r.fail})
		p.bytes += len(s.sql)
	}
	p.line.SendQueryPrepared(s.name, params, formats, nil)
	return p.sent(r, size(params))
}

// deallocate drops a prepared statement.
func (p *pipe) deallocate(s *statement) {
	p.line.SendDeallocate(s.name)
	p.unread = append(p.unread, request{})
}

func size(params [][]byte) int {
	n := 0
	for _, v := range params {
		n += len(v)
	}
	return n
}

func (p *pipe) sent(r request, bytes int) error {
	p.unread = append(p.unread, r)
	p.asked++
	p.bytes += bytes
	if r.row != nil {
		p.rows += max(1, r.rows)
	}
	if p.asked < maxUnread && p.bytes < maxUnreadBytes && p.rows < maxUnreadRows {
		return nil
	}
	return p.drain()
}

// drain waits for the results of everything that was sent.
func (p *pipe) drain() error {
	if len(p.unread) == 0 {
		return nil
	}
	p.line.SendFlushRequest()
	if err := p.line.Flush(); err != nil {
		return p.lost(err)
	}
	return p.read()
}

// push hands everything that was sent to the server, which begins with it, and does
// not wait for results.
func (p *pipe) push() error { return p.lost(p.line.Flush()) }

// read takes the results of everything that was sent.
func (p *pipe) read() error {
	for i := range p.unread {
		r := &p.unread[i]
		if err := p.readOne(r); err != nil {
			p.unread = nil
			if r.fail != nil {
				err = r.fail(err)
			}
			return err
		}
	}
	p.unread, p.asked, p.bytes, p.rows = p.unread[:0], 0, 0, 0
	return nil
}

func (p *pipe) readOne(r *request) error {
	if r.local != nil {
		r.local()
		return nil
	}
	got, err := p.line.GetResults()
	if err != nil {
		return p.lost(err)
	}
	switch got := got.(type) {
	case *pgconn.ResultReader:
		if r.row != nil {
			eachRow(got, r.row)
		}
		tag, err := got.Close()
		if err == nil && r.done != nil {
			err = r.done(tag)
		}
		return p.lost(err)
	case *pgconn.StatementDescription:
		if r.described != nil {
			r.described(got)
		}
	case nil:
		return errClosed
	}
	return nil
}

// later does something when everything that was sent before is answered.
func (p *pipe) later(f func()) {
	p.unread = append(p.unread, request{local: f})
}

// lost turns what pgconn says about a connection that it has given up into an
// error that is known to be one.
func (p *pipe) lost(err error) error {
	if err == nil || p.ctx.Err() != nil {
		return err
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) && p.conn.IsClosed() {
		return errors.Join(errClosed, err)
	}
	return err
}

// end leaves pipeline mode after everything that was sent has been answered.
func (p *pipe) end() error {
	if err := p.line.Sync(); err != nil {
		return p.lost(err)
	}
	crashpoint.At(crashpoint.TargetSent)
	err := p.read()
	if closeErr := p.line.Close(); err == nil {
		err = p.lost(closeErr)
	}
	return err
}

// abandon leaves pipeline mode after an error; the transaction is still open, unless
// the connection is lost.
func (p *pipe) abandon() {
	if p.conn.IsClosed() {
		return // pgconn says goodbye to it in a goroutine of its own, and panics where both write
	}
	_ = p.line.Sync()  // the error before is the one that counts
	_ = p.line.Close() // and the connection is closed where this does not work
}

// eachRow passes every row of a result to f.
func eachRow(r *pgconn.ResultReader, f func([]event.Value)) {
	var row []event.Value
	for r.NextRow() {
		row = row[:0]
		for _, v := range r.Values() {
			row = append(row, event.Value{Null: v == nil, Text: v})
		}
		f(row)
	}
}
