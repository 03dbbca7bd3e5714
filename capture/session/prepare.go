package session

import (
	"context"
	"errors"
	"slices"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/wire/pgwire"
)

// Two-phase commit (ADR 23). PREPARE TRANSACTION is a COMMIT that takes no place: all
// that a COMMIT does before it is forwarded is done, and the record that it would have
// is written to opmux.prepared on the primary. COMMIT PREPARED, of any session of any
// agent, takes the place and publishes it (finishprepared.go).

// tagPrepared answers PREPARE TRANSACTION; one of a block that has failed, or of none,
// is answered by ROLLBACK.
const tagPrepared = "PREPARE TRANSACTION"

// keep writes the transaction down before it is prepared. What is here has been gathered
// as for a COMMIT.
func (s *Session) keep(ctx context.Context, tx *txn, plan *classify.Plan, extended bool) (held, error) {
	disabled, err := s.deps.Prepared.Usable()
	switch {
	case disabled:
		return held{}, nil // the server says so
	case err != nil:
		return held{refusal: cannotPrepare(err.Error(), "See max_prepared_transactions and opmux.prepared in the agent's documentation (operations.md).")}, nil
	}
	if r := unpreparable(tx); r != nil {
		return held{refusal: r}, nil
	}
	xid, failed, err := s.drawPreparedXID(tx, extended)
	if failed || err != nil {
		return held{told: failed}, err
	}
	k := prepared.Kept{XID: xid, GID: plan.GID}
	if tx.writes() {
		if r, err := s.pack(ctx, tx, &k, extended); r != nil || err != nil {
			return held{refusal: r}, err
		}
	}
	if err := s.deps.Prepared.Keep(ctx, k); err != nil {
		return held{refusal: refusedByGate(err)}, nil
	}
	return held{kept: xid}, nil
}

// unpreparable refuses what could not be recorded when the transaction is committed.
func unpreparable(tx *txn) *refusal {
	switch {
	case tx.spilled:
		return cannotPrepare("the transaction is so large that a part of it is recorded already", "Commit it in one phase, or raise capture.chunk.")
	case tx.ownDDL:
		return cannotPrepare("the transaction has changed the catalogue: what it relies on could not be looked up when it is committed",
			"Commit DDL in one phase, in a transaction of its own.")
	case tx.manyPlans:
		return cannotPrepare("the transaction has more different statements than can be checked again when it is committed", "Commit it in one phase.")
	}
	return nil
}

func cannotPrepare(reason, hint string) *refusal {
	return &refusal{code: stateNotSupported, message: "PREPARE TRANSACTION: " + reason, hint: hint}
}

// drawPreparedXID gives the transaction its id, also where it has written nothing: the
// server would, a moment later. True: that failed, and the client has been told.
func (s *Session) drawPreparedXID(tx *txn, extended bool) (uint64, bool, error) {
	if !s.probing(tx) {
		return tx.probe.xid, false, nil
	}
	return s.askXID(tx, extended)
}

// pack makes the record, and what it rests on.
func (s *Session) pack(ctx context.Context, tx *txn, k *prepared.Kept, extended bool) (*refusal, error) {
	version, err := s.deps.Catalog.Version(ctx)
	if err == nil {
		err = s.renew(ctx, tx)
	}
	if err != nil {
		return refusedByGate(err), nil
	}
	if what := s.catalogMoved(ctx, tx, version, extended); what != "" {
		return moved(what), nil
	}
	if refused := s.overtaken(ctx, tx, version, extended); refused != nil {
		return refused, nil
	}
	k.Version = settledAt(tx, version)
	if k.Promises, err = classify.Promises(tx.noted); err != nil {
		return nil, err
	}
	body, err := s.transaction(ctx, tx, extended)
	if err != nil {
		return refusedByGate(err), nil
	}
	// Whose agent has published them by then is not known.
	body.Shapes = s.shapes.all(tx)
	if k.Body, err = s.ledger.Pack(body); err != nil {
		return refusedByGate(err), nil
	}
	return nil, nil
}

// settledAt is the catalogue's version that all statements were classified at, if it is
// one; else 0: where DDL was under way, the counter would not tell that it has ended.
func settledAt(tx *txn, version int64) int64 {
	if slices.ContainsFunc(tx.noted, func(p *classify.Plan) bool { return p.CatalogVersion != version }) {
		return 0
	}
	return version
}

// preparedEnds clears what was written down of a transaction that was not prepared
// after all. Where the answer is not known, the next agent that starts clears it.
func (s *Session) preparedEnds(ctx context.Context, xid uint64, end *ending) {
	if xid == 0 || end.tag == tagPrepared {
		return
	}
	s.clearPrepared(ctx, xid)
}

func (s *Session) clearPrepared(ctx context.Context, xid uint64) {
	if err := s.deps.Prepared.Ended(ctx, xid); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Warn("opmux.prepared was not cleared of a transaction that has ended; the next start of an agent does it", zapError(err))
	}
}

// preparesAlone refuses to prepare, in the extended protocol, what no BEGIN of the
// client's has opened: the server would go on as if nothing had been asked.
func (s *Session) preparesAlone(plan *classify.Plan) *refusal {
	if !plan.Prepares || !s.wrapped {
		return nil
	}
	return cannotPrepare("behind other statements of a pipeline, and in no block", "BEGIN first.")
}

// openTx is the transaction that an end of the client's is of: where it prepares a
// block, also one in which nothing was captured.
func (s *Session) openTx(plan *classify.Plan) (*txn, byte, error) {
	s.mu.Lock()
	tx, status := s.tx, s.status
	s.mu.Unlock()
	if tx == nil && plan != nil && plan.Prepares && (s.begun || status == pgwire.StatusBlock) {
		var err error
		tx, err = s.currentTx()
		return tx, status, err
	}
	return tx, status, nil
}
