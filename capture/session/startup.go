package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/wire/pgwire"
)

// maxAuthMessage bounds a message before authentication has ended, in bytes.
const maxAuthMessage = 64 << 10

// hello is what a client said before its session began.
type hello struct {
	conn     Conn
	reader   *pgwire.Reader
	body     []byte // of the StartupMessage
	database string
	user     string
	tls      bool
	// replication is set where it is a connection of another protocol's commands.
	replication bool
}

// accept takes a client from its first byte to the point where its session can
// be served. A nil session without an error: there is none to serve (a cancel
// request, an uncaptured session that has been relayed to its end).
func (l *Listener) accept(ctx context.Context, conn net.Conn) (*Session, error) {
	deadline := time.Now().Add(l.cfg.AuthTimeout)
	turn, cancelTurn := context.WithDeadline(ctx, deadline)
	err := l.handshakes.Acquire(turn, 1)
	cancelTurn()
	if err != nil {
		return nil, fmt.Errorf("waiting for other clients to authenticate (listen.max_handshakes): %w", err)
	}
	var once sync.Once
	release := func() { once.Do(func() { l.handshakes.Release(1) }) }
	defer release()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	h, err := l.greet(ctx, conn)
	if err != nil || h == nil {
		return nil, err
	}
	ledger, captured, err := l.admit(h)
	if err != nil {
		return nil, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, l.cfg.AuthTimeout)
	defer cancel()
	server, err := l.deps.Upstream.Dial(dialCtx)
	if err != nil {
		l.deps.Log.Warn("primary cannot be reached", zap.Error(err))
		return nil, turnAway(h, &refusal{code: stateUpstream, message: "the primary cannot be reached", hint: "The agent's log says why."})
	}
	s := l.newSession(h, server, ledger)
	ok, err := s.authenticate(h)
	if err != nil || !ok {
		return nil, errors.Join(err, server.Close())
	}
	if !captured {
		release()
		return nil, s.relay(ctx)
	}
	if err := s.introduce(); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	// Only from here on may a read that has run out of time be tried again.
	s.cr.Attach(clientReader{s})
	return s, errors.Join(conn.SetDeadline(time.Time{}), server.SetDeadline(time.Time{}))
}

// admit tells whether a session may begin, and whether it is captured or only relayed.
func (l *Listener) admit(h *hello) (ledger ledger, captured bool, err error) {
	captured = h.database == l.cfg.Database && !h.replication
	if l.deps.Observer != nil {
		switch {
		case h.replication:
			l.deps.Observer.Unobserved("replication connections, which an agent turns away")
		case !captured && l.cfg.PassOthers:
			l.deps.Observer.Unobserved("on another database, which an agent relays uncaptured")
		case !captured:
			l.deps.Observer.Unobserved("on another database, which an agent turns away (capture.other_databases)")
		}
		return nil, captured, nil
	}
	if ledger = l.deps.Ledger(); ledger == nil {
		return nil, false, turnAway(h, &refusal{code: stateNotReady, message: "the agent is not ready", hint: "See its /readyz."})
	}
	if !captured && !l.cfg.PassOthers {
		return nil, false, turnAway(h, &refusal{code: stateNoDatabase,
			message: fmt.Sprintf("this agent captures database %q only, not %q", l.cfg.Database, h.database),
			hint:    "Connect to that database directly, or set capture.other_databases: pass."})
	}
	return ledger, captured, nil
}

func (l *Listener) newSession(h *hello, server Conn, ledger ledger) *Session {
	s := &Session{cfg: l.cfg, deps: l.deps, shapes: l.shapes, contexts: &l.contexts, log: l.deps.Log.With(zap.String("client", h.conn.RemoteAddr().String())),
		client: h.conn, server: server, cr: h.reader, sr: pgwire.NewReader(server, bufferSize),
		up: pgwire.NewWriter(server, bufferSize), down: pgwire.NewWriter(h.conn, bufferSize),
		ledger: ledger, database: h.database, user: h.user, stopping: l.stopping, share: l.share, status: pgwire.StatusIdle,
		statements: map[string]*statement{}, portals: map[string]*portal{}, prepared: map[string]bool{}}
	s.empty, s.quietVersion = sync.NewCond(&s.mu), l.deps.Catalog.Settled()
	return s
}

// greet answers requests for encryption, relays a cancel, and returns what the
// client wants to begin, or nil.
func (l *Listener) greet(ctx context.Context, conn net.Conn) (*hello, error) {
	h := &hello{conn: conn, reader: pgwire.NewReader(conn, bufferSize)}
	if err := l.directTLS(h); err != nil {
		return nil, err
	}
	for range 3 { // GSSENCRequest, SSLRequest, StartupMessage
		body, err := h.reader.ReadUntyped(pgwire.MaxStartup)
		if err != nil {
			return nil, clientError(err)
		}
		switch pgwire.KindOfStartup(body) {
		case pgwire.StartupGSSENC:
			if _, err := conn.Write([]byte{'N'}); err != nil {
				return nil, clientError(err)
			}
		case pgwire.StartupSSL:
			if err := l.offerTLS(h); err != nil {
				return nil, err
			}
		case pgwire.StartupCancel:
			if err := pgwire.CheckCancelRequest(body); err != nil {
				return nil, clientError(err)
			}
			return nil, l.cancel(ctx, body)
		case pgwire.StartupSession:
			h.body = body
			return l.begin(h)
		default:
			return nil, turnAway(h, &refusal{code: stateProtocol, message: "this is not protocol 3 of PostgreSQL"})
		}
	}
	return nil, turnAway(h, &refusal{code: stateProtocol, message: "too many requests before the session began"})
}

// begin checks what a client wants to begin.
func (l *Listener) begin(h *hello) (*hello, error) {
	params, err := pgwire.StartupParams(h.body)
	if err != nil {
		return nil, turnAway(h, &refusal{code: stateProtocol, message: err.Error()})
	}
	h.user, h.database = params["user"], params["database"]
	if h.database == "" {
		h.database = h.user
	}
	h.replication = wantsReplication(params["replication"])
	switch {
	case l.cfg.RequireTLS && !h.tls:
		return nil, turnAway(h, &refusal{code: stateAuthSpec, message: "this agent accepts encrypted connections only", hint: "Use sslmode=require."})
	case h.replication && l.deps.Observer == nil:
		return nil, turnAway(h, &refusal{code: stateNotSupported, message: "replication connections are not relayed", hint: "Connect to the primary directly."})
	}
	return h, nil
}

func wantsReplication(value string) bool {
	switch value {
	case "", "false", "off", "no", "0", "f", "n":
		return false
	}
	return true
}

// turnAway ends a connection that has not become a session with a FATAL error.
func turnAway(h *hello, r *refusal) error {
	r.severity = "FATAL"
	w := pgwire.NewWriter(h.conn, bufferSize)
	if err := w.Message(pgwire.ErrorResponse, r.body()); err != nil {
		return clientError(err)
	}
	if err := w.Flush(); err != nil {
		return clientError(err)
	}
	return errors.New(r.message)
}

// cancel relays a CancelRequest: keys pass unchanged, so that any agent can relay any.
func (l *Listener) cancel(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.AuthTimeout)
	defer cancel()
	server, err := l.deps.Upstream.Dial(ctx)
	if err != nil {
		return upstreamError(err)
	}
	defer func() { _ = server.Close() }()
	if err := server.SetDeadline(time.Now().Add(l.cfg.AuthTimeout)); err != nil {
		return upstreamError(err)
	}
	if _, err := server.Write(pgwire.UntypedPacket(body)); err != nil {
		return upstreamError(err)
	}
	// The server closes the connection once it has acted; the client waits for it.
	var one [1]byte
	if _, err := server.Read(one[:]); err != nil && !isClosed(err) {
		return upstreamError(err)
	}
	return nil
}
