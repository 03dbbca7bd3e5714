package schedule

import (
	"fmt"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

type state uint8

const (
	open    state = iota // an intent without an outcome
	ready                // committed on the primary
	running              // in a group that a lane has
	applied              // on the target, or not to be executed
)

// Tx is one transaction of a stream between being read and being finished.
type Tx struct {
	Offset      int64
	Ref         event.Ref
	Transaction *event.Transaction
	// Committed says how it ended on the primary, once it is handed out.
	Committed bool
	// Skip says why it is not executed although it committed; empty: it is.
	Skip string

	size    int64
	from    int64 // the offset behind the transaction before it in the topic
	place   int64 // its place in the order; the outcome's for a standalone command
	barrier bool
	state   state
	entry   *entry

	next, prev *Tx // in the queue
}

// AddTo puts the transaction into a set of those that are finished, and with it the
// records between it and the transaction before it, which are read again and change
// nothing: so what is done in a row is one range, whatever lies in between.
func (t *Tx) AddTo(done *position.Ranges) { done.AddRange(t.from, t.Offset+1) }

// before says whether a barrier's place is in front of another's.
func (t *Tx) before(other *Tx) bool {
	if t.place != other.place {
		return t.place < other.place
	}
	return t.Offset < other.Offset
}

// Group is what one target transaction executes, in order.
type Group struct {
	Transactions []*Tx
	// Barrier says that nothing runs beside the group.
	Barrier bool
	Bytes   int64
}

// OutcomeConflictError says that an intent was said to have ended both ways.
type OutcomeConflictError struct {
	Offset int64
	event.Outcome
}

func (e *OutcomeConflictError) Error() string {
	word := map[bool]string{true: "committed", false: "aborted"}
	return fmt.Sprintf("record at offset %d says that transaction n %d of agent %s, epoch %d, %s, but an outcome before said that it %s; "+
		"the stream stops here: look at the primary for the truth and fill the target again with opmux snapshot",
		e.Offset, e.N, e.Agent, e.Epoch, word[e.Committed], word[!e.Committed])
}

// queue is a list of transactions by offset.
type queue struct {
	first, last *Tx
	len         int
}

func (q *queue) push(t *Tx) {
	t.prev = q.last
	if q.last != nil {
		q.last.next = t
	} else {
		q.first = t
	}
	q.last = t
	q.len++
}

func (q *queue) remove(t *Tx) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		q.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		q.last = t.prev
	}
	t.next, t.prev = nil, nil
	q.len--
}

// outcomes remembers the last outcomes that were read.
type outcomes struct {
	limit int
	known map[event.Ref]bool
	order []event.Ref // a ring once it is full
	next  int
}

func (o *outcomes) get(ref event.Ref) (committed, known bool) {
	committed, known = o.known[ref]
	return committed, known
}

func (o *outcomes) add(ref event.Ref, committed bool) {
	o.known[ref] = committed
	if len(o.order) < o.limit {
		o.order = append(o.order, ref)
		return
	}
	delete(o.known, o.order[o.next])
	o.order[o.next] = ref
	o.next = (o.next + 1) % o.limit
}
