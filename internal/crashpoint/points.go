// Package crashpoint marks the places of the commit path at which the kill test
// (integration/kill) lets a program die. In programs as they are built for use,
// At does nothing and is inlined away; only those that are built with the tag
// crashpoints look at the environment, so that nothing there can trigger one.
package crashpoint

// Point is a place in a program.
type Point string

// The places in a capture-agent, in the order of a transaction. Of an agent of
// gate none, no intent goes before the commit.
const (
	FenceBefore   Point = "fence.before" // the FENCE that opens an epoch
	FenceAfter    Point = "fence.after"
	IntentBefore  Point = "intent.before" // the record is not handed to the producer
	IntentAfter   Point = "intent.after"  // it is acknowledged
	CommitBefore  Point = "commit.before" // COMMIT may be forwarded, and is not
	CommitSent    Point = "commit.sent"   // it is forwarded, and not answered
	CommitAfter   Point = "commit.after"  // it is answered, and nobody knows
	OutcomeBefore Point = "outcome.before"
	OutcomeAfter  Point = "outcome.after"
)

// The places in an apply-worker, in the order of a transaction.
const (
	TargetBefore   Point = "target.before" // everything but COMMIT is sent to the target
	TargetSent     Point = "target.sent"   // COMMIT is sent, and not answered
	TargetAfter    Point = "target.after"  // it is answered
	DigestBefore   Point = "digest.before" // the digests are not handed to the producer
	DigestAfter    Point = "digest.after"  // they are acknowledged
	PositionBefore Point = "position.before"
	PositionAfter  Point = "position.after"
)

// The places in every program that is a member of a consumer group: apply-worker
// and verify-worker.
const (
	OffsetBefore Point = "offset.before" // the group's offset is not sent
	OffsetAfter  Point = "offset.after"  // it is acknowledged
)

// Variable is the environment variable that chooses where a program built with
// the tag dies: "commit.sent:3" is the third time that it comes to that place.
const Variable = "OPMUX_CRASHPOINT"

// Tag is the build tag that makes At look.
const Tag = "crashpoints"
