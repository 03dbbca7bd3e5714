package order

import "sync/atomic"

// Expected counts transactions that have written and may come for a ticket, over all
// epochs of an agent.
type Expected struct {
	coming, came atomic.Int64
}

// Coming is how many transactions are expected.
func (e *Expected) Coming() int { return int(e.coming.Load()) }

// Came is how many expected transactions have come for their tickets so far.
func (e *Expected) Came() int64 { return e.came.Load() }

// Expectation is of one transaction. The zero value is of none.
type Expectation struct{ of *Expected }

// Expect begins to expect a transaction's ticket: while several are, the record of one
// that commits waits a little for theirs.
func (l *Ledger) Expect() Expectation {
	l.deps.Expected.coming.Add(1)
	return Expectation{l.deps.Expected}
}

// Comes says that the transaction takes its ticket now.
func (e *Expectation) Comes() {
	if e.of != nil {
		e.of.came.Add(1)
	}
	e.Over()
}

// Over ends the expectation, if it has not ended.
func (e *Expectation) Over() {
	if e.of != nil {
		e.of.coming.Add(-1)
		e.of = nil
	}
}
