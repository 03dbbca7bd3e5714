package digest

import (
	"unicode/utf8"

	"github.com/opmux/opmux/event"
)

// MaxOperations bounds the digests that are kept of one transaction (I7). A
// transaction with more compared operations is not verified, and says so.
const MaxOperations = 10_000

// TooMany is the reason why a transaction above MaxOperations has no digests.
const TooMany = "too many operations"

// Compared says whether operations of that kind have a digest. Those that only
// move savepoints or sequences have no response of their own; they take an index
// all the same.
func Compared(kind event.OpKind) bool {
	switch kind {
	case event.OpStatement, event.OpRows, event.OpCopy, event.OpFlagged:
		return true
	}
	return false
}

// Numbering gives the operations of one transaction their OpDigest.Index: from 0
// over whole operations of every kind, chunks included, parts of one operation
// (Operation.More) counting once. The zero value is ready.
type Numbering struct{ next int32 }

// Next returns the index of the operation that op is a part of, and whether op
// is its last part, the one that carries the digest.
func (n *Numbering) Next(op *event.Operation) (index int32, last bool) {
	index = n.next
	if op.More {
		return index, false
	}
	n.next++
	return index, true
}

// Collector gathers the digests of one transaction: feed it every operation, of
// chunks too, in order, then Fill a record. The zero value is ready.
type Collector struct {
	// Normalise takes the constants out of a statement's text, which becomes
	// OpDigest.Statement; nil leaves statements out.
	Normalise func(sql string) string

	numbering Numbering
	inside    bool   // of an operation whose last part has not come
	text      string // of the current operation's first part
	count     int32
	ops       []event.OpDigest
}

// Add takes the next operation, or the next part of one, with the digest that is
// in it.
func (c *Collector) Add(op *event.Operation) {
	if !c.inside {
		c.text = op.Text
	}
	index, last := c.numbering.Next(op)
	c.inside = !last
	if !last || !Compared(op.Kind) {
		return
	}
	d := event.OpDigest{Index: index, Digest: op.Digest}
	if op.Kind == event.OpFlagged {
		d.Skipped = "flagged: no target can follow it"
	}
	if c.Normalise != nil && c.count < MaxOperations {
		d.Statement = cut(c.Normalise(c.text))
	}
	c.AddDigest(d)
}

// Expect makes room for the digests of so many operations.
func (c *Collector) Expect(operations int) {
	if n := min(operations, MaxOperations); cap(c.ops) < n {
		c.ops = append(make([]event.OpDigest, 0, n), c.ops...)
	}
}

// AddDigest takes a digest that is already numbered, as a worker has it after it
// executed the operation.
func (c *Collector) AddDigest(d event.OpDigest) {
	c.count++
	if c.count > MaxOperations {
		c.ops = nil
		return
	}
	c.ops = append(c.ops, d)
}

// Count returns the number of compared operations so far.
func (c *Collector) Count() int32 { return c.count }

// Fill sets Operations and Count of a record, and Skipped where there are too
// many to be kept and the record does not say something else already.
func (c *Collector) Fill(r *event.DigestRecord) {
	r.Count = c.count
	r.Operations = c.ops
	if c.count > MaxOperations && r.Skipped == "" {
		r.Skipped = TooMany
	}
}

// cut shortens text to event.MaxInfoText bytes without splitting a character.
func cut(text string) string {
	if len(text) <= event.MaxInfoText {
		return text
	}
	end := event.MaxInfoText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// Key is the key of a transaction's records on the topics of digests and
// verdicts: both sides use it, so that all of a transaction meets in one partition.
func Key(source string, tx event.TxID) []byte {
	return append([]byte(source+"/"), tx[:]...)
}
