package session

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/opmux/opmux/internal/socket"
	"github.com/opmux/opmux/wire/pgwire"
)

// Limits bound what a listener serves at once (I7).
type Limits struct {
	// Sessions and Handshakes bound sessions, and connections that authenticate.
	// Twice as many may be open beside the sessions: the others wait for their turn.
	Sessions, Handshakes int
	// Drain is how long a stopping listener waits for open transactions.
	Drain time.Duration
}

// Listener accepts clients and serves each in a session of its own.
type Listener struct {
	cfg    *Config
	deps   *Deps
	limits Limits
	shapes *shapes
	// contexts are those of its sessions.
	contexts contexts

	handshakes  *semaphore.Weighted
	share       *share
	mu          sync.Mutex
	live        map[*Session]struct{}
	draining    bool
	wait        sync.WaitGroup
	connections atomic.Int64
}

// NewListener returns a Listener for sessions of that configuration.
func NewListener(cfg Config, deps Deps, limits Limits) *Listener {
	if cfg.ClientTLS != nil {
		cfg.ClientTLS = cfg.ClientTLS.Clone()
		cfg.ClientTLS.NextProtos = []string{pgwire.ALPN}
	}
	return &Listener{cfg: &cfg, deps: &deps, limits: limits, shapes: newShapes(),
		share:      newShare(cfg.OpenBytes, &deps.Metrics.open),
		handshakes: semaphore.NewWeighted(int64(limits.Handshakes)), live: map[*Session]struct{}{}}
}

// Run accepts from ln until ctx ends, and returns when every session has ended:
// sessions outside of a transaction at once, the others when theirs is over, or
// Limits.Drain later.
func (l *Listener) Run(ctx context.Context, ln net.Listener) error {
	sessions, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		conn, err := l.accepting(ctx, ln)
		if err != nil {
			return fmt.Errorf("accepting clients on %s: %w", ln.Addr(), err)
		}
		if conn == nil {
			break
		}
		l.wait.Add(1)
		go func() {
			defer l.wait.Done()
			defer l.connections.Add(-1)
			l.serve(sessions, socket.Direct(conn))
		}()
	}
	l.drain(end)
	return nil
}

// drain waits for sessions to leave their transactions.
func (l *Listener) drain(end context.CancelFunc) {
	l.mu.Lock()
	l.draining = true
	for s := range l.live {
		s.wake()
	}
	l.mu.Unlock()
	timer := time.AfterFunc(l.limits.Drain, end)
	defer timer.Stop()
	l.wait.Wait()
}

// CloseSessions ends every session, as when the agent's epoch is over. A
// session that waits for a client in no transaction ends at once; one that is
// inside a transaction ends with its next message.
func (l *Listener) CloseSessions() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.live {
		s.wake()
	}
}

func (l *Listener) serve(ctx context.Context, conn net.Conn) {
	log := l.deps.Log.With(zap.String("client", conn.RemoteAddr().String()))
	var s *Session
	err := guard(l.deps.Metrics, "start", func() (err error) {
		s, err = l.accept(ctx, conn)
		return err
	})
	if err != nil {
		l.notStarted(log, err)
	}
	if s == nil {
		_ = conn.Close()
		return
	}
	if !l.enter(s) {
		err = s.die(&refusal{code: stateShutdown, message: "the agent is stopping or has no room for another session", hint: "Connect again later."})
		s.close()
		log.Debug("session refused", zap.Error(err))
		return
	}
	defer l.leave(s)
	if err := s.serve(ctx); err != nil {
		log.Warn("session ended", zap.String("user", s.user), zap.Error(err))
	}
}

func (l *Listener) enter(s *Session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining || len(l.live) >= l.limits.Sessions {
		return false
	}
	l.live[s] = struct{}{}
	l.deps.Metrics.sessions.Inc()
	return true
}

func (l *Listener) leave(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, s)
	l.deps.Metrics.sessions.Dec()
}

// stopping tells whether sessions are to end where they are in no transaction.
func (l *Listener) stopping() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.draining
}
