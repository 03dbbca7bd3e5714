package session

import (
	"context"
	"errors"

	"github.com/opmux/opmux/wire/pgwire"
)

// copyData relays and captures the data of a COPY … FROM STDIN, from the
// server's readiness for it to the client's end of it.
func (s *Session) copyData(ctx context.Context, x *execution) error {
	if err := s.up.Flush(); err != nil {
		return upstreamError(err)
	}
	s.mu.Lock()
	for len(s.queue) > 0 && !s.copyIn && s.backErr == nil {
		s.empty.Wait()
	}
	err := s.backErr
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for s.takesCopyData() {
		if s.cr.Buffered() == 0 {
			if err := s.up.Flush(); err != nil {
				return upstreamError(err)
			}
		}
		typ, _, err := s.cr.Header()
		if err != nil {
			return clientError(err)
		}
		done, err := s.copyMessage(ctx, x, typ)
		if err != nil || done {
			return err
		}
	}
	return nil
}

// takesCopyData tells whether the server still waits for COPY data: an error
// ends that from its side.
func (s *Session) takesCopyData() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copyIn
}

// copyMessage deals with one message of the client's during COPY; true: the
// client has ended it, or left it.
func (s *Session) copyMessage(ctx context.Context, x *execution, typ byte) (bool, error) {
	switch typ {
	case pgwire.Sync, pgwire.Flush:
		return false, s.cr.Discard() // as the server does in this state
	case pgwire.CopyDone, pgwire.CopyFail:
		s.mu.Lock()
		s.copyIn = false
		if x.scan != nil && x.tx.broken == nil {
			x.tx.broken = x.scan.Close()
		}
		s.mu.Unlock()
		return true, s.forward()
	case pgwire.CopyData:
	default:
		return true, nil
	}
	m, err := s.cr.Message(s.cfg.MaxMessage)
	var large *pgwire.TooLargeError
	if errors.As(err, &large) {
		s.mu.Lock()
		x.tx.broken = large
		s.mu.Unlock()
		return false, s.forward()
	}
	if err != nil {
		return false, clientError(err)
	}
	err = s.locked(func() error {
		x.data = append(x.data, m.Body()...)
		if x.scan != nil && x.tx.broken == nil {
			x.tx.broken = x.scan.Scan(m.Body())
		}
		if len(x.data) < s.cfg.ChunkBytes {
			return nil
		}
		return s.makePart(ctx, x, true)
	})
	if err != nil {
		return false, err
	}
	if err := s.up.Write(m.Raw); err != nil {
		return false, upstreamError(err)
	}
	return false, nil
}
