package process

import (
	"os"
	"runtime/debug"
)

// ownMemory is what a program takes beside what its configuration lets it hold:
// its parts at rest, sessions, and records on their way.
const ownMemory = 112 << 20

// limitMemory has garbage collected before the heap has grown that far, once that
// would take more than the configuration says (I7). It bounds garbage, not what is
// held: the parts of the program see to that themselves.
func limitMemory(holds int64, garbage int) {
	if garbage > 0 && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(ownMemory + holds)
	}
}
