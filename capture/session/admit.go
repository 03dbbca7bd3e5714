package session

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/wire/pgwire"
)

// acceptPause is how long the listener waits where the system has no room for
// another connection.
const acceptPause = 100 * time.Millisecond

// accepting takes the next client that there is room for; nil: the listener is
// closed. What is refused here has not said a word, so it is not answered.
func (l *Listener) accepting(ctx context.Context, ln net.Listener) (net.Conn, error) {
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				_ = conn.Close()
			}
			return nil, nil
		case err != nil && !passing(err):
			return nil, err
		case err != nil:
			l.deps.Log.Warn("no room for another client in the system; raise the limit of open files (ulimit -n), or lower listen.max_sessions", zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		if l.connections.Add(1) <= int64(l.limits.Sessions+2*l.limits.Handshakes) {
			return conn, nil
		}
		l.connections.Add(-1)
		l.deps.Metrics.failedStarts.Inc()
		l.deps.Log.Debug("connection closed at once: more wait than are served", zap.String("client", conn.RemoteAddr().String()))
		_ = conn.Close()
	}
}

// passing tells errors of the system's that end by themselves: sessions that close
// give back what is missing, so the agent must not end for them.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// notStarted logs why a client did not become a session: what breaks the protocol
// or says nothing is worth a line, one that goes away is not.
func (l *Listener) notStarted(log *zap.Logger, err error) {
	l.deps.Metrics.failedStarts.Inc()
	var broken *pgwire.ProtocolError
	if errors.As(err, &broken) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		log.Info("client did not become a session", zap.Error(err))
		return
	}
	log.Debug("client did not become a session", zap.Error(err))
}
