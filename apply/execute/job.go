package execute

import (
	"context"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/apply/schedule"
	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
)

// Operations yields a transaction's operations in order, those of chunks first.
type Operations interface {
	// Next returns nil at the end. The bytes that it returns are not written to
	// afterwards; the operation itself is valid until the next call.
	Next(ctx context.Context) (*event.Operation, error)
	Close() error
}

// OpenFunc opens a transaction's operations. A transaction may be opened again
// when it is retried.
type OpenFunc func(ctx context.Context, tx *schedule.Tx) (Operations, error)

// Job is a group of transactions for one target transaction.
type Job struct {
	Transactions []*schedule.Tx
	// Base is where the stream stands without the group.
	Base position.Position
	// diverge are tables to be declared diverged before anything is executed.
	diverge []position.Diverged
	// unfit are operations that are skipped, and why.
	unfit map[spot]string
	apart apart
	// single says that operations run one by one, since sets of them have failed.
	single bool
}

// spot is an operation's in the stream.
type spot struct {
	offset int64
	index  int
}

// position returns what is stored once the first n transactions are committed.
func (j *Job) position(n int) position.Position {
	p := j.Base
	p.Done = j.Base.Done.Clone()
	for _, t := range j.Transactions[:n] {
		t.AddTo(&p.Done)
	}
	return p
}

// Result is what became of one transaction on the target.
type Result struct {
	Tx      *schedule.Tx
	Digests digest.Collector
	// Unknown says why Digests is not filled although the transaction is
	// committed; empty: it is.
	Unknown string
	// Marks are the sequence marks of all operations.
	Marks Marks
	// Operations counts what was executed.
	Operations Counts
	// Unlike tells of those that hit another number of rows than on the primary.
	Unlike Unlike
}

// Unlike are operations that hit another number of rows than on the primary: the target
// had diverged before. First is the first of so many.
type Unlike struct {
	Count int
	First UnlikeOperation
}

// UnlikeOperation says which one it is.
type UnlikeOperation struct {
	Index     int32
	Tables    []string
	Rows      int64 // here
	OnPrimary int64
}

func (u *Unlike) add(o *operation, want int64) {
	if u.Count++; u.Count == 1 {
		u.First = UnlikeOperation{Index: o.index, Tables: o.tables, Rows: o.affected, OnPrimary: want}
	}
}

// Counts are numbers of operations by kind; there are few kinds.
type Counts []Count

// Count is how many operations of a kind were executed, and how many of those together
// with others.
type Count struct {
	Kind        event.OpKind
	All, InSets int
}

// Add notes operations of a kind.
func (c *Counts) Add(more Count) {
	for i := range *c {
		if have := &(*c)[i]; have.Kind == more.Kind {
			have.All += more.All
			have.InSets += more.InSets
			return
		}
	}
	*c = append(*c, more)
}

// Marks are sequence marks by sequence.
type Marks map[Sequence]Mark

// Mark is how far a sequence has come: its furthest value, and Last, the one of the latest mark, which is
// where a sequence made with CYCLE is that has come round.
type Mark struct {
	event.SequenceMark
	Last int64
}

// Sequence names a sequence.
type Sequence struct{ Schema, Name string }

// Add notes the marks of an operation.
func (m *Marks) Add(list []event.SequenceMark) {
	for _, mark := range list {
		m.note(Mark{mark, mark.Value})
	}
}

// Merge notes the marks of another set, which came behind these.
func (m *Marks) Merge(other Marks) {
	for _, mark := range other {
		m.note(mark)
	}
}

func (m *Marks) note(mark Mark) {
	if *m == nil {
		*m = Marks{}
	}
	key := Sequence{mark.Schema, mark.Name}
	have, ok := (*m)[key]
	if ok && (mark.Ascending && mark.Value <= have.Value || !mark.Ascending && mark.Value >= have.Value) {
		mark.SequenceMark = have.SequenceMark
	}
	(*m)[key] = mark
}
