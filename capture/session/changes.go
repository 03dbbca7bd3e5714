package session

import "github.com/opmux/opmux/capture/classify"

// changes voids what is known of a session that a command alters.
func (s *Session) changes(p *classify.Plan, e *entry) {
	if p.DiscardsStatements {
		s.discards(e)
	}
	before := e.onTag
	e.onTag = func(tag string) {
		if before != nil {
			before(tag)
		}
		s.kept.Drop()
		if p.ContextChanges {
			s.context, s.contextChanged = nil, true
		}
		if p.DiscardsStatements {
			clear(s.statements)
			clear(s.prepared)
		}
		if p.CatalogChanges {
			// A schema that was made, for temporary tables too, changes how names resolve.
			s.ownObjects, s.context, s.contextChanged = true, nil, true
		}
	}
}

// discards notes that a DISCARD ALL that has failed may have dropped the session's
// statements: what it does behind that, with temporary tables, can be cancelled.
func (s *Session) discards(e *entry) {
	before := e.onFail
	e.onFail = func() {
		if before != nil {
			before()
		}
		if !e.skipped {
			s.unsure = true
			clear(s.prepared)
		}
	}
}

// deallocated follows DEALLOCATE. Callers hold s.mu.
func (s *Session) deallocated(p *classify.Plan) {
	if p.Name == "" {
		clear(s.statements)
		clear(s.prepared)
		return
	}
	delete(s.statements, p.Name)
	delete(s.prepared, p.Name)
}
