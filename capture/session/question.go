package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// tellUntold tells the client of an error that the server gave to a look-up for a COMMIT in
// the simple protocol, where it has not heard of it: a COMMIT without any answer would be
// taken for one that is done (I1).
func (s *Session) tellUntold() error {
	s.mu.Lock()
	untold := s.untold
	s.untold = nil
	s.mu.Unlock()
	if untold == nil {
		return nil
	}
	return s.toClient(pgwire.ErrorResponse, pgwire.AppendFields(nil, untold.fields))
}

// question runs one of the agent's statements and waits for its answer.
func (s *Session) question(sql, name string, e *entry, extended bool) error {
	if !extended {
		if err := s.sendQuery(sql, e); err != nil {
			return err
		}
		return s.drain()
	}
	if err := s.runOwn(name, e); err != nil {
		return err
	}
	return s.drain()
}

// errQuestion says that the session itself could not answer a look-up.
var errQuestion = errors.New("the session's transaction has failed")

// querier asks the session itself, for objects that its open transaction made.
// It is a catalog.Querier; the session must be drained, and in the simple
// protocol, or between messages of the extended one.
type querier struct {
	s        *Session
	extended bool
	// quiet: the client never hears of an error of the server's.
	quiet bool
}

// Query implements catalog.Querier.
func (q querier) Query(_ context.Context, sql string, args ...string) ([][]event.Value, error) {
	s := q.s
	if err := s.drain(); err != nil {
		return nil, err
	}
	var rows [][]event.Value
	var failed error
	var answered *serverError
	e := &entry{kind: answerQuery, silent: true}
	var unreadable error
	e.onRow = func(values []pgwire.DataRowValue) {
		row, err := s.textRow(values)
		if err != nil {
			unreadable = err
		}
		rows = append(rows, row)
	}
	take := takeError(&answered, q.extended && !q.quiet)
	e.onError = func(fields []pgwire.Field) bool {
		taken := take(fields)
		s.untold = answered
		return taken
	}
	e.onFail = func() {
		failed = errQuestion
		if answered != nil {
			failed = fmt.Errorf("looking into the catalogue: %w", answered)
		}
	}
	var err error
	if q.extended {
		err = s.askExtended(sql, args, e)
	} else {
		text := inline(sql, args)
		if s.printsLenient(sql) {
			text, e.skipTags = stringsOn+"; "+text+"; "+stringsOff, 1
		}
		if err = s.sendQuery(text, e); err == nil {
			err = s.drain()
		}
	}
	if err == nil {
		err = failed
	}
	if err == nil {
		err = unreadable
	}
	return rows, err
}

// Kept implements catalog.Keeper. A session that looks on does not take its client's text
// apart, and may not see where it goes back to a savepoint.
func (q querier) Kept() (*catalog.Kept, error) {
	if err := q.s.drain(); err != nil || q.s.deps.Observer != nil {
		return nil, err
	}
	q.s.kept.PID = q.s.who.pid
	return &q.s.kept, nil
}

var _ catalog.Keeper = querier{}

// askExtended runs a question of the agent's that is not one of its prepared
// statements, under a name that goes with it.
func (s *Session) askExtended(sql string, args []string, e *entry) error {
	const name = "opmux_question"
	silent := func(kind answerKind) *entry { return &entry{kind: kind, silent: true, onError: e.onError} }
	// One whose Execute failed is still there: the Close behind it was skipped.
	if err := s.send(pgwire.Close, pgwire.Target{Name: name}.Append(nil), silent(answerClose)); err != nil {
		return err
	}
	if err := s.sendParse(pgwire.ParseBody{Name: name, Text: sql}, silent(answerParse)); err != nil {
		return err
	}
	bind := pgwire.BindBody{Portal: name, Statement: name}
	for _, a := range args {
		written, err := s.written(a)
		if err != nil {
			return err
		}
		bind.Params = append(bind.Params, pgwire.Param{Value: []byte(written)})
	}
	if err := s.send(pgwire.Bind, bind.Append(nil), silent(answerBind)); err != nil {
		return err
	}
	if err := s.printing(sql, func() error {
		e.kind = answerExecute
		return s.send(pgwire.Execute, pgwire.ExecuteBody{Portal: name}.Append(nil), e)
	}); err != nil {
		return err
	}
	for _, t := range []pgwire.Target{{Portal: true, Name: name}, {Name: name}} {
		if err := s.send(pgwire.Close, t.Append(nil), silent(answerClose)); err != nil {
			return err
		}
	}
	if err := s.drain(); err != nil {
		return err
	}
	return s.endImplicit(true)
}
