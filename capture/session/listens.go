package session

import (
	"context"
	"errors"
	"strings"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// What a standalone command does on a condition (IF EXISTS, IF NOT EXISTS) is decided
// before its place: a transaction that makes or drops the object may come in between. So
// one that did nothing is recorded as nothing. The server says so in a notice, which the
// session may have turned off.

// conditionally tells whether a standalone command may find nothing to do.
func conditionally(p *classify.Plan) bool { return strings.Contains(strings.ToUpper(p.SQL), "EXISTS") }

// saysSkipped tells the server's notice of a command that found nothing to do.
func saysSkipped(fields []pgwire.Field) bool {
	if pgwire.FieldValue(fields, pgwire.FieldSeverityPlain) != "NOTICE" {
		return false
	}
	switch pgwire.FieldValue(fields, pgwire.FieldRoutine) { // they have no code of their own
	case "DropErrorMsgNonExistent", "ProcessUtilitySlow": // of DROP INDEX, of ALTER TABLE
		return true
	}
	return pgwire.FieldValue(fields, pgwire.FieldCode) == "42P07" // duplicate_table: it is there
}

// hides tells whether the client of a session with that client_min_messages does not
// get messages of a severity.
func hides(level, severity string) bool {
	switch severity {
	case "INFO":
		return false
	case "WARNING":
		return level == "error"
	}
	return level == "warning" || level == "error"
}

const (
	listenSQL = `SELECT pg_catalog.current_setting('client_min_messages'), pg_catalog.set_config('client_min_messages', ` +
		`CASE WHEN pg_catalog.current_setting('client_min_messages') OPERATOR(pg_catalog.=) ANY ('{warning,error}') THEN 'notice' ` +
		`ELSE pg_catalog.current_setting('client_min_messages') END, false)`
	unlistenSQL = `SELECT pg_catalog.set_config('client_min_messages', $1, false)`
)

// listens has the server tell whether a conditional command found something to do.
func (s *Session) listens(st *standing, p *classify.Plan, extended bool) error {
	if !conditionally(p) {
		return nil
	}
	rows, err := s.askAlone(listenSQL, extended)
	if err != nil {
		return err
	}
	if level := string(rows[0][0].Text); hides(level, "NOTICE") {
		st.hidden = level
	}
	return nil
}

// listensNoMore gives the session its setting back. In a pipeline that has failed the
// client's Sync comes first.
func (s *Session) listensNoMore(st *standing, extended bool) error {
	if st.hidden == "" {
		return nil
	}
	if extended && s.failing() {
		s.hidden = st.hidden
		return nil
	}
	return s.giveLevelBack(st.hidden, extended)
}

// giveLevelBack sets client_min_messages as the client had it, and again where a cancel,
// or a timeout, hits that: the client's command has ended, and must not be taken for failed.
func (s *Session) giveLevelBack(level string, extended bool) error {
	for range rollbackAttempts {
		_, err := querier{s: s, extended: extended, quiet: true}.Query(context.Background(), unlistenSQL, level)
		var answered *serverError
		if err != nil && !errors.As(err, &answered) {
			return err
		}
		if extended {
			if err := s.drainSynced(); err != nil {
				return err
			}
		}
		if err == nil {
			return nil
		}
	}
	return violation("client_min_messages cannot be set back")
}

// syncListening is the client's Sync behind a command that failed, and gives the session
// its setting back.
func (s *Session) syncListening(m pgwire.Message) error {
	if err := s.sendRaw(m, &entry{kind: answerSync, holdReady: true}); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	level := s.hidden
	s.hidden, s.synced = "", true
	s.locked(func() { clear(s.portals) })
	if err := s.giveLevelBack(level, true); err != nil {
		return err
	}
	return s.ready(s.transactionStatus())
}

// askAlone asks outside of the client's transactions.
func (s *Session) askAlone(sql string, extended bool) ([][]event.Value, error) {
	rows, err := querier{s: s, extended: extended}.Query(context.Background(), sql)
	if err == nil && extended {
		err = s.drainSynced()
	}
	return rows, err
}
