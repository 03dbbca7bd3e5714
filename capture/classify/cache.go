package classify

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/opmux/opmux/event"
)

// planCache keeps plans by exact text and everything else that they depend on.
// It is bounded by entries and by bytes of text, and drops what was used least
// recently (I7).
type planCache struct {
	maxEntries, maxBytes int
	seed                 maphash.Seed

	mu    sync.Mutex
	bytes int
	byKey map[uint64]*cached
	// root.next is the most recently used entry, root.prev the least.
	root cached
}

// cached is one plan with the input that it was made for. Entries whose keys
// collide replace each other; match tells them apart.
type cached struct {
	key        uint64
	prev, next *cached

	in       Input
	plan     *Plan
	restarts int64
	template *template // nil in the cache by exact text
}

// planOverhead is what a plan costs beside its texts, roughly, in bytes.
const planOverhead = 1024

func newPlanCache(entries, bytes int) *planCache {
	c := &planCache{maxEntries: entries, maxBytes: bytes, seed: maphash.MakeSeed(), byKey: map[uint64]*cached{}}
	c.root.prev, c.root.next = &c.root, &c.root
	return c
}

// hash covers the text only: one text rarely comes with several contexts, and
// match looks at the rest.
func (c *planCache) hash(in *Input) uint64 {
	h := maphash.String(c.seed, in.SQL)
	for _, s := range in.Schemas {
		h = h*31 + maphash.String(c.seed, s)
	}
	return h
}

// find returns what was put for an input, if it was made at that version.
func (c *planCache) find(in *Input, version, restarts int64) (*Plan, *template) {
	key := c.hash(in)
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil || e.plan.CatalogVersion != version || e.restarts != restarts || !e.match(in) {
		return nil, nil
	}
	c.unlink(e)
	c.link(e)
	return e.plan, e.template
}

func (c *planCache) put(in *Input, plan *Plan, restarts int64, t *template) {
	e := &cached{key: c.hash(in), in: *in, plan: plan, restarts: restarts, template: t}
	if e.size() > c.maxBytes/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.byKey[e.key]; old != nil {
		c.remove(old)
	}
	c.byKey[e.key] = e
	c.link(e)
	c.bytes += e.size()
	for len(c.byKey) > c.maxEntries || c.bytes > c.maxBytes {
		c.remove(c.root.prev)
	}
}

func (c *planCache) remove(e *cached) {
	c.unlink(e)
	delete(c.byKey, e.key)
	c.bytes -= e.size()
}

func (c *planCache) unlink(e *cached) { e.prev.next, e.next.prev = e.next, e.prev }

func (c *planCache) link(e *cached) {
	e.prev, e.next = &c.root, c.root.next
	e.prev.next, e.next.prev = e, e
}

func (e *cached) size() int {
	n := planOverhead + 2*len(e.in.SQL) + len(e.plan.frozen.text)
	if e.template != nil {
		n += 16 * (len(e.template.sql) + len(e.template.frozen))
	}
	return n
}

func (e *cached) match(in *Input) bool {
	a := &e.in
	return a.SQL == in.SQL && a.Level == in.Level && a.InHex == in.InHex && a.Lenient == in.Lenient && a.Unlockable == in.Unlockable && slices.Equal(a.ParamOIDs, in.ParamOIDs) &&
		slices.Equal(a.Schemas, in.Schemas) && sameSettings(a.Settings, in.Settings)
}

// meaning is what of a context decides how a statement is classified. The rest
// travels with the transaction and does not matter here.
type meaning struct {
	role, authorization, dateStyle, floatDigits, arrayNulls, replicationRole string
	// fixedZone says that TimeZone has the same offset on every day.
	fixedZone bool
	// temporaryFirst says that what is made by a bare name is temporary: search_path
	// begins with the session's temporary schema.
	temporaryFirst bool
}

func meaningOf(c event.Context) (m meaning) {
	for i := range c.Settings {
		s := &c.Settings[i]
		switch s.Name {
		case "role":
			m.role = s.Value
		case "session_authorization":
			m.authorization = s.Value
		case "DateStyle", "datestyle":
			m.dateStyle = s.Value
		case "TimeZone":
			m.fixedZone = isFixedZone(s.Value)
		case "extra_float_digits":
			m.floatDigits = s.Value
		case "array_nulls":
			m.arrayNulls = s.Value
		case "session_replication_role":
			m.replicationRole = s.Value
		case "search_path":
			m.temporaryFirst = isTempSchema(strings.TrimPrefix(s.Value, `"`))
		}
	}
	return m
}

func sameSettings(a, b event.Context) bool {
	if a.User != b.User {
		return false
	}
	if len(a.Settings) == len(b.Settings) && (len(a.Settings) == 0 || &a.Settings[0] == &b.Settings[0]) {
		return true
	}
	return meaningOf(a) == meaningOf(b)
}
