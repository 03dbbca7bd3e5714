package session

import (
	"context"
	"errors"
	"time"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// back reads the primary and works off the queue until the connection ends.
func (s *Session) back(ctx context.Context) error {
	for {
		// Between the statements of one Query the server sends nothing by itself: a client
		// that saw one answer early would wait for the next where it waits for none now.
		if s.sr.Buffered() == 0 && (!s.readyKept || !s.inParts.Load()) {
			if err := s.flushClient(); err != nil {
				return err
			}
		}
		s.readyKept = false
		typ, _, err := s.sr.Header()
		if err != nil {
			return upstreamError(err)
		}
		if err := s.answer(ctx, typ); err != nil {
			return err
		}
	}
}

// answer deals with one message of the primary's.
func (s *Session) answer(ctx context.Context, typ byte) error {
	switch typ {
	case pgwire.NotificationResponse:
		return s.stream()
	case pgwire.NoticeResponse:
		return s.notice()
	case pgwire.ParameterStatus:
		return s.parameter()
	}
	s.mu.Lock()
	var e *entry
	if len(s.queue) > 0 {
		e = s.queue[0]
	}
	s.mu.Unlock()
	if e == nil {
		return s.unasked(typ)
	}
	if err := e.expect(typ); err != nil {
		return err
	}
	if e.exec != nil && typ == pgwire.DataRow {
		e.exec.returned++
	}
	if streams(typ) && !e.silent && (e.exec == nil || e.exec.plan.Hidden == 0) && !e.explains() {
		return s.stream()
	}
	m, err := s.sr.Message(s.cfg.MaxMessage)
	if err != nil {
		if large := asTooLarge(err); large != nil {
			// A row whose hidden columns cannot be taken out: to go on without it
			// would lose it, so the session ends, and its transaction with it.
			return s.die(tooLarge(large))
		}
		return upstreamError(err)
	}
	return s.matched(ctx, e, m)
}

// streams tells whether messages of that type may be of any size and pass unread.
func streams(typ byte) bool { return typ == pgwire.DataRow || typ == pgwire.CopyData }

// stream forwards the next message without holding it.
func (s *Session) stream() error {
	s.downMu.Lock()
	defer s.downMu.Unlock()
	return s.sr.CopyTo(s.down)
}

// matched deals with a message of the answer that the head of the queue awaits.
func (s *Session) matched(ctx context.Context, e *entry, m pgwire.Message) error {
	switch m.Type {
	case pgwire.ErrorResponse:
		return s.errorAnswer(e, m)
	case pgwire.ReadyForQuery:
		return s.readyAnswer(e, m)
	case pgwire.CommandComplete:
		return s.tagAnswer(ctx, e, m)
	case pgwire.DataRow:
		return s.rowAnswer(ctx, e, m)
	case pgwire.RowDescription:
		return s.describeAnswer(e, m)
	case pgwire.NoData, pgwire.ParseComplete, pgwire.BindComplete, pgwire.CloseComplete:
		return s.ended(ctx, e, m)
	case pgwire.EmptyQueryResponse, pgwire.PortalSuspended:
		if e.kind == answerExecute {
			return s.ended(ctx, e, m)
		}
	case pgwire.ParameterDescription:
		return s.parametersAnswer(e, m)
	case pgwire.CopyInResponse, pgwire.CopyBothResponse:
		return s.copyInAnswer(e, m)
	}
	return s.pass(e, m)
}

// pass forwards a message unless the agent asked for it.
func (s *Session) pass(e *entry, m pgwire.Message) error {
	if e.silent {
		return nil
	}
	s.downMu.Lock()
	defer s.downMu.Unlock()
	if err := s.down.Write(m.Raw); err != nil {
		return clientError(err)
	}
	return nil
}

// ended forwards the last message of an answer and takes the entry off.
func (s *Session) ended(ctx context.Context, e *entry, m pgwire.Message) error {
	if m.Type == pgwire.PortalSuspended && e.exec != nil && !e.portal.limited {
		// Nobody would fetch its rows before the commit (I1).
		return violation("a portal that was executed without a limit is suspended")
	}
	if err := s.pass(e, m); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Type == pgwire.PortalSuspended && e.exec != nil {
		s.suspended(ctx, e)
	}
	e.done()
	s.pop()
	s.spare(e)
	return nil
}

// suspended notes that a portal holds rows that the client did not ask for yet.
// Callers hold s.mu.
func (s *Session) suspended(ctx context.Context, e *entry) {
	if e.exec.plan.Kind == classify.Draw || e.exec.plan.ByTriggers {
		// It runs no further than the client fetches.
		s.finish(ctx, e.exec, "")
		return
	}
	e.portal.suspended, e.exec.partial = true, true
	if !e.exec.lost() {
		e.exec.tx.place(e.exec)
	}
}

// tagAnswer deals with CommandComplete.
func (s *Session) tagAnswer(ctx context.Context, e *entry, m pgwire.Message) error {
	if e.skipTags > 0 {
		e.skipTags--
		return nil
	}
	tag := pgwire.Tag(m.Body())
	full := e.exec.full()
	if own := e.exec.tagOf(tag); full {
		m = pgwire.Message{Type: pgwire.PortalSuspended, Raw: pgwire.AppendMessage(nil, pgwire.PortalSuspended, nil)}
	} else if own != tag {
		m = pgwire.Message{Type: m.Type, Raw: pgwire.AppendMessage(nil, m.Type, append([]byte(own), 0))}
	}
	s.locked(func() {
		if e.hold {
			s.held = append(s.held, m.Raw...)
		}
		s.completed(ctx, e, tag)
	})
	if !e.hold {
		if e.warning != nil {
			if err := s.toClient(pgwire.NoticeResponse, s.inWords(e.warning)); err != nil {
				return err
			}
		}
		if err := s.pass(e, m); err != nil {
			return err
		}
	}
	if e.kind == answerExecute {
		s.mu.Lock()
		e.done()
		s.pop()
		s.spare(e)
		s.mu.Unlock()
	}
	return nil
}

// completed runs what waits for a command's end. Callers hold s.mu.
func (s *Session) completed(ctx context.Context, e *entry, tag string) {
	if e.exec != nil {
		s.finish(ctx, e.exec, tag)
	}
	if e.onTag != nil {
		e.onTag(tag)
	}
}

// errorAnswer deals with ErrorResponse: in the extended protocol it ends every
// answer up to the next Sync.
func (s *Session) errorAnswer(e *entry, m pgwire.Message) error {
	fields, err := pgwire.DecodeFields(m.Body())
	if err != nil {
		return upstreamError(err)
	}
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
	if err := s.tellError(e, m, fields); err != nil {
		return err
	}
	if isFatal(fields) {
		// Not an answer but the connection's end: what was under way may have
		// taken effect or not.
		return errors.Join(s.flushClient(), upstreamError(errors.New(pgwire.FieldValue(fields, pgwire.FieldMessage))))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail(e)
	e.onFail, e.binds, e.exec = nil, nil, nil
	if s.copyIn {
		// The front may be waiting for data of a client that waits for this answer.
		s.copyIn = false
		_ = s.client.SetReadDeadline(time.Unix(1, 0))
	}
	if e.kind != answerQuery && e.kind != answerFunction && e.kind != answerSync {
		s.skip()
	}
	return nil
}

// tellError sends the client the error that it is to see, if any. An error of a
// question of the agent's own (a COMMIT that fails, a cancel that came late) has
// made the client's transaction fail, so the client must hear of it, unless the
// entry takes it.
func (s *Session) tellError(e *entry, m pgwire.Message, fields []pgwire.Field) error {
	if e.onError != nil {
		s.mu.Lock()
		taken := e.onError(fields)
		s.mu.Unlock()
		if taken {
			return nil
		}
	}
	if e.refusal != nil {
		return s.refuse(e.refusal)
	}
	if e.binds.returnsOthers(fields) {
		return s.refuse(moved("a table that it writes has other columns by now"))
	}
	if e.where != nil {
		for i := range fields {
			if fields[i].Code == pgwire.FieldWhere {
				fields[i].Value = e.where(fields[i].Value)
			}
		}
		return s.toClient(m.Type, pgwire.AppendFields(nil, fields))
	}
	if e.shift != 0 || e.original != nil {
		return s.toClient(m.Type, pgwire.AppendFields(nil, e.inClientsText(fields)))
	}
	return s.toClient(m.Type, m.Body())
}

// readyAnswer deals with ReadyForQuery.
func (s *Session) readyAnswer(e *entry, m pgwire.Message) error {
	s.mu.Lock()
	was, failed := s.status, s.failed
	s.mu.Unlock()
	if err := e.endsWell(m.Body(), was, failed); err != nil {
		return err
	}
	status := m.Body()[0]
	s.readyKept = !e.passReady && (e.silent || e.hold || e.holdReady || (e.unless != nil && e.unless(status)))
	if !s.readyKept {
		if err := s.toClient(m.Type, m.Body()); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
	if !s.failed {
		e.done()
	}
	s.skipping, s.failed, s.copyIn = false, false, false
	s.pop()
	s.spare(e)
	return nil
}

// rowAnswer deals with a DataRow whose hidden columns are the agent's.
func (s *Session) rowAnswer(ctx context.Context, e *entry, m pgwire.Message) error {
	if e.silent && e.exec == nil {
		if e.onRow == nil {
			return nil
		}
		_, values, err := s.row.split(m.Body(), 0)
		if err != nil {
			return upstreamError(err)
		}
		s.locked(func() { e.onRow(values) })
		s.row.done()
		return nil
	}
	x := e.exec
	if x == nil {
		return s.pass(e, m)
	}
	if e.explains() {
		return s.explainRow(e, m)
	}
	keep, err := x.hiddenAt(pgwire.Columns(m.Body()))
	if err != nil {
		return err
	}
	body, values, err := s.row.split(m.Body(), keep)
	if err != nil {
		return upstreamError(err)
	}
	defer s.row.done()
	s.locked(func() { s.addRow(ctx, x, values) })
	if !x.clients(values) || e.silent || x.plan.ClientColumns < 0 {
		return nil
	}
	return s.toClient(m.Type, body)
}
