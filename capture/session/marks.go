package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// marks reads the values of sequences that were drawn from, where no operation
// carries them.
func (s *Session) marks(ctx context.Context, tx *txn, ops []event.Operation, q catalog.Querier) ([]event.SequenceMark, error) {
	known := map[classify.SequenceRef]bool{}
	for i := range ops {
		for _, m := range ops[i].Sequences {
			known[classify.SequenceRef{Schema: m.Schema, Name: m.Name}] = true
		}
	}
	here, err := s.sequencesHere(ctx, tx, q)
	if err != nil {
		return nil, err
	}
	marks, missing, err := s.read(ctx, tx, known, here, q)
	unclear := tx.untaken > 0 || missing && tx.renames // which ones were drawn from
	if err != nil || !unclear {
		return marks, err
	}
	// One that is missing may have its old name again, with what was drawn from it by the
	// other. The agent's connection reads them: the client's role may not see them all, and
	// those that the transaction holds are known, or lack their names.
	if err := s.drawnFromAny(ctx, tx); err != nil {
		return nil, err
	}
	more, _, err := s.read(ctx, tx, known, here, nil)
	return append(marks, more...), err
}

// drawnFromAny notes all sequences, where it cannot be told which ones were drawn from.
func (s *Session) drawnFromAny(ctx context.Context, tx *txn) error {
	all, err := s.deps.Catalog.Sequences(ctx)
	for _, name := range all {
		tx.drawn(classify.SequenceRef(name))
	}
	return err
}

// read reads the values of sequences that are not known yet. Missing: one is not there,
// made or named so by what was rolled back.
func (s *Session) read(ctx context.Context, tx *txn, known map[classify.SequenceRef]bool, here sequencesHere, q catalog.Querier) (marks []event.SequenceMark, missing bool, err error) {
	for ref := range tx.sequences {
		if known[ref] {
			continue
		}
		known[ref] = true
		if here.lacks(ref) {
			missing = true
			continue
		}
		mark, err := s.deps.Catalog.SequenceValueOn(ctx, q, ref.Schema, ref.Name)
		if errors.Is(err, catalog.ErrNotFound) {
			missing = true
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("reading sequence %s.%s: %w", ref.Schema, ref.Name, err)
		}
		marks = append(marks, mark)
	}
	return marks, missing, nil
}

// renames tells whether DDL may give a sequence another name, by the words in it.
func renames(p *classify.Plan) bool {
	if p.Kind != classify.DDL {
		return false
	}
	text := strings.ToUpper(p.SQL)
	return strings.Contains(text, "RENAME") || strings.Contains(text, "SCHEMA")
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
// drew from any, or may have. One that was drawn from by another name counts by its new one: which
// it is the name alone does not tell, so all do that the transaction may have named.
func (s *Session) sequencesHere(ctx context.Context, tx *txn, q catalog.Querier) (sequencesHere, error) {
	if q == nil || len(tx.sequences) == 0 && tx.untaken == 0 {
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
