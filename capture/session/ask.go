package session

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// The agent's own prepared statements: in the extended protocol a Query would
// destroy the client's unnamed statement.
const (
	ownBegin       = "opmux_begin"
	ownCommit      = "opmux_commit"
	ownRollback    = "opmux_rollback"
	ownProbe       = "opmux_probe"
	ownConstraints = "opmux_constraints"
	ownXID         = "opmux_xid"
	ownLockDDL     = "opmux_lock_ddl"
	ownLockNames   = "opmux_lock_names"
	ownDurable     = "opmux_durable"
	ownSwitchOn    = "opmux_switch_on"
	ownTake        = "opmux_take"
	ownSavepoint   = "opmux_savepoint"
	ownUnmoved     = "opmux_unmoved"
	ownUnguard     = "opmux_rollback_to"
)

const (
	constraintsSQL = "SET CONSTRAINTS ALL IMMEDIATE"
	xidSQL         = "SELECT pg_catalog.pg_current_xact_id()"
	// Higher levels than local stay what they are.
	durableSQL = "SELECT pg_catalog.set_config('synchronous_commit', CASE WHEN pg_catalog.current_setting('synchronous_commit') " +
		"OPERATOR(pg_catalog.=) 'off' THEN 'local' ELSE pg_catalog.current_setting('synchronous_commit') END, true)"
)

var ownSQL = map[string]string{
	ownBegin: "BEGIN", ownCommit: "COMMIT", ownRollback: "ROLLBACK", ownProbe: probeSQL, ownConstraints: constraintsSQL, ownXID: xidSQL, ownLockDDL: catalog.LockDDL, ownLockNames: catalog.LockNames,
	ownDurable: durableSQL, ownSwitchOn: catalog.SwitchOn, ownTake: catalog.TakeSQL,
	ownStringsOn: "SELECT pg_catalog.set_config('standard_conforming_strings', 'on', true)", ownStringsOff: "SELECT pg_catalog.set_config('standard_conforming_strings', 'off', true)",
	ownSavepoint: "SAVEPOINT opmux_commit", ownUnguard: "ROLLBACK TO SAVEPOINT opmux_commit",
}

// runOwn puts one of the agent's statements on its way by Bind and Execute; e is
// the entry of the Execute, whose onError hears of errors before it as well.
func (s *Session) runOwn(name string, e *entry, params ...pgwire.Param) error {
	s.mu.Lock()
	exists := s.prepared[name]
	s.prepared[name] = true
	unsure := s.unsure
	s.mu.Unlock()
	if !exists && unsure {
		if err := sendBody(s, pgwire.Close, pgwire.Target{Name: name}, s.plainEntry(answerClose, true)); err != nil {
			return err
		}
	}
	if !exists {
		fail := func() { delete(s.prepared, name) }
		text := ownSQL[name]
		if name == ownUnmoved {
			text = s.deps.Catalog.UnmovedSQL()
		}
		if err := s.send(pgwire.Parse, pgwire.ParseBody{Name: name, Text: text}.Append(nil),
			&entry{kind: answerParse, silent: true, onFail: fail, onError: e.onError}); err != nil {
			return err
		}
	}
	e.kind, e.silent = answerExecute, true
	// A portal of its own for each: one whose statement failed stays until the
	// transaction ends.
	bind := pgwire.BindBody{Portal: name, Statement: name, Params: params}
	if err := sendBody(s, pgwire.Bind, bind, s.ownBind(e.onError)); err != nil {
		return err
	}
	if err := sendBody(s, pgwire.Execute, pgwire.ExecuteBody{Portal: name}, e); err != nil {
		return err
	}
	return sendBody(s, pgwire.Close, pgwire.Target{Portal: true, Name: name}, s.plainEntry(answerClose, true))
}

// hideOwn closes the agent's statements before one that lists the session's. They are made again when
// they are needed.
func (s *Session) hideOwn(p *classify.Plan) error {
	if !p.ListsPrepared {
		return nil
	}
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.prepared))
	clear(s.prepared)
	s.mu.Unlock()
	for _, name := range names {
		if err := sendBody(s, pgwire.Close, pgwire.Target{Name: name}, s.plainEntry(answerClose, true)); err != nil {
			return err
		}
	}
	return nil
}

// ownBind is the entry of a Bind of an own statement. One that has gone was made in
// another process of the server's: the client hears of that, not of a statement that
// it never made.
func (s *Session) ownBind(onError func([]pgwire.Field) bool) *entry {
	e := s.plainEntry(answerBind, true)
	e.onError = func(fields []pgwire.Field) bool {
		if pgwire.FieldValue(fields, pgwire.FieldCode) == stateNoStatement {
			e.refusal = otherProcess
			return false
		}
		return onError != nil && onError(fields)
	}
	return e
}

// stateNoStatement says that there is no prepared statement of that name.
const stateNoStatement = "26000"

// probeEntry is the entry of a probe that rides behind a write.
func (s *Session) probeEntry(ctx context.Context, tx *txn) *entry {
	e := &entry{silent: true}
	e.onRow = func(values []pgwire.DataRowValue) {
		p, err := s.parseProbe(values, s.context)
		if err != nil {
			tx.fail(err)
			return
		}
		s.learn(ctx, tx, p)
	}
	return e
}

// ensureContext makes sure that the session's settings are known, asking the
// server where a command may have changed them. It waits for the answers of
// what was sent before. False: the pipeline has failed, and what comes is skipped.
func (s *Session) ensureContext(extended bool) (bool, error) {
	s.mu.Lock()
	known := s.context != nil
	s.mu.Unlock()
	if known {
		return true, nil
	}
	var rowErr error
	e := &entry{kind: answerQuery, silent: true}
	e.onRow = func(values []pgwire.DataRowValue) {
		p, err := s.parseProbe(values, nil)
		if err != nil {
			rowErr = err
			return
		}
		s.context = p.context
	}
	var failed *serverError
	e.onError = takeError(&failed, extended)
	if err := s.question(probeSQL, ownProbe, e, extended); err != nil {
		return false, err
	}
	if failed != nil {
		return false, failed
	}
	if rowErr != nil {
		return false, rowErr
	}
	if err := s.endImplicit(extended); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.context != nil, nil
}

// endImplicit ends the implicit transaction that a question opened at the head of
// the client's pipeline, or a BEGIN that follows there could not set its isolation.
func (s *Session) endImplicit(extended bool) error {
	if !extended || s.piped || s.failing() {
		return nil
	}
	if err := s.send(pgwire.Sync, nil, &entry{kind: answerSync, silent: true}); err != nil {
		return err
	}
	return s.drain()
}

// serverError is an error of the server's to a question of the agent's: a cancel,
// a timeout. The client's statement has not run, and the client gets the error.
type serverError struct{ fields []pgwire.Field }

func (e *serverError) Error() string { return pgwire.FieldValue(e.fields, pgwire.FieldMessage) }

// takeError keeps an error of a question in the simple protocol, for planFailed to
// tell. In the extended one the client gets it at once, and the server skips the
// statement that the question was asked for.
func takeError(failed **serverError, extended bool) func([]pgwire.Field) bool {
	return func(fields []pgwire.Field) bool {
		if extended || isFatal(fields) {
			return false
		}
		*failed = &serverError{fields}
		return true
	}
}

// drawXID gives a transaction that is to be recorded an id to settle it by, where
// it has none: sequences can be drawn from without one. True: that failed, and
// the client has been told.
func (s *Session) drawXID(tx *txn, extended bool) (bool, error) {
	if !s.probing(tx) {
		return false, nil
	}
	_, failed, err := s.askXID(tx, extended)
	return failed, err
}

// askXID has the server give the transaction its id.
func (s *Session) askXID(tx *txn, extended bool) (id uint64, failed bool, err error) {
	e := &entry{kind: answerQuery, silent: true, onFail: func() { failed = true }}
	e.onRow = func(values []pgwire.DataRowValue) {
		if len(values) == 0 {
			return
		}
		xid, err := strconv.ParseUint(string(values[0].Value), 10, 64)
		if err != nil {
			return
		}
		if id = xid; tx.probe != nil {
			tx.probe.xid = xid
		}
	}
	err = s.question(xidSQL, ownXID, e, extended)
	return id, failed, err
}

// durable has the transaction's commit flushed before it is answered, where the
// session has turned that off, or may have: a crash of the primary would lose what
// the client was told of, and the targets would have it alone (I6). True: that
// failed, and the client has been told.
func (s *Session) durable(extended bool) (bool, error) {
	s.mu.Lock()
	durable := s.context != nil && !s.context.async
	s.mu.Unlock()
	if durable {
		return false, nil
	}
	failed := false
	e := &entry{kind: answerQuery, silent: true, onFail: func() { failed = true }}
	err := s.question(durableSQL, ownDurable, e, extended)
	return failed, err
}
