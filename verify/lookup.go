package verify

import "github.com/opmux/opmux/event"

// txState is how a transaction ended, as the ops topic tells.
type txState uint8

const (
	stateUnknown txState = iota
	stateCommitted
	stateAborted
)

// finding is what the ops topic says of a transaction: its end and, where it
// committed, the primary's digests.
type finding struct {
	state txState
	rec   *event.DigestRecord
}
