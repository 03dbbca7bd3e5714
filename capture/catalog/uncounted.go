package catalog

import (
	"context"
	"errors"
)

// ErrUncounted says that DDL is not counted any more.
var ErrUncounted = errors.New("the event triggers opmux_ddl, opmux_ddl_start and opmux_names, or the counter behind them, are gone from the primary or disabled, so that DDL past the agents would not be noticed: " +
	"start the agent again with a superuser's catalog.dsn, which makes them anew")

// stillCountedSQL looks for what counts DDL, of this build or a newer one.
const stillCountedSQL = `select pg_catalog.count(*) = 3 and pg_catalog.to_regclass('opmux.ddl_counter') is not null
	from pg_catalog.pg_event_trigger where evtname in ('opmux_ddl', 'opmux_ddl_start', 'opmux_names') and evtenabled = 'A'`

// stillCounted returns ErrUncounted where somebody has taken the counter away: facts
// of the catalogue would be believed for good (I6). An agent that starts makes it anew,
// and knows nothing of before.
func (c *Catalog) stillCounted(ctx context.Context) error {
	if !c.counted {
		return nil
	}
	if there, err := one(ctx, c.lookups, stillCountedSQL); err != nil || there == "t" {
		return nil // who is away, Run tells
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
	c.restarts.Add(1) // transactions that are open believed it
	return ErrUncounted
}
