package session

import "github.com/opmux/opmux/wire/pgwire"

// unasked deals with a message that answers nothing: the server's last words
// (FATAL), or a protocol that the agent does not follow.
func (s *Session) unasked(typ byte) error {
	if err := s.stream(); err != nil {
		return err
	}
	if err := s.flushClient(); err != nil {
		return err
	}
	if typ == pgwire.ErrorResponse {
		return nil // the connection ends by itself behind it
	}
	return upstreamError(&pgwire.ProtocolError{What: "message " + string(rune(typ)) + " answers nothing"})
}

// notice forwards a warning; its position counts from the client's own text.
func (s *Session) notice() error {
	s.mu.Lock()
	var e *entry
	if len(s.queue) > 0 {
		e = s.queue[0]
	}
	s.mu.Unlock()
	if e == nil || !e.moves() && !e.muteWarning && e.onNotice == nil {
		return s.stream()
	}
	m, err := s.sr.Message(s.cfg.MaxMessage)
	if err != nil {
		return upstreamError(err)
	}
	fields, err := pgwire.DecodeFields(m.Body())
	if err != nil {
		return upstreamError(err)
	}
	if e.muteWarning && pgwire.FieldValue(fields, pgwire.FieldCode) == stateActiveTransaction {
		return nil
	}
	if e.onNotice != nil {
		muted := false
		s.locked(func() { muted = e.onNotice(fields) })
		if muted {
			return nil
		}
	}
	return s.toClient(m.Type, pgwire.AppendFields(nil, e.inClientsText(fields)))
}

// parameter forwards a setting that the server reports. It may be one that
// changes what statements mean, so the known context is void, unless it was asked
// for since: the server reports what changed with its next ReadyForQuery only.
func (s *Session) parameter() error {
	m, err := s.sr.Message(s.cfg.MaxMessage)
	if err != nil {
		return upstreamError(err)
	}
	name, value, err := pgwire.DecodeParameterStatus(m.Body())
	if err != nil {
		return upstreamError(err)
	}
	s.mu.Lock()
	switch name {
	case "application_name":
		s.who.application = value
	case "in_hot_standby", "is_superuser", "session_authorization":
	case encodingSetting:
		s.clientEncoding = value
		if s.context != nil && s.context.encoding != value {
			s.context = nil
		}
	case stringsSetting:
		s.lenient = value == stringsLenient
		if s.context != nil && s.context.lenient != s.lenient {
			s.context = nil
		}
	default:
		if s.context != nil && s.context.setting(name) != value {
			s.context = nil
		}
	}
	s.mu.Unlock()
	return s.toClient(m.Type, m.Body())
}
