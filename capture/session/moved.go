package session

import (
	"context"
	"errors"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
)

// catalogMoved classifies again what the transaction ran, where the DDL counter
// has moved, and names what differs. The transaction holds its locks, so what
// still holds here held when it ran.
func (s *Session) catalogMoved(ctx context.Context, tx *txn, version int64, extended bool) string {
	if tx.manyPlans && (version == 0 || tx.unkept != version) {
		return "it has more different statements than can be checked again"
	}
	for p := range tx.plans {
		if (p.CatalogVersion == version && version != 0) || defines(p) && p.Makes == nil {
			continue
		}
		var q catalog.Querier
		if s.looksItself(tx) {
			q = querier{s: s, extended: extended}
		}
		what, err := s.deps.Classifier.Recheck(ctx, p, q)
		if err != nil {
			return err.Error()
		}
		if what != "" {
			return what
		}
	}
	return ""
}

// beforeOwnDDL checks what the transaction ran so far while its own DDL has not
// yet changed what it would be checked against. Whether there is DDL in what the
// capture triggers carry is seen behind it.
func (s *Session) beforeOwnDDL(ctx context.Context, p *classify.Plan, extended bool) (*refusal, error) {
	s.mu.Lock()
	tx := s.tx
	rests := tx != nil && tx.rests()
	s.mu.Unlock()
	if !rests {
		return nil, nil
	}
	if err := s.drain(); err != nil {
		return nil, err
	}
	if r := s.keepMeaning(ctx, p, extended); r != nil {
		return r, nil
	}
	version, err := s.deps.Catalog.Version(ctx)
	if err != nil {
		return refusedByGate(err), nil
	}
	now := holding{version: version, plans: tx.ran}
	if p.ByTriggers && version != 0 && tx.holding == now {
		return nil, nil // and the commit looks again
	}
	if what := s.catalogMoved(ctx, tx, version, extended); what != "" {
		return moved(what), nil
	}
	tx.holding = now
	if !p.ByTriggers {
		s.locked(tx.forgetPlans)
	}
	return nil, nil
}

// keepMeaning has what the transaction ran so far mean the same until its end, where it cannot
// be checked again behind DDL: who would change that waits, or is waited for.
func (s *Session) keepMeaning(ctx context.Context, p *classify.Plan, extended bool) *refusal {
	locks := []string{catalog.KeepDDL}
	if p.ByTriggers { // of most of these the commit looks again
		locks = []string{catalog.KeepNames}
	} else if name := ownLock(p); name != "" {
		locks = []string{ownSQL[name], catalog.KeepDDL} // two that go from one lock to the other would wait for one another
	}
	for _, sql := range locks {
		if _, err := (querier{s: s, extended: extended}).Query(ctx, sql); err != nil {
			return refusedByGate(err)
		}
	}
	return nil
}

// behindOthers waits until other transactions with DDL that may have their places before one's own have
// ended, and returns the catalogue's version then: what they change without a lock is seen
// once they have committed. Where no plan has to be looked at again, there is nothing to wait for.
func (s *Session) behindOthers(ctx context.Context, tx *txn, version int64) (int64, error) {
	counted := s.deps.Catalog.Counted()
	if counted && tx.settled(version) {
		return version, nil
	}
	if err := s.awaitDDL(ctx); err != nil || counted {
		return version, err
	}
	return s.deps.Catalog.Version(ctx) // a hash, of what is committed
}

// awaitDDL waits for the end of the transaction with DDL of others' that takes its place just now.
func (s *Session) awaitDDL(ctx context.Context) error {
	first, err := s.deps.Catalog.Placing(ctx, s.who.pid)
	if err != nil || first == "" {
		return err
	}
	return s.await(ctx, errPlacing, func() (bool, error) {
		now, err := s.deps.Catalog.Placing(ctx, s.who.pid)
		return now != first, err
	})
}

// errPlacing says that DDL of others does not come to its end.
var errPlacing = errors.New("a transaction with DDL has taken its place, and does not end")

// overtaken refuses a transaction that was looked up by itself, since it has changed the
// catalogue, or of whose rows the capture triggers' functions have told the tables by it,
// under a snapshot that does not see what others have changed of the catalogue since.
// Where it has no DDL of its own, a counter that stands at version, and where it stood before the
// transaction began, says that there is none.
func (s *Session) overtaken(ctx context.Context, tx *txn, version int64, extended bool) *refusal {
	s.mu.Lock()
	old := s.looksOld(tx) && (s.looksItself(tx) || version != s.quietVersion)
	s.mu.Unlock()
	if !old {
		return nil
	}
	is, err := s.deps.Catalog.OldSnapshot(ctx, querier{s: s, extended: extended})
	if err != nil {
		return refusedByGate(err)
	}
	if is {
		return moved("others have committed DDL that its snapshot does not see, and that its statements ran by; it has DDL of its own, or capture triggers carried it, so that nothing else can be asked")
	}
	return nil
}

// looksOld tells whether what a transaction was carried by was looked up under its own snapshot,
// which does not see what commits. Callers hold s.mu.
func (s *Session) looksOld(tx *txn) bool {
	return tx != nil && (s.looksItself(tx) || tx.traced) && tx.probe != nil && !seesWhatCommits(tx.probe.isolation)
}

// holding says that the first plans of a transaction hold at a version of the catalogue.
type holding struct {
	version int64
	plans   int // that were kept until then
}

// rests tells whether anything that the transaction ran rests on the catalogue. Callers
// hold s.mu.
func (t *txn) rests() bool {
	for p := range t.plans {
		if p.Rests() {
			return true
		}
	}
	return t.manyPlans
}

// settled tells whether all that the transaction ran was planned at a version of the catalogue,
// while no DDL was under way.
func (t *txn) settled(version int64) bool {
	for p := range t.plans {
		if p.CatalogVersion != version {
			return false
		}
	}
	return version != catalog.Unsettled && !t.manyPlans
}

// defines tells DDL, refused DDL included, which has changed what it would be
// classified by again.
func defines(p *classify.Plan) bool { return p.Kind == classify.DDL || p.Defines }
