package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/wire/pgwire"
)

// bufferSize is what each direction of a session holds at rest, in bytes.
const bufferSize = 8 << 10

// Conn is one side of a session.
type Conn interface {
	net.Conn
}

// Session relays one client. Fields below mu are shared by front and back.
type Session struct {
	cfg  *Config
	deps *Deps
	log  *zap.Logger
	// shapes and contexts are shared by all sessions of the listener.
	shapes   *shapes
	contexts *contexts

	client, server Conn
	cr, sr         *pgwire.Reader // client and server stream
	up             *pgwire.Writer // to the server, used by the front alone
	ledger         ledger
	stopping       func() bool // the agent is stopping
	share          *share
	who            identity
	database       string
	user           string

	// down is the stream to the client; front and back write it under downMu.
	downMu sync.Mutex
	down   *pgwire.Writer

	mu    sync.Mutex
	empty *sync.Cond // queue has run empty, or the back has ended
	queue []*entry
	room  []*entry // the queue's first backing array, used again
	// spares are entries that can be used again.
	spares []*entry
	// skipping says that what is sent now is skipped by the server: from an error
	// of the extended protocol until Sync is sent.
	skipping bool
	backErr  error
	status   byte // of the last ReadyForQuery
	// failed is set from an error to the next ReadyForQuery.
	failed bool
	// unsure: those of the agent's own statements that are not in prepared may be there.
	unsure bool
	// untold is the server's error to the last look-up in the simple protocol, where the
	// client has not been told of it.
	untold *serverError
	// held are the messages that an entry with hold or holdReady kept back.
	held []byte
	// copyIn is set while the server waits for COPY data.
	copyIn bool
	// context is what the session's settings are, nil when they may have changed.
	context, lastContext *sessionContext
	// clientEncoding and serverEncoding are what the server said last of its text.
	clientEncoding, serverEncoding string
	// lenient says that standard_conforming_strings is off, as far as the server has said;
	// wasLenient, the front's alone, that statements were planned under that.
	lenient, wasLenient bool
	// ownObjects says that the session made objects (temporary tables) that the
	// agent's own connection may not see.
	ownObjects bool
	// kept are the catalogue's facts as the open transaction sees them.
	kept catalog.Kept
	// contextChanged says that a setting was changed since the transaction began.
	contextChanged bool
	tx             *txn
	prepared       map[string]bool // the agent's own statements that exist on the server
	statements     map[string]*statement
	portals        map[string]*portal

	// The rest is the front's alone.

	// scratch has room for a message's body that is sent at once.
	scratch []byte

	// begun is true inside a block that the client opened, as far as sent.
	begun bool
	// wrapped is true from a BEGIN of the agent's to its COMMIT.
	wrapped bool
	// synced is true from a Sync or Query of the client's to the next message that
	// is planned upon the state that it left.
	synced bool
	// quietVersion is the catalogue's version before the transaction began, if no DDL was under way
	// then, or an older one.
	quietVersion int64
	// unguarded says that the session may not read the catalogue's counter.
	unguarded bool
	// syncSent says that the client's next message is a Sync that was sent ahead of it.
	syncSent bool
	// inParts is true while the statements of one Query are run one by one.
	inParts atomic.Bool
	// row is the back's own.
	row splitRow
	// readyKept says that the last message of the primary's was a ReadyForQuery that the
	// client did not get; the back's own.
	readyKept bool
	// between is true while a message of the client's is waited for.
	between bool
	// piped is true from a message of the extended protocol to its Sync.
	piped bool
	// executed is true from an Execute to the Sync behind it.
	executed bool
	// lastRead is the last text of the client's, where it is another than the one that it is
	// taken for.
	lastRead clientText
	// hidden is a client_min_messages that the session is to get back at its next Sync.
	hidden string

	closed sync.Once
}

// errEnded is the end of a session that needs no report; errTerminated is one that
// the client asked for.
var (
	errEnded      = errors.New("session ended")
	errTerminated = fmt.Errorf("terminated by the client: %w", errEnded)
)

// lastWords is how long a client that has said Terminate may take to be told what
// it had asked for before.
const lastWords = 5 * time.Second

// serve relays until one side ends.
func (s *Session) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	backDone := make(chan struct{})
	go func() {
		defer close(backDone)
		err := guard(s.deps.Metrics, "back", func() error { return s.back(ctx) })
		s.mu.Lock()
		s.backErr = err
		s.empty.Broadcast()
		s.mu.Unlock()
		// The front may be waiting for the client, which has nothing more to hear.
		_ = s.client.SetReadDeadline(time.Unix(1, 0))
	}()
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	err := guard(s.deps.Metrics, "front", func() error { return s.front(ctx) })
	if errors.Is(err, errTerminated) {
		s.listen(backDone)
	}
	s.close()
	<-backDone
	s.abandon()
	s.mu.Lock()
	backErr := s.backErr
	s.mu.Unlock()
	if errors.Is(err, errEnded) || (backErr != nil && isClosed(err)) {
		err = backErr
	}
	if err == nil || errors.Is(err, errEnded) || isClosed(err) {
		return nil
	}
	return err
}

// listen waits for the end of the server's stream, which comes behind the answers
// to what the client sent before Terminate.
func (s *Session) listen(backDone <-chan struct{}) {
	deadline := time.Now().Add(lastWords)
	if errors.Join(s.server.SetReadDeadline(deadline), s.client.SetWriteDeadline(deadline)) == nil {
		<-backDone
	}
}

// guard turns a panic into an error, so that it ends one session only.
func guard(m *Metrics, where string, run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			m.panics.Inc()
			err = fmt.Errorf("panic in session %s: %v\n%s", where, p, debug.Stack())
		}
	}()
	return run()
}

// wake interrupts a session that waits for its client, so that it looks whether
// it is to end.
func (s *Session) wake() {
	if err := s.client.SetReadDeadline(time.Unix(1, 0)); err != nil {
		s.close()
	}
}

func (s *Session) close() {
	s.closed.Do(func() {
		if err := errors.Join(s.client.Close(), s.server.Close()); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Debug("closing a session", zap.Error(err))
		}
	})
}

// abandon settles what a session leaves behind when it ends inside a
// transaction: the primary rolls it back, its sequences stay drawn.
func (s *Session) abandon() {
	s.mu.Lock()
	tx := s.tx
	tx.end()
	s.tx = nil
	s.mu.Unlock()
	if tx == nil {
		return
	}
	if tx.spilled {
		s.ledger.Abandon(tx.id)
	}
	s.publishMarks(context.Background(), tx)
}

// locked runs f under the session's lock, which a panic in it gives back.
func (s *Session) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// toClient writes a message of the agent's to the client.
func (s *Session) toClient(typ byte, body []byte) error {
	s.downMu.Lock()
	defer s.downMu.Unlock()
	if err := s.down.Message(typ, body); err != nil {
		return clientError(err)
	}
	return nil
}

// flushClient sends what the client has not been sent yet.
func (s *Session) flushClient() error {
	s.downMu.Lock()
	defer s.downMu.Unlock()
	if err := s.down.Flush(); err != nil {
		return clientError(err)
	}
	return nil
}

// ready tells the client the session's state, as ReadyForQuery.
func (s *Session) ready(status byte) error {
	if err := s.toClient(pgwire.ReadyForQuery, []byte{status}); err != nil {
		return err
	}
	return s.flushClient()
}

// refuse sends an error of the agent's.
func (s *Session) refuse(r *refusal) error {
	s.deps.Metrics.refusals.WithLabelValues(r.code).Inc()
	return s.toClient(pgwire.ErrorResponse, s.inWords(r))
}

// die ends the session with a FATAL error.
func (s *Session) die(r *refusal) error {
	r.severity = "FATAL"
	if r.code != stateShutdown {
		s.log.Info("the agent ends a session", zap.String("user", s.user), zap.String("sqlstate", r.code), zap.String("reason", r.message))
	}
	if err := s.refuse(r); err != nil {
		return err
	}
	if err := s.flushClient(); err != nil {
		return err
	}
	return errEnded
}

// sideError says which side of a session failed.
type sideError struct {
	side string
	err  error
}

func (e *sideError) Error() string { return e.side + ": " + e.err.Error() }
func (e *sideError) Unwrap() error { return e.err }

func clientError(err error) error   { return &sideError{"client", err} }
func upstreamError(err error) error { return &sideError{"primary", err} }
