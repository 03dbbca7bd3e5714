package session

import (
	"context"
	"strings"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// conditional tells whether what DDL does depends on which objects there are (IF
// EXISTS, IF NOT EXISTS, OR REPLACE, a DO that passes over what there is). No lock orders it against the transaction
// that makes or drops them, since it locks nothing that does not exist: a DROP IF
// EXISTS that found nothing could be recorded behind the CREATE of another session,
// and would then drop on the backups what the primary keeps.
// Nor does a lock order what changes functions, or children, against the statements that
// call and read them; nor does LIKE … INCLUDING lock out who makes an index, statistics or
// a comment of the table that it copies.
func conditional(p *classify.Plan) bool {
	if p.Kind != classify.DDL {
		return false
	}
	text := strings.ToUpper(p.SQL)
	return p.Construct == "DO" || p.Replaces || strings.Contains(text, "EXISTS") || strings.Contains(text, "REPLACE") || strings.Contains(text, "INCLUDING")
}

// locksBefore tells statements before which locks are taken that order them.
func locksBefore(p *classify.Plan) bool {
	return ownLock(p) != "" || p.Computes != nil || p.Lock != ""
}

// ownLock is the agent's statement that takes opmux's own lock for DDL, empty where none is needed.
func ownLock(p *classify.Plan) string {
	switch {
	case p.Kind == classify.DDL && p.Renames:
		return ownLockNames // keeps conditional ones away, too
	case conditional(p):
		return ownLockDDL
	}
	return ""
}

// lockedSimple runs such a statement of a Query on its own, behind its locks.
func (s *Session) lockedSimple(ctx context.Context, p part, wrap bool) error {
	if wrap {
		if begun, err := s.beginImplicit(); err != nil {
			return err
		} else if !begun {
			return s.ready(s.transactionStatus())
		}
	}
	p.quiet = true
	ok, err := s.lockBefore(p.plan)
	if err == nil && ok {
		_, err = s.write(ctx, p, false, wrap)
	}
	if err != nil {
		return err
	}
	if s.wrapped {
		return s.finishWrapped(ctx, false)
	}
	return s.ready(s.transactionStatus())
}

// lockBefore takes, in the simple protocol, the locks that order a statement. False:
// that failed (a timeout, a cancel), and the client has heard why.
func (s *Session) lockBefore(p *classify.Plan) (bool, error) {
	var locks []string
	if name := ownLock(p); name != "" {
		locks = append(locks, ownSQL[name])
	}
	if p.Computes != nil && p.Computes.SQL() != "" {
		locks = append(locks, p.Computes.SQL())
	}
	if p.Lock != "" {
		locks = append(locks, p.Lock)
	}
	failed := false
	for _, sql := range locks {
		e := lockEntry(p)
		e.onFail = func() { failed = true }
		if err := s.sendQuery(sql, e); err != nil {
			return false, err
		}
		if err := s.drain(); err != nil || failed {
			return false, err
		}
	}
	return true, nil
}

// lockTables takes, in the extended protocol, the locks on what a materialized view is
// computed of.
func (s *Session) lockTables(p *classify.Plan) error {
	if p.Computes == nil || p.Computes.SQL() == "" {
		return nil
	}
	return s.askExtended(p.Computes.SQL(), nil, lockEntry(p))
}

// lockEntry is the entry of a statement that takes locks, which the client has not
// asked for.
func lockEntry(p *classify.Plan) *entry {
	e := &entry{kind: answerQuery, silent: true}
	if p.Computes == nil {
		return e
	}
	e.onError = func(fields []pgwire.Field) bool {
		if pgwire.FieldValue(fields, pgwire.FieldCode) == stateNoPrivilege {
			e.refusal = &refusal{code: stateNotSupported, hint: "GRANT UPDATE on it, or REFRESH on each server.",
				message: "the tables of a materialized view are locked while it is computed: " + pgwire.FieldValue(fields, pgwire.FieldMessage)}
		}
		return false
	}
	return e
}

// stateNoPrivilege is the server's code for a right that a role lacks.
const stateNoPrivilege = "42501"
