package main

import "time"

// plan says how long to measure.
type plan struct {
	name      string
	seconds   int // of one measurement of transactions a second
	rounds    int
	workloads []workload
	// warmSeconds are given to Apache Kafka before anything is measured, for each gate.
	warmSeconds int

	latencySeconds int // at a fixed rate, each way, in each of latencyRounds
	latencyRounds  int
	topicSeconds   int
	backlog        int // transactions
	applyRounds    int
	lagSeconds     int
	triggerRows    int
}

const (
	clients = 8
	threads = 2 // of pgbench
)

// workload is one of pgbench's scripts in one protocol mode at one scale.
type workload struct {
	script string // "tpcb", "simple-update" (-N), "select-only" (-S)
	mode   string // of the protocol: "simple" or "prepared"
	scale  int
}

func (w workload) reads() bool { return w.script == "select-only" }

var full = plan{
	name: "full", seconds: 3, rounds: 3, warmSeconds: 20,
	workloads: []workload{
		{"tpcb", "prepared", 20}, {"tpcb", "simple", 20},
		{"simple-update", "prepared", 20}, {"simple-update", "simple", 20},
		{"select-only", "prepared", 20}, {"select-only", "simple", 20},
		{"tpcb", "prepared", 1}, {"tpcb", "simple", 1},
	},
	latencySeconds: 5, latencyRounds: 3, topicSeconds: 5, backlog: 100_000, applyRounds: 3, lagSeconds: 15, triggerRows: 100_000,
}

// brief leaves out what tells least, and is too short for figures to be quoted.
var brief = plan{
	name: "short", seconds: 1, rounds: 3, warmSeconds: 5,
	workloads: []workload{
		{"tpcb", "prepared", 20}, {"tpcb", "simple", 20}, {"simple-update", "prepared", 20},
		{"select-only", "prepared", 20}, {"tpcb", "prepared", 1},
	},
	latencySeconds: 2, latencyRounds: 1, topicSeconds: 2, backlog: 20_000, applyRounds: 1, lagSeconds: 6, triggerRows: 20_000,
}

// settleTime is how long a way is used before it is measured the first time.
const settleTime = time.Second
