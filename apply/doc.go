// Package apply is the apply-worker: it consumes the ops topics of its sources
// and makes one target follow them, each transaction exactly once (I4), in the
// primary's order where two touch the same data (I3), aborted ones never (I2).
//
// A record goes through these hands: stream reads it and gives it to a
// schedule.Scheduler, which knows which transactions have committed and what
// they wait for; lanes take groups from it and hand them to an execute.Lane,
// which runs each group as one target transaction together with the stream's
// position; the finisher then writes sequence marks and digests, after which the
// position may move past the transaction.
package apply
