package session

import (
	"context"
	"errors"
	"slices"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
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
		what, err := s.planMoved(ctx, tx, p, extended)
		if err != nil {
			return err.Error()
		}
		if what != "" {
			return what
		}
	}
	return ""
}

// planMoved says what differs where one statement of a transaction is classified again.
func (s *Session) planMoved(ctx context.Context, tx *txn, p *classify.Plan, extended bool) (string, error) {
	switch {
	case s.looksItself(tx):
		return s.deps.Classifier.Recheck(ctx, p, querier{s: s, extended: extended})
	case tx.undone:
		return s.deps.Classifier.Undone(ctx, p)
	}
	return s.deps.Classifier.Differs(ctx, p)
}

// renew puts plans that are made now in place of those of statements that ran behind, or beside, DDL of
// others, where these did just the same: what the record then says of the tables is true, and the catalogue has not
// moved since. Others are found by the look behind the record, and so are all while DDL is under way.
func (s *Session) renew(ctx context.Context, tx *txn) error {
	version := s.deps.Catalog.Known()
	old := func(p *classify.Plan) bool { return p.CatalogVersion != version && p.Rests() && !defines(p) }
	if tx.undone || s.looksItself(tx) || !slices.ContainsFunc(tx.noted, old) {
		return nil
	}
	if moving, err := s.deps.Catalog.Moving(ctx); moving || err != nil {
		return err
	}
	for i, p := range tx.noted {
		if !old(p) {
			continue
		}
		now, err := s.deps.Classifier.Renew(ctx, p)
		if err != nil {
			return err
		}
		s.locked(func() { tx.renewPlan(i, now) })
	}
	return nil
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
	sql := catalog.KeepDDL
	if p.ByTriggers { // of most of these the commit looks again
		sql = catalog.KeepNames
	} else if name := ownLock(p); name != "" {
		sql = ownSQL[name] // more than that
	}
	_, err := (querier{s: s, extended: extended}).Query(ctx, sql)
	var answered *serverError
	switch {
	case errors.As(err, &answered): // a cancel, a timeout: as for a lock of the statement's own
		return &refusal{code: pgwire.FieldValue(answered.fields, pgwire.FieldCode), plain: true, message: answered.Error()}
	case err != nil:
		return refusedByGate(err)
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
