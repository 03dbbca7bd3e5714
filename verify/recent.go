package verify

import "github.com/opmux/opmux/event"

// maxRecent is how many finished transactions a partition remembers.
const maxRecent = 16 << 10

// recent remembers what was said of the last finished transactions, so that
// duplicates stay silent and late digests are told from early ones. What it has
// forgotten costs a look-up, never a wrong verdict.
type recent struct {
	byTx map[event.TxID][]targetState
	ring []event.TxID
	next int
	max  int
}

func newRecent(size int) *recent {
	return &recent{byTx: make(map[event.TxID][]targetState), max: size}
}

// add remembers the states, without their records; it takes them over.
func (r *recent) add(tx event.TxID, states []targetState) {
	for i := range states {
		states[i].rec = nil
	}
	if _, ok := r.byTx[tx]; ok {
		r.byTx[tx] = states
		return
	}
	if len(r.ring) < r.max {
		r.ring = append(r.ring, tx)
	} else {
		delete(r.byTx, r.ring[r.next])
		r.ring[r.next] = tx
		r.next = (r.next + 1) % r.max
	}
	r.byTx[tx] = states
}

// get returns what was said, nil if the transaction is not remembered.
func (r *recent) get(tx event.TxID) []targetState { return r.byTx[tx] }
