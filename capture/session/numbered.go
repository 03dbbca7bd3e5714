package session

import (
	"context"

	"github.com/opmux/opmux/event"
)

// numbered puts the names on the log that the server has numbered, while others' DROPs
// were open: at the transaction's place on the backups they are done, and the server there
// would choose otherwise. Asked at the commit, when most of these have ended.
func (s *Session) numbered(ctx context.Context, tx *txn, extended bool) error {
	list, err := s.deps.Catalog.Numbered(ctx, querier{s: s, extended: extended})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := onLog{s: s, tx: tx}
	if len(list) > 0 { // what the transaction went on as need not own them
		l.put(event.Operation{Kind: event.OpSet, Class: event.ClassText, Reason: "session context",
			Settings: []event.Setting{{Name: "role", Value: "none"}}, Digest: event.Digest{SQLState: "00000", Affected: -1}})
	}
	for _, n := range list {
		l.put(n.Operation())
	}
	return nil
}
