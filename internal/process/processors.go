package process

import (
	"os"
	"runtime"
)

// limitProcessors has Go code run on half of the processors at most. Messages that are
// passed on take little time each: more threads find less to do, and wake one another
// for it (docs/benchmarks.md). GOMAXPROCS sets another measure.
func limitProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(half(runtime.GOMAXPROCS(0)))
	}
}

func half(processors int) int { return (processors + 1) / 2 }
