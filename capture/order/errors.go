package order

import (
	"errors"
	"fmt"

	"github.com/opmux/opmux/event"
)

// RefusedError says that a transaction may not commit (or not write at all) now,
// and that nothing of it has happened: the session answers 40001.
type RefusedError struct {
	Reason string
	Err    error // the cause, or nil
}

func (e *RefusedError) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

func (e *RefusedError) Unwrap() error { return e.Err }

// EndedError is why an epoch is over although its agent lives: another agent
// took it for dead, or a successor of the same name has started.
type EndedError struct {
	By     string // agent that wrote the FENCE
	Offset int64  // of that FENCE
	// Replaced is true where another process of the same agent name opened an
	// epoch: this process must stop, or the two would end each other for ever.
	Replaced bool
}

func (e *EndedError) Error() string {
	if e.Replaced {
		return fmt.Sprintf("another process runs as agent %q (its FENCE is at offset %d): agent names must be unique, this process stops", e.By, e.Offset)
	}
	return fmt.Sprintf("agent %q ended this epoch at offset %d, having heard nothing from it: sessions are closed and a new epoch opens", e.By, e.Offset)
}

// SecondAgentError says that another agent of the source holds the lock on the
// primary that gates cannot share.
type SecondAgentError struct{ Source, Gate string }

func (e *SecondAgentError) Error() string {
	if e.Gate == GateNone {
		return fmt.Sprintf("another agent of source %q is connected to the primary: gate none takes one agent per source; stop the other one, or give all of them gate recorded", e.Source)
	}
	return fmt.Sprintf("an agent of source %q with gate none is connected to the primary and excludes all others: stop it, or give it gate recorded", e.Source)
}

// PrimaryChangedError says that the primary is not the server, or not on the
// timeline, that the stream's operations ran on.
type PrimaryChangedError struct{ Have, Want event.Primary }

func (e *PrimaryChangedError) Error() string {
	switch {
	case succeeds(e.Want, e.Have):
		return fmt.Sprintf("the primary was failed over: it is on timeline %d, and the stream was recorded on timeline %d, so backups may be ahead of it. `opmux failover show --config <agent.yaml>` says what it has lost, `opmux failover accept --config <agent.yaml>` goes on with it",
			e.Have.Timeline, e.Want.Timeline)
	case succeeds(e.Have, e.Want):
		return fmt.Sprintf("this is a former primary: it is on timeline %d, and the stream goes on with a failed-over primary on timeline %d; connect to that one (upstream.address, catalog.dsn), or rebuild this one as its standby",
			e.Have.Timeline, e.Want.Timeline)
	}
	return fmt.Sprintf("the stream was recorded on system %s, timeline %d, database %q, and the primary is system %s, timeline %d, database %q: backups may be ahead of it or differ; connect to the former primary, or begin a new stream (another kafka.prefix) with `opmux topics create` and `opmux snapshot`",
		e.Want.SystemID, e.Want.Timeline, e.Want.Database, e.Have.SystemID, e.Have.Timeline, e.Have.Database)
}

// ConflictError says that two different outcomes were written for one intent.
// Nobody can follow the stream behind it (I2, I6).
type ConflictError struct {
	Ref    event.Ref
	Offset int64 // of the second outcome
	First  bool  // the first outcome: committed?
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("transaction %d of agent %q, epoch %d was first said to be %s and at offset %d to be %s: the stream cannot be followed; look the transaction up on the primary and start backups anew by `opmux snapshot`",
		e.Ref.N, e.Ref.Agent, e.Ref.Epoch, ended(e.First), e.Offset, ended(!e.First))
}

func ended(committed bool) string {
	if committed {
		return "committed"
	}
	return "aborted"
}

// ErrRestarted ends an epoch because the primary has started anew: the next
// epoch's FENCE records where its recovery ended.
var ErrRestarted = errors.New("the primary has started anew: a new epoch opens")

// ErrLockLost ends an epoch of gate none whose lock on the primary is gone.
var ErrLockLost = errors.New("the connection that holds the agent's lock on the primary is lost")

// Permanent reports whether opening again cannot help, so that the agent must stop.
func Permanent(err error) bool {
	var ended *EndedError
	if errors.As(err, &ended) {
		return ended.Replaced
	}
	var second *SecondAgentError
	var changed *PrimaryChangedError
	var conflict *ConflictError
	return errors.As(err, &second) || errors.As(err, &changed) || errors.As(err, &conflict)
}
