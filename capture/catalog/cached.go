package catalog

import (
	"context"
	"slices"
	"strings"
)

// Table looks a relation up: in schema, or where that is empty, in schemas in
// their order. Schema pg_temp is the temporary one among schemas. q is nil for
// the catalogue's own connection, whose answers are cached; those of a session
// are not, and are Unsettled: look again at the end. ErrNotFound: there is none.
func (c *Catalog) Table(ctx context.Context, q Querier, schemas []string, schema, name string) (*Table, error) {
	path := schemas
	switch {
	case schema == "pg_temp":
		path = slices.DeleteFunc(slices.Clone(schemas), func(s string) bool { return !strings.HasPrefix(s, "pg_temp_") })
	case schema != "":
		path = []string{schema}
	}
	if q != nil {
		t, err := lookup(ctx, q, path, name)
		if t != nil {
			t.Version = Unsettled // the session's snapshot may be older than the counter
		}
		return t, err
	}
	key := tableKey{strings.Join(path, "\x00"), name}
	c.mu.Lock()
	t := c.tables[key]
	c.mu.Unlock()
	if t != nil && t.Version == c.Known() {
		return t, nil
	}
	// A session's end drops its temporary tables without DDL, and the next session
	// may get the same schema: they are never cached.
	err := c.stable(ctx, func(version int64) (err error) {
		if t, err = lookup(ctx, c.lookups, path, name); err == nil {
			t.Version = version
		}
		return err
	}, func() {
		if !t.Temp {
			bound(c.tables)
			c.tables[key] = t
		}
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// bound empties a full cache (I7).
func bound[K comparable, V any](m map[K]V) {
	if len(m) >= maxEntries {
		clear(m)
	}
}

// stable runs a look-up between a reading of the counter and a check that it is
// still worth caching; store is called, under the lock, where it is. The order
// counter, DDL lock, look-up (each with a snapshot of its own) makes a cached
// answer at least as new as its counter: DDL that was counted before is either
// visible or still holds the lock, and then the version is Unsettled.
func (c *Catalog) stable(ctx context.Context, look func(version int64) error, store func()) error {
	restarts := c.Restarts()
	version, err := c.Version(ctx)
	if err != nil {
		return err
	}
	if c.counted {
		open, err := ddlOpen(ctx, c.lookups, 0)
		if err != nil {
			return err
		}
		if open {
			version = Unsettled
		}
	}
	if err := look(version); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Known() == version && c.Restarts() == restarts {
		c.settled.Store(version)
		store()
	}
	return nil
}

// Settled is a version of the catalogue at which no DDL was under way: where the counter
// still says so, nobody has committed any since. 0: there is none.
func (c *Catalog) Settled() int64 { return c.settled.Load() }

// Moving tells whether DDL is under way, so that nothing that is looked up now will stand.
func (c *Catalog) Moving(ctx context.Context) (bool, error) {
	if !c.counted {
		return false, nil
	}
	return ddlOpen(ctx, c.lookups, 0)
}

// Facts are what the database defines beside the built-in objects. q as in Table.
func (c *Catalog) Facts(ctx context.Context, q Querier) (*Facts, error) {
	if q != nil {
		return c.factsOf(ctx, q)
	}
	c.mu.Lock()
	f := c.facts
	c.mu.Unlock()
	if f != nil && f.Version == c.Known() {
		return f, nil
	}
	err := c.stable(ctx, func(version int64) (err error) {
		if f, err = loadFacts(ctx, c.lookups); err == nil {
			f.Version = version
		}
		return err
	}, func() { c.facts = f })
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Access tells what a role may do with a table. q as in Table.
func (c *Catalog) Access(ctx context.Context, q Querier, role string, t *Table) (*Access, error) {
	if q != nil {
		return loadAccess(ctx, q, role, t.OID)
	}
	key := accessKey{role, t.OID}
	c.mu.Lock()
	a := c.access[key]
	c.mu.Unlock()
	if a != nil && a.version == c.Known() {
		return a, nil
	}
	err := c.stable(ctx, func(version int64) (err error) {
		if a, err = loadAccess(ctx, c.lookups, role, t.OID); err == nil {
			a.version = version
		}
		return err
	}, func() {
		bound(c.access)
		c.access[key] = a
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// ForgetAccess drops what is cached about roles: their attributes change without
// DDL that is counted.
func (c *Catalog) ForgetAccess() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.access)
}
