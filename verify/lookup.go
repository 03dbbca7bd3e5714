package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// txState is how a transaction ended, as the ops topic tells.
type txState uint8

const (
	stateUnknown txState = iota
	stateCommitted
	stateAborted
)

// String is the state's name in metrics.
func (s txState) String() string {
	switch s {
	case stateCommitted:
		return "committed"
	case stateAborted:
		return "aborted"
	}
	return "unknown"
}

// finding is what the ops topic says of a transaction: its end and, where it
// committed, the primary's digests.
type finding struct {
	state txState
	rec   *event.DigestRecord
}

const (
	// A sweep goes on reading over gapRecords rather than open a reader anew.
	gapRecords = 5_000
	// An outcome further behind its intent than outcomeRecords is not waited for:
	// the target that applied the transaction had read it.
	outcomeRecords = 200_000
	// maxStatements bounds the texts of one transaction's statements, in bytes.
	maxStatements = 256 << 10
)

// sweep looks transactions up in one pass over a part of an ops topic.
type sweep struct {
	v       *Verifier
	source  string
	level   event.Level
	found   map[event.TxID]finding
	at      map[int64]event.TxID              // wanted, by offset
	open    map[event.Ref]*event.TxID         // intents whose outcome is to come
	chunked map[event.TxID]*event.Transaction // to be read after, without their data
	offsets map[event.TxID]int64
	texts   interner
}

// lookUp finds out how transactions ended and what the primary's digests are. A
// transaction that is not in the result, or has stateUnknown, cannot be told. An
// error says that Kafka did not answer: ask again.
func (v *Verifier) lookUp(ctx context.Context, source string, level event.Level, wanted []*entry) (map[event.TxID]finding, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s := &sweep{
		v: v, source: source, level: level, found: map[event.TxID]finding{}, at: map[int64]event.TxID{},
		open: map[event.Ref]*event.TxID{}, chunked: map[event.TxID]*event.Transaction{}, texts: interner{}, offsets: map[event.TxID]int64{},
	}
	var offsets []int64
	for _, e := range wanted {
		if o := e.offset(); o >= 0 {
			s.at[o] = e.tx
			s.offsets[e.tx] = o
			offsets = append(offsets, o)
		}
	}
	slices.Sort(offsets)
	for len(offsets) > 0 {
		rest, err := s.run(ctx, offsets)
		var gone *topics.OffsetOutOfRangeError
		if errors.As(err, &gone) {
			rest = offsets[1:] // retention took it, or it never was
		} else if err != nil {
			return nil, err
		}
		offsets = rest
	}
	for id, tx := range s.chunked {
		if s.found[id].state != stateCommitted {
			continue
		}
		if err := s.readChunks(ctx, tx); err != nil {
			return nil, err
		}
	}
	return s.found, nil
}

// run reads from the first offset on and returns those that it did not come to.
func (s *sweep) run(ctx context.Context, offsets []int64) (rest []int64, err error) {
	r, err := topics.NewReader(ctx, s.v.deps.Topics, s.v.deps.Topics.Names().Ops(s.source), offsets[0])
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only reading: nothing can be lost
	end, err := r.End(ctx)
	if err != nil {
		return nil, err
	}
	last := offsets[0]
	for position := last; position < end; {
		m, err := r.Next(ctx)
		if err != nil {
			return nil, err
		}
		position = m.Offset + 1
		if err := s.read(&m); err != nil {
			return nil, err
		}
		for len(offsets) > 0 && offsets[0] <= m.Offset {
			last, offsets = offsets[0], offsets[1:]
		}
		if len(s.open) == 0 && (len(offsets) == 0 || offsets[0] > position+gapRecords) {
			return offsets, nil
		}
		if m.Offset > last+outcomeRecords {
			clear(s.open)
		}
	}
	clear(s.open)
	return nil, nil // what is not in the topic is not found
}

func (s *sweep) read(m *topics.Message) error {
	tx, wanted := s.at[m.Offset]
	if !wanted && len(s.open) == 0 {
		return nil
	}
	rec, err := s.v.deps.Codec.DecodeRecord(m.Value)
	if err != nil {
		return fmt.Errorf("topic %s, offset %d: %w", m.Topic, m.Offset, err)
	}
	switch body := rec.Body.(type) {
	case *event.Transaction:
		if wanted && body.ID == tx {
			s.transaction(rec, body)
		}
	case *event.Outcomes:
		for i := range body.List {
			s.outcome(&body.List[i])
		}
	}
	return nil
}

func (s *sweep) transaction(rec *event.Record, tx *event.Transaction) {
	id := tx.ID
	f := finding{state: stateCommitted}
	if tx.Intent {
		f.state = stateUnknown
		s.open[event.Ref{Agent: rec.Agent, Epoch: rec.Epoch, N: rec.N}] = &id
	}
	if tx.Chunks > 0 {
		s.chunked[id] = withoutData(tx)
	} else {
		c := digest.Collector{Normalise: s.v.deps.Normalise}
		f.rec = s.record(tx, &c)
	}
	s.found[id] = f
}

func (s *sweep) outcome(o *event.Outcome) {
	id := s.open[o.Ref]
	if id == nil {
		return
	}
	delete(s.open, o.Ref)
	f := s.found[*id]
	f.state = stateAborted
	if o.Committed {
		f.state = stateCommitted
	}
	s.found[*id] = f
}

// record makes the primary's digests as its agent would have published them. The
// level is not in the event: a hash tells that it was full, otherwise it was that
// of the agent's other digests.
func (s *sweep) record(tx *event.Transaction, c *digest.Collector) *event.DigestRecord {
	rec := &event.DigestRecord{Source: s.source, Tx: tx.ID, Offset: s.offsets[tx.ID], Level: s.level, Time: tx.Commit}
	for i := range tx.Operations {
		c.Add(&tx.Operations[i])
	}
	c.Fill(rec)
	if rec.Level == "" {
		rec.Level = event.LevelCount
	}
	size := 0
	for i := range rec.Operations {
		op := &rec.Operations[i]
		if len(op.Hash) > 0 {
			rec.Level = event.LevelFull
		}
		if size += len(op.Statement); size > maxStatements {
			op.Statement = ""
		}
	}
	s.texts.record(rec)
	return rec
}

// withoutData keeps of a transaction what its digests are made of.
func withoutData(tx *event.Transaction) *event.Transaction {
	slim := &event.Transaction{ID: tx.ID, Commit: tx.Commit, FirstChunk: tx.FirstChunk, Chunks: tx.Chunks}
	for i := range tx.Operations {
		op := &tx.Operations[i]
		slim.Operations = append(slim.Operations, event.Operation{Kind: op.Kind, Text: op.Text, More: op.More, Digest: op.Digest})
	}
	return slim
}

// readChunks reads the chunks of a transaction, one record at a time (I7).
func (s *sweep) readChunks(ctx context.Context, tx *event.Transaction) error {
	id := tx.ID
	r, err := topics.NewReader(ctx, s.v.deps.Topics, s.v.deps.Topics.Names().Ops(s.source), tx.FirstChunk)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only reading: nothing can be lost
	c := digest.Collector{Normalise: s.v.deps.Normalise}
	for left := tx.Chunks; left > 0; {
		m, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if m.Offset >= s.offsets[id] {
			s.found[id] = finding{} // chunks that were promised are not there
			return nil
		}
		part, err := s.v.deps.Codec.DecodeRecord(m.Value)
		if err != nil {
			return fmt.Errorf("topic %s, offset %d: %w", m.Topic, m.Offset, err)
		}
		chunk, ok := part.Body.(*event.Chunk)
		if !ok || chunk.Tx != id {
			continue
		}
		for i := range chunk.Operations {
			c.Add(&chunk.Operations[i])
		}
		left--
	}
	s.found[id] = finding{state: stateCommitted, rec: s.record(tx, &c)}
	return nil
}
