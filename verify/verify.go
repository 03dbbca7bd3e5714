// Package verify joins the digests that the primary's side and the targets
// publish of each transaction, compares them and says a verdict of each
// operation on each target. It raises no false alarm — missing is said only after
// a timeout, and confirmed — and misses none: what it cannot compare is said to
// be skipped, with the reason.
//
// The way of a digest: Verifier takes part in a consumer group, one goroutine a
// partition (partition.go); joiner (joiner.go) keeps what waits for its other
// side; compare (compare.go) makes the verdict; lookup (lookup.go) finds the
// primary's side in the ops topic where its digest came too early or never;
// reporter (report.go) publishes, logs, counts and notifies. Sum (sum.go) adds
// the verdicts up.
package verify

import (
	"time"

	"github.com/opmux/opmux/event"
)

// Config says what is compared with what.
type Config struct {
	Name    string // of this verifier, unique among those of one prefix
	Sources []Source
	// Level is how much is compared; what a digest does not have is skipped.
	Level event.Level
	// Timeout is how long a digest waits for its other side.
	Timeout time.Duration
	// Memory bounds the digests that wait, in bytes, over all partitions.
	Memory int64
	// Webhook is where verdicts are posted; no URL, no webhook.
	Webhook Webhook
}

// Source is one source and the targets that it is compared on.
type Source struct {
	Name    string
	Targets []string
}

// Webhook says where verdicts are posted.
type Webhook struct {
	URL string
	// Always posts every verdict, not only those with a mismatch or something
	// missing.
	Always  bool
	Timeout time.Duration // of one attempt
}
