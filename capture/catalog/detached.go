package catalog

import "context"

const (
	// pendingSQL tells whether a partition is between the two transactions of its
	// DETACH … CONCURRENTLY (PostgreSQL 14 and above; before, there is no such column).
	pendingSQL = `select from pg_catalog.pg_inherits i where pg_catalog.to_jsonb(i) ->> 'inhdetachpending' = 'true' limit 1`
	// detachedSQL lists those of them, with their parents, that the transaction has
	// locked above as TRUNCATE and DDL do.
	detachedSQL = `
select i.inhrelid::pg_catalog.regclass::pg_catalog.text, i.inhparent::pg_catalog.regclass::pg_catalog.text
from pg_catalog.pg_inherits i
where pg_catalog.to_jsonb(i) ->> 'inhdetachpending' = 'true' and exists (
  select from pg_catalog.pg_locks l where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
    and l.mode in ('ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
    and (l.relation = i.inhrelid or l.relation in (select relid from pg_catalog.pg_partition_ancestors(i.inhparent))))
order by 1 limit 1`
)

// Detached is a partition that a DETACH … CONCURRENTLY, under way or cancelled, has
// taken half out of its parent. On the backups it is still in there.
type Detached struct{ Partition, Parent string }

// HalfDetached finds one such partition among the tables that the transaction behind
// q, not committed yet, has truncated or altered; nil: there is none.
func (c *Catalog) HalfDetached(ctx context.Context, q Querier) (*Detached, error) {
	pending, err := c.lookups.Query(ctx, pendingSQL)
	if err != nil || len(pending) == 0 {
		return nil, err
	}
	rows, err := q.Query(ctx, detachedSQL)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &Detached{Partition: string(rows[0][0].Text), Parent: string(rows[0][1].Text)}, nil
}
