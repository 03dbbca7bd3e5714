package order

import (
	"errors"
	"fmt"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// The gate modes of this build.
const (
	GateNone     = "none"
	GateRecorded = "recorded"
)

// GateFailover stands for a gate in the FENCE by which an operator accepts a
// primary on a new timeline.
const GateFailover = "failover"

// Config is what one agent's ledger is told.
type Config struct {
	// Source and Agent name the stream and its writer; Agent is unique and lasting.
	Source, Agent string
	// Gate is GateNone or GateRecorded.
	Gate string
	// Timeout is how long a commit waits for its record to be acknowledged before
	// it is refused (default 5 s).
	Timeout time.Duration
	// BufferBytes bounds what is written but not acknowledged, and under gate none
	// what waits for its turn, before first writes are refused (default 64 MiB).
	BufferBytes int64
	// RecordBytes is the largest value of one record (default, and at
	// most, what the topics take).
	RecordBytes int
	// OutcomeDelay is the longest time that an outcome waits for others to share
	// its record (default 2 ms).
	OutcomeDelay time.Duration
	// Beat is the time between heartbeats (default 1 s).
	Beat time.Duration
	// SilentBeats is how many of the agent's own heartbeats must have passed since
	// another epoch with an open intent was last heard of, before it is ended (default 10).
	SilentBeats int
	// Level is the digest level of what sessions record.
	Level event.Level
}

// keySlack is left of topics.MaxRecordBytes for a record's key.
const keySlack = 4096

// withDefaults fills what is zero and checks the rest.
func (c Config) withDefaults() (Config, error) {
	if c.Source == "" || c.Agent == "" {
		return c, errors.New("order: source and agent must be named")
	}
	if c.Gate != GateNone && c.Gate != GateRecorded {
		return c, fmt.Errorf("order: gate %q: only %q and %q are built", c.Gate, GateNone, GateRecorded)
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.BufferBytes <= 0 {
		c.BufferBytes = 64 << 20
	}
	if most := topics.MaxRecordBytes - keySlack; c.RecordBytes <= 0 || c.RecordBytes > most {
		c.RecordBytes = most
	}
	if c.OutcomeDelay <= 0 {
		c.OutcomeDelay = 2 * time.Millisecond
	}
	if c.Beat <= 0 {
		c.Beat = time.Second
	}
	if c.SilentBeats <= 0 {
		c.SilentBeats = 10
	}
	if c.Level == "" {
		c.Level = event.LevelCount
	}
	return c, nil
}
