package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// maxDrawnRows bounds the rows whose values are drawn at once (I7).
const maxDrawnRows = 10_000

// copying is a COPY that leaves out columns whose defaults are drawn. The client's
// own COPY is opened, so that the client gets the server's answer to it, and ended
// empty. The rows then go in pieces: their values are drawn by a question, and a
// COPY of the agent's takes them together.
type copying struct {
	s    *Session
	x    *execution
	rows *classify.CopyRows
	// opened is the entry of the client's own COPY until that is ended.
	opened *entry
	total  int64
	failed bool
}

// copyRows relays such a COPY, and tells the client its end, or holds that back.
func (s *Session) copyRows(ctx context.Context, x *execution, opened *entry, hold bool) error {
	tag, err := s.copyDrawn(ctx, x, opened)
	if err != nil || tag == "" {
		return err
	}
	s.mu.Lock()
	s.finish(ctx, x, tag)
	if hold {
		s.held = pgwire.AppendMessage(s.held, pgwire.CommandComplete, append([]byte(tag), 0))
	}
	s.mu.Unlock()
	if hold {
		return nil
	}
	return s.toClient(pgwire.CommandComplete, append([]byte(tag), 0))
}

// copyDrawn goes from the server's readiness for data to the client's end of it;
// opened is the entry of its Query. The tag is "" where it failed, of which the
// client has heard.
func (s *Session) copyDrawn(ctx context.Context, x *execution, opened *entry) (tag string, err error) {
	c := &copying{s: s, x: x, rows: x.plan.NewCopyRows(s.charsetNow().name), opened: opened}
	before := opened.onFail
	opened.onFail = func() { c.failed = true; before() }
	if err := s.awaitCopyIn(); err != nil {
		return "", err
	}
	for !c.over() {
		typ, ready, err := s.copyHeader()
		if err != nil {
			return "", err
		}
		if !ready || c.over() {
			continue
		}
		done, err := c.message(ctx, typ)
		if err != nil {
			return "", err
		}
		if done {
			break
		}
	}
	if c.over() {
		before() // an error of one of the agent's own COPY commands is one of the client's
		return "", nil
	}
	return fmt.Sprintf("COPY %d", c.total), nil
}

// over tells whether the server has ended it by an error.
func (c *copying) over() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.failed
}

// message deals with one message of the client's; true: it was the last.
func (c *copying) message(ctx context.Context, typ byte) (bool, error) {
	s := c.s
	switch typ {
	case pgwire.Sync, pgwire.Flush:
		return false, s.cr.Discard() // as the server does in this state
	case pgwire.Terminate:
		return true, errEnded
	case pgwire.CopyData, pgwire.CopyDone, pgwire.CopyFail:
	default:
		return true, s.die(&refusal{code: stateProtocol, message: "message type " + string(rune(typ)) + " during COPY from stdin"})
	}
	m, err := s.cr.Message(s.cfg.MaxMessage)
	var large *pgwire.TooLargeError
	if errors.As(err, &large) {
		if err := s.cr.Discard(); err != nil {
			return true, clientError(err)
		}
		return true, c.abort(large.Error())
	}
	if err != nil {
		return true, clientError(err)
	}
	switch typ {
	case pgwire.CopyFail:
		return true, c.giveUp(m.Body())
	case pgwire.CopyDone:
		return true, c.end(ctx)
	}
	return false, c.take(ctx, m.Body())
}

// take keeps data, and sends what has come together.
func (c *copying) take(ctx context.Context, data []byte) error {
	c.scan(func(s *classify.CopyScanner) error { return s.Scan(data) })
	for !c.over() {
		n, err := c.rows.Add(data, c.s.cfg.ChunkBytes, maxDrawnRows)
		if err != nil {
			return c.abort(err.Error())
		}
		if data = data[n:]; len(data) == 0 {
			break
		}
		if err := c.flush(ctx, false); err != nil {
			return err
		}
	}
	if c.rows.Size() > c.s.cfg.ChunkBytes+c.s.cfg.MaxMessage {
		return c.abort(fmt.Sprintf("a row of COPY has more than %d bytes", c.s.cfg.MaxMessage))
	}
	return nil
}

// end sends the rest.
func (c *copying) end(ctx context.Context) error {
	c.scan((*classify.CopyScanner).Close)
	if err := c.rows.Close(); err != nil {
		return c.abort(err.Error())
	}
	return c.flush(ctx, true)
}

func (c *copying) scan(with func(*classify.CopyScanner) error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.x.scan == nil || c.x.lost() {
		return
	}
	if err := with(c.x.scan); err != nil {
		c.x.tx.fail(err)
	}
}

// giveUp fails the COPY as the client asks. What is wrong with the rows before, and on
// which line it ended, is the server's to say.
func (c *copying) giveUp(body []byte) error {
	if c.rows.Cut(); c.rows.Rows() == 0 {
		return c.piece(nil, pgwire.CopyFail, body)
	}
	_, err := c.send(false, pgwire.CopyFail, body)
	return err
}

// send draws values for the rows that are held and runs them as a piece, whose part of
// the stream to publish it returns.
func (c *copying) send(last bool, end byte, body []byte) (part []byte, err error) {
	if err := c.close(); err != nil || c.over() {
		return nil, err
	}
	drawn, err := c.draw()
	if err != nil || c.over() {
		return nil, err
	}
	stream, part, err := c.rows.Take(drawn, last)
	if err != nil {
		return nil, c.abort(err.Error())
	}
	return part, c.piece(stream, end, body)
}

// flush sends the rows that are held, and keeps them.
func (c *copying) flush(ctx context.Context, last bool) error {
	part, err := c.send(last, pgwire.CopyDone, nil)
	if err != nil || c.over() {
		return err
	}
	c.rows.Taken()
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.x.lost() {
		return nil
	}
	text, err := c.x.copy.read(s.charset(), part)
	if err != nil {
		c.x.tx.fail(err)
		return nil
	}
	if c.x.data = append(c.x.data, text...); len(c.x.data) >= s.cfg.ChunkBytes {
		s.makePart(ctx, c.x, true)
	}
	return nil
}

// close ends the client's own COPY without a row.
func (c *copying) close() error {
	if c.opened == nil {
		return nil
	}
	s := c.s
	s.mu.Lock()
	c.opened.silent, s.copyIn = true, false
	s.mu.Unlock()
	c.opened = nil
	if empty := c.x.plan.CopyDraw.Empty(); empty != nil {
		if err := s.send(pgwire.CopyData, empty, nil); err != nil {
			return err
		}
	}
	if err := s.send(pgwire.CopyDone, nil, nil); err != nil {
		return err
	}
	return s.drain()
}

// draw asks the session for the values of the rows held.
func (c *copying) draw() ([][]event.Value, error) {
	if c.rows.Rows() == 0 {
		return nil, nil
	}
	var rows [][]event.Value
	e := &entry{kind: answerQuery, silent: true, onFail: func() { c.failed = true }}
	e.onRow = func(values []pgwire.DataRowValue) { rows = append(rows, copyRow(values)) }
	return rows, c.s.question(c.x.plan.CopyDraw.SQL(c.rows.Rows()), "", e, false)
}

// piece runs a COPY of the agent's with a stream and its end.
func (c *copying) piece(stream []byte, end byte, body []byte) error {
	s := c.s
	if err := c.reopen(end); err != nil || c.over() {
		return err
	}
	s.mu.Lock()
	s.copyIn = false
	s.mu.Unlock()
	if len(stream) > 0 {
		if err := s.send(pgwire.CopyData, stream, nil); err != nil {
			return err
		}
	}
	if err := s.send(end, body, nil); err != nil {
		return err
	}
	return s.drain()
}

// reopen begins a COPY of the agent's, but to fail the client's where that is still open.
func (c *copying) reopen(end byte) error {
	s := c.s
	if c.opened != nil && end == pgwire.CopyFail {
		c.opened = nil
		return nil
	}
	e := &entry{kind: answerQuery, silent: true, where: c.where, onFail: func() { c.failed = true }}
	e.onTag = func(tag string) { c.total += pgwire.Affected(tag) }
	if err := s.sendQuery(c.x.plan.CopyDraw.Text, e); err != nil {
		return err
	}
	return s.awaitCopyIn()
}

// abort fails the COPY for a reason of the agent's.
func (c *copying) abort(why string) error {
	return c.piece(nil, pgwire.CopyFail, append([]byte("opmux: "+why), 0))
}

// copyPlace is the server's word of where in a stream an error is.
var copyPlace = regexp.MustCompile(`(?s)^(COPY .*?, line )(\d+)(: ")?(.*)$`)

// where makes the place of an error count from the client's own stream (I5).
func (c *copying) where(text string) string {
	p := copyPlace.FindStringSubmatch(text)
	if p == nil {
		return text
	}
	line, err := strconv.ParseInt(p[2], 10, 64)
	if err != nil {
		return text
	}
	rest := p[4]
	if prefix := string(c.rows.Prefix(line)); p[3] != "" && len(rest) >= len(prefix) && rest[:len(prefix)] == prefix {
		rest = rest[len(prefix):]
	}
	return p[1] + strconv.FormatInt(line+c.rows.Before(), 10) + p[3] + rest
}

// awaitCopyIn waits until the server is ready for COPY data, or has answered otherwise.
func (s *Session) awaitCopyIn() error {
	if s.unflushed() {
		if err := s.send(pgwire.Flush, nil, nil); err != nil {
			return err
		}
	}
	if err := s.up.Flush(); err != nil {
		return upstreamError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && !s.copyIn && s.backErr == nil {
		s.empty.Wait()
	}
	return s.backErr
}

// copyHeader waits for the client's next message during COPY; false: look again at
// what the server says.
func (s *Session) copyHeader() (typ byte, ready bool, err error) {
	if s.cr.Buffered() == 0 {
		if err := s.up.Flush(); err != nil {
			return 0, false, upstreamError(err)
		}
	}
	s.between = true
	typ, _, err = s.cr.Header()
	s.between = false
	if errors.Is(err, os.ErrDeadlineExceeded) && s.rouse() {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, clientError(err)
	}
	return typ, true, nil
}
