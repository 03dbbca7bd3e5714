package avro

import (
	"bytes"
	"sync"

	"github.com/opmux/opmux/event"
)

// contexts remembers contexts by their bytes, since the transactions of a session
// share one: a worker would else make the same strings for each of them. What it
// hands out is shared and must not be altered. Bounded by the limits below.
type contexts struct {
	mu    sync.RWMutex
	known map[string]*event.Context // guarded by mu
}

const (
	maxContexts     = 256
	maxContextBytes = 1024 // of one; a longer one is read each time
)

// get returns nil where those bytes are not known.
func (c *contexts) get(raw []byte) *event.Context {
	if c == nil || len(raw) == 0 {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.known[string(raw)]
}

func (c *contexts) put(raw []byte, context *event.Context) {
	if c == nil || len(raw) > maxContextBytes {
		return
	}
	kept := *context
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxContexts {
		c.known = make(map[string]*event.Context)
	}
	c.known[string(bytes.Clone(raw))] = &kept
}

// skimContext returns how many bytes of b a context takes, and 0 where that is
// not plain to see: it has several blocks, or is damaged.
func skimContext(b []byte) int {
	r := reader{b: b}
	r.take(r.long())
	r.take(r.long())
	r.long()
	changes := r.long()
	for range changes {
		if r.err != nil {
			return 0
		}
		r.long()
		switch r.long() {
		case nextAbsent:
		case nextOther:
			r.long()
		case nextValue:
			r.take(r.long())
		case nextSetting:
			r.take(r.long())
			r.take(r.long())
		default:
			return 0
		}
	}
	if changes != 0 && r.long() != 0 || r.err != nil {
		return 0
	}
	return len(b) - len(r.b)
}
