package session

import (
	"context"
	"errors"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// copyData relays the data of a COPY … FROM STDIN, from the server's readiness for
// it to the client's end of it, and captures it for x, which is nil where it is
// not published. It returns at once where the server takes no data.
func (s *Session) copyData(ctx context.Context, x *execution) error {
	if x != nil && x.plan.Kind != classify.Copy {
		x = nil
	}
	if err := s.awaitCopyIn(); err != nil {
		return err
	}
	for s.takesCopyData() {
		typ, ready, err := s.copyHeader()
		if err != nil {
			return err
		}
		if !ready {
			continue
		}
		if !s.takesCopyData() {
			return nil // it failed meanwhile, and what came is no part of it
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
// client has ended it.
func (s *Session) copyMessage(ctx context.Context, x *execution, typ byte) (bool, error) {
	switch typ {
	case pgwire.Sync, pgwire.Flush:
		return false, s.cr.Discard() // as the server does in this state
	case pgwire.CopyDone, pgwire.CopyFail:
		s.mu.Lock()
		s.copyIn = false
		if x != nil && !x.lost() {
			if err := x.closeCopy(); err != nil {
				x.tx.fail(err)
			}
		}
		s.mu.Unlock()
		return true, s.forward()
	case pgwire.CopyData:
		if x == nil {
			return false, s.forward()
		}
	case pgwire.Terminate:
		return true, errEnded
	default:
		return true, s.die(&refusal{code: stateProtocol, message: "message type " + string(rune(typ)) + " during COPY from stdin"})
	}
	m, err := s.cr.Message(s.cfg.MaxMessage)
	var large *pgwire.TooLargeError
	if errors.As(err, &large) {
		s.mu.Lock()
		x.tx.fail(large)
		s.mu.Unlock()
		return false, s.forward()
	}
	if err != nil {
		return false, clientError(err)
	}
	s.keepCopyData(ctx, x, m.Body())
	if err := s.up.Write(m.Raw); err != nil {
		return false, upstreamError(err)
	}
	return false, nil
}

// closeCopy takes the end of the stream.
func (x *execution) closeCopy() error {
	if err := x.copy.close(); err != nil || x.scan == nil {
		return err
	}
	return x.scan.Close()
}

// keepCopyData captures one piece of the stream.
func (s *Session) keepCopyData(ctx context.Context, x *execution, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.lost() {
		return
	}
	data, err := x.copy.read(s.charset(), data)
	if err != nil {
		x.tx.fail(err)
		return
	}
	if x.scan != nil {
		if err := x.scan.Scan(data); err != nil {
			x.tx.fail(err)
			return
		}
	}
	if x.passing {
		return
	}
	x.data = append(x.data, data...)
	if x.keep(len(data)); len(x.data) >= s.piece() {
		s.makePart(ctx, x, true)
	}
}

// copyInAnswer deals with the server's readiness for COPY data. The front, which
// waits with an Execute or Query of a captured COPY, is woken.
func (s *Session) copyInAnswer(e *entry, m pgwire.Message) error {
	if err := s.pass(e, m); err != nil {
		return err
	}
	if err := s.flushClient(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copyIn = true
	s.empty.Broadcast()
	return nil
}
