package session

import (
	"context"

	"github.com/opmux/opmux/capture/catalog"
)

// gather lets a transaction do what it would do in its COMMIT, and sees whether it can
// be recorded. True: it must not commit, and held says why.
func (s *Session) gather(ctx context.Context, tx *txn, extended bool) (held, bool, error) {
	if err := s.drainPortals(extended); err != nil {
		return held{}, false, err
	}
	if s.failing() {
		return held{told: true}, true, nil
	}
	if tx.deferrable && (tx.writes() || tx.traced && !s.probing(tx)) {
		if failed, err := s.immediate(ctx, tx, extended); failed || err != nil {
			return held{told: failed}, true, err
		}
	}
	if late := s.resolveLate(ctx, tx, extended); late != nil {
		return held{refusal: refusedByGate(late)}, true, nil
	}
	r := brokenTx(tx.broken)
	if r == nil && (tx.barrier || tx.locks) && tx.writes() {
		var err error
		if r, err = s.halfway(ctx, tx, extended); err != nil {
			r = refusedByGate(err)
		}
		if r == nil {
			r = s.awaitPlaces(ctx)
		}
		if r == nil && tx.ownDDL {
			if err := s.numbered(ctx, tx, extended); err != nil {
				r = refusedByGate(err)
			}
		}
	}
	return held{refusal: r}, r != nil, nil
}

// immediate has deferred constraints checked, and deferred triggers run, while there
// is still something to record. True: that failed, and the client has been told.
func (s *Session) immediate(ctx context.Context, tx *txn, extended bool) (bool, error) {
	failed := false
	ask := func(sql, name string) error {
		return s.question(sql, name, &entry{kind: answerQuery, silent: true, onFail: func() { failed = true }}, extended)
	}
	if tx.traced {
		s.locked(func() { tx.untaken++ })
		if err := ask(catalog.SwitchOn, ownSwitchOn); err != nil || failed {
			return failed, err
		}
	}
	if err := ask(constraintsSQL, ownConstraints); err != nil || failed {
		return failed, err
	}
	tx.depends = s.ledger.High()
	if !tx.traced {
		return false, nil
	}
	return s.takeDeferred(ctx, tx, extended)
}
