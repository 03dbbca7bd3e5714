// Command opmux is the operator's tool: it checks configurations, makes topics,
// and shows, waits for, fills, replays and settles what the daemons work on.
package main

import (
	"context"
	"os"

	"github.com/opmux/opmux/internal/ops"
	"github.com/opmux/opmux/internal/process"
)

func main() {
	ctx, stop := process.Signals(context.Background())
	code := process.Report(os.Stderr, "opmux", ops.Run(ctx, ops.IO{Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
	stop()
	os.Exit(code)
}
