package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/wire/pgwire"
)

// authenticate relays the exchange between client and server untouched, up to
// the server's AuthenticationOk. False: the server has refused the client, and
// the client has heard so.
func (s *Session) authenticate(h *hello) (bool, error) {
	if err := s.server.SetDeadline(time.Now().Add(s.cfg.AuthTimeout)); err != nil {
		return false, err
	}
	if _, err := s.server.Write(pgwire.UntypedPacket(h.body)); err != nil {
		return false, upstreamError(err)
	}
	for {
		m, err := s.sr.Message(maxAuthMessage)
		if err != nil {
			return false, upstreamError(err)
		}
		switch m.Type {
		case pgwire.ErrorResponse:
			return false, errors.Join(s.toClient(m.Type, m.Body()), s.flushClient())
		case pgwire.NegotiateProtocol, pgwire.NoticeResponse:
			err = s.toClient(m.Type, m.Body())
		case pgwire.Authentication:
			if pgwire.AuthCode(m.Body()) == pgwire.AuthOK {
				return true, s.toClient(m.Type, m.Body())
			}
			err = s.authStep(h, m)
		default:
			err = upstreamError(&pgwire.ProtocolError{What: fmt.Sprintf("message %q during authentication", m.Type)})
		}
		if err != nil {
			return false, err
		}
	}
}

// authStep relays one question of the server's and the client's answer to it.
func (s *Session) authStep(h *hello, m pgwire.Message) error {
	code := pgwire.AuthCode(m.Body())
	body := m.Body()
	binding := false // the server offers to bind to its channel
	if code == pgwire.AuthSASL {
		body, binding = s.offer(h, body)
	}
	if err := s.toClient(m.Type, body); err != nil {
		return err
	}
	if err := s.flushClient(); err != nil {
		return err
	}
	if code == pgwire.AuthSASLFinal {
		return nil
	}
	answer, err := s.cr.Message(maxAuthMessage)
	if err != nil {
		if code == pgwire.AuthSASL && h.tls && !binding && isClosed(err) {
			s.log.Info(leftUnbound, zap.String("user", h.user))
		}
		return clientError(err)
	}
	if answer.Type != pgwire.PasswordData {
		return clientError(&pgwire.ProtocolError{What: fmt.Sprintf("message %q during authentication", answer.Type)})
	}
	if binding && h.tls {
		if err := s.bindable(answer.Body()); err != nil {
			return err
		}
	}
	if err := s.up.Write(answer.Raw); err != nil {
		return upstreamError(err)
	}
	if err := s.up.Flush(); err != nil {
		return upstreamError(err)
	}
	return nil
}

// introduce relays what the server says of a new session and, before the client
// hears that it is ready, asks who and where the session is.
func (s *Session) introduce() error {
	for {
		m, err := s.sr.Message(maxAuthMessage)
		if err != nil {
			return upstreamError(err)
		}
		if m.Type == pgwire.ReadyForQuery {
			break
		}
		if m.Type == pgwire.BackendKeyData {
			if err := pgwire.CheckKeyData(m.Body()); err != nil {
				return upstreamError(err)
			}
		}
		if err := s.noteParameter(m); err != nil {
			return err
		}
		if err := s.toClient(m.Type, m.Body()); err != nil {
			return err
		}
		if m.Type == pgwire.ErrorResponse {
			return errors.Join(s.flushClient(), errors.New("the primary refused the session"))
		}
	}
	if err := s.ask(identitySQL, s.identify); err != nil {
		return err
	}
	if err := s.ask(probeSQL, func(row []pgwire.DataRowValue) error {
		p, err := s.parseProbe(row, nil)
		if err == nil {
			s.context, s.lastContext, s.who.pid = p.context, p.context, p.pid
		}
		return err
	}); err != nil {
		return err
	}
	if s.deps.Observer != nil {
		s.deps.Observer.Session(s.who.systemID)
	} else if r := s.wrongPrimary(); r != nil {
		return s.die(r)
	}
	return s.ready(pgwire.StatusIdle)
}

// noteParameter takes what a message before the session begins says of how its text is read.
func (s *Session) noteParameter(m pgwire.Message) error {
	if m.Type != pgwire.ParameterStatus {
		return nil
	}
	name, value, err := pgwire.DecodeParameterStatus(m.Body())
	if err != nil {
		return upstreamError(err)
	}
	switch name {
	case encodingSetting:
		s.clientEncoding = value
	case "server_encoding":
		s.serverEncoding = value
	case stringsSetting:
		s.lenient = value == stringsLenient
	}
	return nil
}

// ask runs one of the agent's questions before the session is served.
func (s *Session) ask(sql string, row func([]pgwire.DataRowValue) error) error {
	if err := s.up.Message(pgwire.Query, pgwire.AppendQuery(nil, sql)); err != nil {
		return upstreamError(err)
	}
	if err := s.up.Flush(); err != nil {
		return upstreamError(err)
	}
	var failed error
	for {
		m, err := s.sr.Message(maxAuthMessage)
		if err != nil {
			return upstreamError(err)
		}
		switch m.Type {
		case pgwire.ReadyForQuery:
			return failed
		case pgwire.ParameterStatus, pgwire.NoticeResponse, pgwire.NotificationResponse:
			if err := s.toClient(m.Type, m.Body()); err != nil {
				return err
			}
		case pgwire.ErrorResponse:
			fields, err := pgwire.DecodeFields(m.Body())
			if err != nil {
				return upstreamError(err)
			}
			failed = fmt.Errorf("asking the session who it is: %s", pgwire.FieldValue(fields, pgwire.FieldMessage))
			if err := s.die(&refusal{code: stateUpstream, message: failed.Error()}); !errors.Is(err, errEnded) {
				return err
			}
			return failed
		case pgwire.DataRow:
			_, values, err := pgwire.SplitDataRow(m.Body(), 0, nil, nil)
			if err == nil {
				err = row(values)
			}
			if err != nil {
				return err
			}
		}
	}
}

// identify reads the row of identitySQL.
func (s *Session) identify(row []pgwire.DataRowValue) error {
	if len(row) != 6 {
		return fmt.Errorf("identity has %d columns, expected 6", len(row))
	}
	user, ok := s.charset().decode(row[0].Value)
	if !ok {
		return fmt.Errorf("the name of the session's user cannot be read in client_encoding %s", s.clientEncoding)
	}
	s.who.user, s.who.application = string(user), string(row[1].Value)
	s.who.systemID = string(row[3].Value)
	s.who.recovery = string(row[5].Value) == "t"
	var err error
	if s.who.backendStart, err = strconv.ParseInt(string(row[2].Value), 10, 64); err != nil {
		return fmt.Errorf("identity: start of the backend: %w", err)
	}
	if s.who.started, err = strconv.ParseInt(string(row[4].Value), 10, 64); err != nil {
		return fmt.Errorf("identity: start of the server: %w", err)
	}
	return nil
}

// wrongPrimary refuses a session on another server, or another start of it, than
// the one that the agent's epoch was opened for: outcomes are settled by that.
func (s *Session) wrongPrimary() *refusal {
	want := s.ledger.Primary()
	switch {
	case s.who.recovery:
		return &refusal{code: stateNotReady, message: "the primary is in recovery: it is a standby, or has not started wholly"}
	case want.SystemID != "" && want.SystemID != s.who.systemID:
		return &refusal{code: stateNotReady, message: "the server is not the primary that this agent captures: its system identifier is " +
			s.who.systemID + ", expected " + want.SystemID}
	case want.Started != 0 && want.Started != s.who.started:
		return &refusal{code: stateNotReady, message: "the primary has restarted; the agent opens a new epoch", hint: "Connect again."}
	}
	return nil
}

// relay carries a session that is not captured, byte by byte, once it has authenticated.
func (s *Session) relay(ctx context.Context) error {
	if err := errors.Join(s.flushClient(), s.client.SetDeadline(time.Time{}), s.server.SetDeadline(time.Time{})); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	defer s.close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.Copy(s.client, s.sr.Rest())
		s.noteEnd(err)
		s.close()
	}()
	_, err := io.Copy(s.server, s.cr.Rest())
	s.noteEnd(err)
	s.close()
	<-done
	return nil
}

func (s *Session) noteEnd(err error) {
	if err != nil && !isClosed(err) {
		s.log.Debug("uncaptured session", zapError(err))
	}
}
