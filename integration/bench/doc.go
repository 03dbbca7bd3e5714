// Command bench measures how fast opmux is, as ratios within one run: every
// figure stands beside that of what it is compared with, taken in turn with it,
// round after round, on the same machine and servers. `make bench` writes
// docs/benchmarks.md with it.
//
// A section (tpcb.go, latency.go, topic.go, apply.go, lag.go) puts up what it
// needs, measures, and adds tables and goals to the report.
package main
