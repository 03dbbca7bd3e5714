package classify

import (
	"hash/maphash"
	"sync"

	"github.com/opmux/opmux/event"
)

// maxSeen bounds the shapes that are remembered (I7).
const maxSeen = 4096

// seen remembers the shapes of long texts. To make a template takes two parses more,
// which for an INSERT of many rows is most of what it costs; one of another number of
// rows is of another shape and would have no use of it.
type seen struct {
	mu    sync.Mutex
	seed  maphash.Seed
	known map[uint64]struct{}
}

// again tells whether a shape came before, of a text so long that it matters.
func (s *seen) again(key string) bool {
	if len(key) <= event.MaxInfoText {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known, s.seed = map[uint64]struct{}{}, maphash.MakeSeed()
	}
	hash := maphash.String(s.seed, key)
	if _, ok := s.known[hash]; ok {
		return true
	}
	if len(s.known) >= maxSeen {
		clear(s.known)
	}
	s.known[hash] = struct{}{}
	return false
}
