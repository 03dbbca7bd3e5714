package session

import "sync"

// maxContexts and maxContextBytes bound what is remembered (I7).
const (
	maxContexts     = 256
	maxContextBytes = 4 << 10
)

// contexts are those that sessions have had: most of an application have the same one.
// Shared, it is held once, and what was found out of its settings (whether a plan holds
// under them) is seen to be the same without comparing them.
type contexts struct {
	mu    sync.Mutex
	known map[contextKey]*sessionContext
}

// contextKey is everything that a context is made of.
type contextKey struct {
	raw, database  string
	async, garbled bool
}

// same returns the context that is there already for one that was made of key.
func (c *contexts) same(key contextKey, made *sessionContext) *sessionContext {
	if c == nil || len(key.raw) > maxContextBytes {
		return made
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if there := c.known[key]; there != nil {
		return there
	}
	if c.known == nil || len(c.known) >= maxContexts {
		c.known = map[contextKey]*sessionContext{}
	}
	c.known[key] = made
	return made
}
