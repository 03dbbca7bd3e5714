package session

import (
	"context"
	"strings"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
)

// conditional tells whether what DDL does depends on which objects there are (IF
// EXISTS, IF NOT EXISTS, OR REPLACE). No lock orders it against the transaction
// that makes or drops them, since it locks nothing that does not exist: a DROP IF
// EXISTS that found nothing could be recorded behind the CREATE of another session,
// and would then drop on the backups what the primary keeps.
func conditional(p *classify.Plan) bool {
	if p.Kind != classify.DDL {
		return false
	}
	text := strings.ToUpper(p.SQL)
	return strings.Contains(text, "EXISTS") || strings.Contains(text, "REPLACE")
}

// conditionalSimple runs conditional DDL of a Query on its own, behind the lock
// that orders it.
func (s *Session) conditionalSimple(ctx context.Context, p part, wrap bool) error {
	if wrap {
		if begun, err := s.beginImplicit(); err != nil {
			return err
		} else if !begun {
			return s.ready(s.transactionStatus())
		}
	}
	p.quiet = true
	ok, err := s.lockDDL()
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

// lockDDL waits, in the simple protocol, until no other transaction with DDL is
// open. False: it failed (a timeout, a cancel), and the client has heard why.
func (s *Session) lockDDL() (bool, error) {
	failed := false
	e := &entry{kind: answerQuery, silent: true, onFail: func() { failed = true }}
	err := s.question(catalog.LockDDL(), ownLockDDL, e, false)
	return !failed, err
}
