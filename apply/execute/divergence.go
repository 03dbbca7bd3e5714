package execute

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

// anyTable stands for tables that cannot be told.
const anyTable = "*"

// Shared is what the lanes of one stream have in common. It is safe for
// concurrent use.
type Shared struct {
	Confirmed

	mu     sync.RWMutex
	tables map[string]position.Diverged

	// schema counts the groups that may have changed the target's schema.
	schema atomic.Int64
}

// NewShared returns what lanes share, beginning with tables that have diverged.
func NewShared(diverged []position.Diverged) *Shared {
	s := &Shared{tables: map[string]position.Diverged{}}
	s.diverge(diverged)
	return s
}

func (s *Shared) diverge(list []position.Diverged) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range list {
		if _, ok := s.tables[d.Table]; !ok {
			s.tables[d.Table] = d
		}
	}
}

// Diverged returns the tables that no longer follow the source.
func (s *Shared) Diverged() []position.Diverged {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]position.Diverged, 0, len(s.tables))
	for _, d := range s.tables {
		list = append(list, d)
	}
	return list
}

// follow takes over what an attempt that is committed has made of tables.
func (s *Shared) follow(a *attempt) {
	s.mu.Lock()
	for table, diverged := range a.states {
		if !diverged {
			delete(s.tables, table)
		}
	}
	s.mu.Unlock()
	s.diverge(slices.DeleteFunc(a.declared, func(d position.Diverged) bool { return !a.states[d.Table] }))
}

// settle takes the tables that have diverged as the target had them when they were read:
// those that were known before and are gone there are the primary's again. What other lanes
// have declared since is kept, and at no moment is the list another one.
func (s *Shared) settle(known, read []position.Diverged) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range known {
		delete(s.tables, d.Table)
	}
	for _, d := range read {
		s.tables[d.Table] = d
	}
}

func (s *Shared) has(table string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.tables[table]
	return ok
}

// tablesOf returns the tables that an operation writes.
func tablesOf(op *event.Operation) []string {
	if len(op.Tables) == 0 && op.Rows != nil {
		return []string{op.Rows.Schema + "." + op.Rows.Table}
	}
	return op.Tables
}
