package session

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/opmux/opmux/wire/pgwire"
)

// front reads the client and plans each message, until one side ends.
func (s *Session) front(ctx context.Context) error {
	for {
		if ended, err := s.ending(); ended {
			return err
		}
		if s.cr.Buffered() == 0 {
			if err := s.up.Flush(); err != nil {
				return upstreamError(err)
			}
		}
		s.between = true
		typ, _, err := s.cr.Header()
		s.between = false
		if errors.Is(err, os.ErrDeadlineExceeded) && s.rouse() {
			continue
		}
		if err != nil {
			return clientError(err)
		}
		if err := s.dispatch(ctx, typ); err != nil {
			return err
		}
	}
}

// clientReader reads a client. Where a session is woken in the middle of a message
// or of COPY data, it goes on: it looks around between messages.
type clientReader struct{ s *Session }

func (r clientReader) Read(p []byte) (int, error) {
	for {
		n, err := r.s.client.Read(p)
		if n > 0 || r.s.between || !errors.Is(err, os.ErrDeadlineExceeded) || !r.s.rouse() {
			return n, err
		}
	}
}

// rouse tells whether a session that was woken is to look around and go on.
func (s *Session) rouse() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.backErr == nil && s.client.SetReadDeadline(time.Time{}) == nil
}

// ending tells whether the session is to end here, between two messages: its
// epoch is over, or the agent is stopping and no transaction is open.
func (s *Session) ending() (bool, error) {
	if s.epochOver() {
		return true, s.die(&refusal{code: stateShutdown, message: "the agent opens a new epoch", hint: "Connect again."})
	}
	if !s.stopping() || s.piped {
		return false, nil
	}
	if err := s.drain(); err != nil {
		return true, err
	}
	if s.transactionStatus() != pgwire.StatusIdle {
		return false, nil
	}
	return true, s.die(&refusal{code: stateShutdown, message: s.stoppingWord(), hint: "Connect again later, or to another agent."})
}

func (s *Session) stoppingWord() string {
	if s.deps.Observer != nil {
		return "the watch is over, and opmux relays no longer"
	}
	return "the agent is stopping"
}

// epochOver tells whether the epoch that the session writes in has ended.
func (s *Session) epochOver() bool {
	if s.ledger == nil { // it looks on
		return false
	}
	select {
	case <-s.ledger.Done():
		return true
	default:
		return false
	}
}

// dispatch deals with one message of the client's.
func (s *Session) dispatch(ctx context.Context, typ byte) error {
	switch typ {
	case pgwire.CopyData, pgwire.CopyDone, pgwire.CopyFail:
		// Outside of a captured COPY: one into a temporary table, or the rest
		// of one that failed, which the server ignores.
		return s.forward()
	case pgwire.Flush:
		return s.forward()
	case pgwire.Terminate:
		if err := s.forward(); err != nil {
			return err
		}
		if err := s.up.Flush(); err != nil {
			return upstreamError(err)
		}
		return errTerminated
	}
	if s.synced && s.settled() {
		// The client has waited for the end of its last pipeline: what it left is
		// known here without asking.
		if err := s.settleSynced(ctx); err != nil {
			return err
		}
	}
	m, err := s.cr.Message(s.cfg.MaxMessage)
	observing := s.deps.Observer != nil
	switch large := asTooLarge(err); {
	case large != nil && observing:
		return s.observeTooLarge(ctx, large)
	case large != nil:
		return s.onTooLarge(large)
	case err != nil:
		return clientError(err)
	case observing:
		err = s.observe(ctx, m)
	default:
		err = s.onMessage(ctx, m)
	}
	if m.Type == pgwire.Query && s.skips() {
		return err // the server has ignored it, and the pipeline goes on up to its Sync
	}
	s.piped = m.Type != pgwire.Query && m.Type != pgwire.Sync
	s.executed = s.piped && (s.executed || m.Type == pgwire.Execute)
	if m.Type == pgwire.Query {
		// It may have left what it began (a BEGIN that was cancelled), so what
		// follows is planned upon the server's own word.
		s.synced = true
	}
	return err
}

// onMessage deals with a message that is held whole.
func (s *Session) onMessage(ctx context.Context, m pgwire.Message) error {
	switch m.Type {
	case pgwire.Query:
		return s.onQuery(ctx, m)
	case pgwire.Parse:
		return s.onParse(ctx, m)
	case pgwire.Bind:
		return s.onBind(ctx, m)
	case pgwire.Describe:
		return s.onDescribe(ctx, m)
	case pgwire.Execute:
		return s.onExecute(ctx, m)
	case pgwire.Close:
		return s.onClose(ctx, m)
	case pgwire.Sync:
		return s.onSync(ctx, m)
	case pgwire.FunctionCall:
		return s.onFunctionCall()
	}
	return s.die(&refusal{code: stateProtocol, message: "message type " + string(rune(m.Type)) + " is not one of the protocol's"})
}

// settled tells whether the state that the client's last Sync left is known, or
// must be, since settings were changed that may have come back.
func (s *Session) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) == 0 || s.contextChanged
}

// forward streams the next message upstream as it is.
func (s *Session) forward() error {
	return s.cr.CopyTo(s.up)
}

// send puts a message on its way upstream, with the entry for its answer.
func (s *Session) send(typ byte, body []byte, e *entry) error {
	if e != nil && !s.push(e) {
		return nil
	}
	if err := s.up.Message(typ, body); err != nil {
		return upstreamError(err)
	}
	return nil
}

// sendBody is send of a body that is put together for it.
func sendBody[B interface{ Append(b []byte) []byte }](s *Session, typ byte, body B, e *entry) error {
	s.scratch = body.Append(s.scratch[:0])
	err := s.send(typ, s.scratch, e)
	if cap(s.scratch) > bufferSize {
		s.scratch = nil
	}
	return err
}

// sendRaw is send for a message of the client's that goes unchanged.
func (s *Session) sendRaw(m pgwire.Message, e *entry) error {
	if e != nil && !s.push(e) {
		return nil
	}
	if err := s.up.Write(m.Raw); err != nil {
		return upstreamError(err)
	}
	return nil
}

// asTooLarge returns what an error says of a message that is too large, nil: it is another one.
func asTooLarge(err error) *pgwire.TooLargeError {
	if err == nil {
		return nil // most often; what follows takes memory
	}
	var large *pgwire.TooLargeError
	errors.As(err, &large)
	return large
}

// onTooLarge refuses a message that would have to be kept whole.
func (s *Session) onTooLarge(large *pgwire.TooLargeError) error {
	if err := s.cr.Discard(); err != nil {
		return clientError(err)
	}
	r := tooLarge(large)
	switch large.Type {
	case pgwire.Query:
		return s.refuseQuery(r)
	case pgwire.Parse, pgwire.Bind:
		return s.refuseExtended(r)
	}
	return s.die(r)
}

// onFunctionCall refuses the fast path: which function it calls is an OID, and
// what it does nobody reads. Drivers use it for large objects, which are refused too.
func (s *Session) onFunctionCall() error {
	return s.refuseQuery(fastPath)
}

var fastPath = &refusal{code: stateNotSupported,
	message: "fast-path function call: what the function writes cannot be told",
	hint:    "Call it by SQL, or keep large objects in bytea columns."}

// transactionStatus is what the server last said of the transaction, once every
// answer is in.
func (s *Session) transactionStatus() byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// currentTx returns the transaction being captured; it begins with the first
// write or savepoint.
func (s *Session) currentTx() (*txn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tx == nil {
		tx, err := newTxn(s.share)
		if err != nil {
			return nil, err
		}
		s.tx = tx
	}
	return s.tx, nil
}

// endTx forgets the transaction that has ended. Settings that it changed may
// have come back. Committed says how it ended; sequence marks of one that was
// rolled back are published alone.
func (s *Session) endTx(ctx context.Context, committed bool) {
	s.mu.Lock()
	tx := s.tx
	tx.end()
	s.tx = nil
	s.kept.Drop()
	clear(s.portals)
	if s.contextChanged {
		s.context, s.contextChanged = nil, false
	}
	s.mu.Unlock()
	s.begun, s.wrapped = false, false
	s.quietVersion = s.deps.Catalog.Settled()
	if tx == nil {
		return
	}
	if committed {
		s.shapes.published(tx.shapes)
		return
	}
	if tx.spilled {
		s.ledger.Abandon(tx.id)
	}
	s.publishMarks(ctx, tx)
}
