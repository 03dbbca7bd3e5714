package order

import "github.com/opmux/opmux/event"

// silence counts how long other epochs have not been heard of. The measure is the
// agent's own heartbeats as they come back from the status topic, not a clock: an
// agent that was frozen or cut off from Kafka finds its own beats missing as well,
// and does not take the others for dead.
type silence struct {
	own  int64 // own beats that came back
	seen map[event.EpochRef]int64
}

func (s *silence) init() { s.seen = map[event.EpochRef]int64{} }

// beat takes one of the agent's own heartbeats, read back.
func (s *silence) beat() { s.own++ }

// heard takes a sign of life of an epoch: a heartbeat or a record.
func (s *silence) heard(ref event.EpochRef) { s.seen[ref] = s.own }

// of returns for how many own beats nothing was heard of an epoch. Counting
// begins when the epoch is first asked for.
func (s *silence) of(ref event.EpochRef) int64 {
	seen, known := s.seen[ref]
	if !known {
		s.seen[ref] = s.own
		return 0
	}
	return s.own - seen
}

// keep forgets all epochs but those for which alive is true (I7).
func (s *silence) keep(alive func(event.EpochRef) bool) {
	for ref := range s.seen {
		if !alive(ref) {
			delete(s.seen, ref)
		}
	}
}
