// Package position keeps where a stream stands on a target: tables of opmux's
// own, written in the same target transactions as the application's data, so
// that each transaction takes effect exactly once whatever crashes (I4).
//
// Each lane of a stream has one row. A target transaction first updates its
// lane's row WHERE fence is the one that this worker was given at take-over; a
// worker that was replaced meanwhile finds no row and stops.
package position

import "fmt"

// Keeper is the lane number of the row that a stream's keeper writes: positions
// of idle streams, and whatever is not part of a group.
const Keeper = -1

// Position is where a stream stands on a target.
type Position struct {
	// Topic is the id of the topic that the offsets belong to.
	Topic string
	// Origin is the offset at which reading began. Epochs that were opened below
	// it are taken up wherever they are first seen.
	Origin int64
	// Low is the offset below which everything is finished.
	Low int64
	// Done has, of the transactions from Low on, those that are finished as well. Of
	// other records it may have any: they are read again and change nothing.
	Done Ranges
	// Heads are the ends of the epochs' chains as of Low.
	Heads Heads
}

// Join is where a stream stands whose lanes, one or more, have stored these
// positions: the highest low and its heads count, and everybody's done (I4).
func Join(lanes []Position) Position {
	first := 0
	for i := range lanes {
		if lanes[i].Low > lanes[first].Low {
			first = i
		}
	}
	p := lanes[first]
	p.Done = p.Done.Clone()
	for i := range lanes {
		p.Done.Merge(lanes[i].Done)
	}
	p.Done.TrimBelow(p.Low)
	return p
}

// Held is a position after take-over, with what else is known of the stream.
type Held struct {
	Position
	Fence      int64
	Snapshot   *Snapshot // nil: none
	Diverged   []Diverged
	Standalone []Standalone
}

// Snapshot says that a target was filled with what a snapshot of the source
// shows.
type Snapshot struct {
	Source string
	// Start is the offset to read from, Mark the offset of the snapshot's Mark.
	Start, Mark int64
	// Snapshot is pg_current_snapshot() of the exported snapshot, in text form.
	Snapshot string
	TopicID  string
}

// Diverged is a table that no longer follows its source.
type Diverged struct {
	Source    string
	Table     string // schema.table, or "*" where the tables cannot be told
	Reason    string
	Statement string // normalised
	Offset    int64  // of the transaction from which on it is skipped
}

// Standalone is a command that was begun outside of any transaction and whose
// end is not recorded.
type Standalone struct {
	Offset int64
	// Invalid are the invalid indexes that were there before, as oids.
	Invalid []uint32
}

// FencedError says that another worker has taken the stream over.
type FencedError struct {
	Source string
	Fence  int64
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("stream %s: fence %d is no longer the target's; another worker has taken the stream over", e.Source, e.Fence)
}

// LostError says that the target lacks what it has confirmed to the worker that holds the
// stream: it crashed with synchronous_commit = off, or another server has taken its place.
// What the target has is the position of who takes the stream over next.
type LostError struct {
	Source           string
	Fence            int64
	Lane             int
	Confirmed, Found int64
}

func (e *LostError) Error() string {
	return fmt.Sprintf("stream %s: the target has lost what it had confirmed (of lane %d all behind its commit %d, up to %d): it crashed with synchronous_commit = off, "+
		"or another server has taken its place; what is missing is applied again", e.Source, e.Lane, e.Found, e.Confirmed)
}

// Unwrap says that the stream is to be taken over anew.
func (e *LostError) Unwrap() error { return &FencedError{Source: e.Source, Fence: e.Fence} }

// TopicError says that a position belongs to another topic than the one there is.
type TopicError struct {
	Source     string
	Have, Want string
}

func (e *TopicError) Error() string {
	return fmt.Sprintf("stream %s: the target's position belongs to topic id %s, but the topic's id is %s (it was deleted and made anew?); "+
		"fill the target again with opmux snapshot, or opmux replay into an empty one", e.Source, e.Have, e.Want)
}

// NotVisible says whether the snapshot in pg_current_snapshot's text form cannot
// show what transaction xid did. Transactions that it does not list as under way
// and that are below its end had ended when it was taken.
func NotVisible(snapshot string, xid uint64) (bool, error) {
	s, err := parseSnapshot(snapshot)
	if err != nil {
		return false, err
	}
	return s.notVisible(xid), nil
}
