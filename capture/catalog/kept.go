package catalog

import "context"

// Keeper is a session's Querier that keeps the facts which were looked up on it.
type Keeper interface {
	Querier
	// Kept is where they are kept, nil for nowhere. What the session sent before has been
	// answered then.
	Kept() (*Kept, error)
}

// Kept are the facts that a session has looked up while its open transaction has changed
// the catalogue. They hold while the counter stands where it stood before they were looked
// up: every DDL moves it at once, the session's own, of temporary objects and inside of
// functions too. What undoes DDL does not: the session drops them where its transaction
// ends or goes back to a savepoint.
type Kept struct {
	// PID is the session's process: its own DDL, which is under way, it sees.
	PID int32

	facts             *Facts
	version, restarts int64
}

// Drop forgets what is kept.
func (k *Kept) Drop() { k.facts = nil }

// factsOf looks facts up on a session. While DDL of others is under way they are not kept:
// it has been counted already, and what it does is seen once it has committed.
func (c *Catalog) factsOf(ctx context.Context, q Querier) (*Facts, error) {
	keeper, ok := q.(Keeper)
	if !ok || !c.counted {
		return unsettledFacts(ctx, q)
	}
	k, err := keeper.Kept()
	if err != nil {
		return nil, err
	}
	restarts := c.Restarts()
	version, err := c.Version(ctx)
	if k == nil || err != nil {
		return unsettledFacts(ctx, q)
	}
	if k.facts != nil && k.version == version && k.restarts == restarts {
		return k.facts, nil
	}
	k.Drop()
	open, err := ddlOpen(ctx, c.lookups, k.PID)
	if err != nil {
		return nil, err
	}
	f, err := unsettledFacts(ctx, q)
	if err == nil && !open {
		k.facts, k.version, k.restarts = f, version, restarts
	}
	return f, err
}

func unsettledFacts(ctx context.Context, q Querier) (*Facts, error) {
	f, err := loadFacts(ctx, q)
	if f != nil {
		f.Version = Unsettled // the session's snapshot may be older than the counter
	}
	return f, err
}
