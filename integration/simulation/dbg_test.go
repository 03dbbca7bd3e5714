package simulation

import (
	"os"
	"runtime"
)

func dump() {
	if os.Getenv("DUMP") != "" {
		b := make([]byte, 1<<20)
		os.Stderr.Write(b[:runtime.Stack(b, true)])
	}
}
