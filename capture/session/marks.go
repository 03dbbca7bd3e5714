package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// marks reads the values of sequences that were drawn from, where no operation
// carries them.
func (s *Session) marks(ctx context.Context, tx *txn, ops []event.Operation, q catalog.Querier) ([]event.SequenceMark, error) {
	carried := map[classify.SequenceRef]bool{}
	for i := range ops {
		for _, m := range ops[i].Sequences {
			carried[classify.SequenceRef{Schema: m.Schema, Name: m.Name}] = true
		}
	}
	if tx.untaken > 0 {
		all, err := s.deps.Catalog.Sequences(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range all {
			tx.drawn(classify.SequenceRef(name))
		}
	}
	here, err := s.sequencesHere(ctx, tx, q)
	if err != nil {
		return nil, err
	}
	var marks []event.SequenceMark
	for ref := range tx.sequences {
		if carried[ref] || here.lacks(ref) {
			continue
		}
		mark, err := s.deps.Catalog.SequenceValueOn(ctx, q, ref.Schema, ref.Name)
		if errors.Is(err, catalog.ErrNotFound) {
			continue // made by a transaction that did not commit
		}
		if err != nil {
			return nil, fmt.Errorf("reading sequence %s.%s: %w", ref.Schema, ref.Name, err)
		}
		marks = append(marks, mark)
	}
	return marks, nil
}

// sequencesHere are the sequences that a session sees, where its open transaction may
// have changed that; nil where it has not.
type sequencesHere map[catalog.SequenceName]bool

// lacks says that there is no such sequence: it was dropped, renamed or moved, or made
// behind a savepoint that is gone. To read one that is not there would fail the
// client's transaction.
func (h sequencesHere) lacks(ref classify.SequenceRef) bool {
	_, found := h[catalog.SequenceName(ref)]
	return h != nil && !found
}

// sequencesHere asks a session with DDL in its transaction for its sequences, where it
// drew from any. One that was drawn from by another name counts by its new one: which
// it is the name alone does not tell, so all do that the transaction may have named.
func (s *Session) sequencesHere(ctx context.Context, tx *txn, q catalog.Querier) (sequencesHere, error) {
	if q == nil || len(tx.sequences) == 0 {
		return nil, nil
	}
	here, err := s.deps.Catalog.SequencesHere(ctx, q)
	if err != nil {
		return nil, err
	}
	for name, named := range here {
		if named {
			tx.drawn(classify.SequenceRef(name))
		}
	}
	return here, nil
}

// publishMarks publishes the sequence values that a rolled back transaction
// drew: they stay drawn on the primary.
func (s *Session) publishMarks(ctx context.Context, tx *txn) {
	if len(tx.sequences) == 0 && tx.untaken == 0 {
		return
	}
	marks, err := s.marks(ctx, tx, nil, nil)
	if err == nil && len(marks) > 0 {
		err = s.ledger.Marks(ctx, []event.Operation{{Kind: event.OpSequence, Class: event.ClassPinned,
			Reason: "sequence values drawn by a transaction that was rolled back", Sequences: marks,
			Digest: event.Digest{SQLState: "00000", Affected: -1}}})
	}
	if err != nil {
		s.deps.Metrics.lostMarks.Inc()
	}
}

// drawnSince brings the marks of a transaction that was prepared up to date. Others
// may have drawn since, whose records come before its own: a setval in it would take
// their draws back on targets.
func (s *Session) drawnSince(ctx context.Context, ops []event.Operation) error {
	for i := range ops {
		for j, m := range ops[i].Sequences {
			now, err := s.deps.Catalog.SequenceValue(ctx, m.Schema, m.Name)
			if errors.Is(err, catalog.ErrNotFound) {
				continue
			}
			if err != nil {
				return fmt.Errorf("reading sequence %s.%s: %w", m.Schema, m.Name, err)
			}
			ops[i].Sequences[j] = now
		}
	}
	return nil
}
