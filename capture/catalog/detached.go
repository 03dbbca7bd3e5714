package catalog

import (
	"context"
	"strconv"
)

const (
	// pendingSQL lists the partitions that are between the two transactions of their
	// DETACH … CONCURRENTLY (PostgreSQL 14 and above; before, there is no such column).
	pendingSQL = `select i.inhrelid::pg_catalog.text, i.inhparent::pg_catalog.text from pg_catalog.pg_inherits i where pg_catalog.to_jsonb(i) ->> 'inhdetachpending' = 'true'`
	// detachedSQL finds one of them, with its parent, that the transaction has
	// locked above as TRUNCATE and DDL do. Which there are another has asked: the
	// transaction's snapshot may be older. One whose parent the transaction has dropped went
	// with it, here and on the backups, if $3 says that this is all that counts: the function
	// looks as the server does, whatever the snapshot. Parameters: arrays of both.
	detachedSQL = `
select i.part::pg_catalog.regclass::pg_catalog.text, i.parent::pg_catalog.regclass::pg_catalog.text
from rows from (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.oid[])) i (part, parent)
where not ($3::pg_catalog.bool and pg_catalog.pg_table_is_visible(i.parent) is null) and exists (
  select from pg_catalog.pg_locks l where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted
    and l.mode in ('ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
    and (l.relation = i.part or l.relation in (select relid from pg_catalog.pg_partition_ancestors(i.parent))))
order by 1 limit 1`
)

// Detached is a partition that a DETACH … CONCURRENTLY, under way or cancelled, has
// taken half out of its parent. On the backups it is still in there.
type Detached struct{ Partition, Parent string }

// HalfDetached finds one such partition among the tables that the transaction behind
// q, not committed yet, has truncated or altered; nil: there is none. Those that it has
// dropped with their parent count only if it read them before, on the backups too (reads).
func (c *Catalog) HalfDetached(ctx context.Context, q Querier, reads bool) (*Detached, error) {
	pending, err := c.lookups.Query(ctx, pendingSQL)
	if err != nil || len(pending) == 0 {
		return nil, err
	}
	parts, parents := make([]string, len(pending)), make([]string, len(pending))
	for i, r := range pending {
		parts[i], parents[i] = string(r[0].Text), string(r[1].Text)
	}
	rows, err := q.Query(ctx, detachedSQL, ArrayLiteral(parts), ArrayLiteral(parents), strconv.FormatBool(!reads))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &Detached{Partition: string(rows[0][0].Text), Parent: string(rows[0][1].Text)}, nil
}
