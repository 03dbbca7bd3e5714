package catalog

import (
	"context"
	"fmt"
	"strconv"
)

// byNumbersSQL says of a partitioned table p that the hashes of its key are of such numbers.
const byNumbersSQL = `p.partstrat = 'h' and exists (select from pg_catalog.generate_series(0, p.partnatts - 1) k(i)
  join pg_catalog.pg_opclass o on o.oid = p.partclass[k.i] join pg_catalog.pg_type t on t.oid = o.opcintype
  left join pg_catalog.pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[k.i] and a.attnum > 0
  left join pg_catalog.pg_type y on y.oid = a.atttypid left join pg_catalog.pg_type e on e.oid = y.typelem
  where t.typname in ('anyenum', 'record', 'anyrange', 'anymultirange', 'oid', 'oidvector')
    and not (t.typname in ('anyrange', 'anymultirange') and coalesce(y.oid, 16384) < 16384)
    or t.typname = 'anyarray' and (e.oid is null or e.oid >= 16384 and e.typtype <> 'b' or e.typname ~ '^(oid|reg.*)$'))`

// hashedSQL names the table, of a partition and the tables above it or of a partitioned table
// itself, that is partitioned by hashes of object numbers: of enums, and of what may hold
// such. It is a query of its own, since most tables are no part of partitioned ones.
// Parameter: the table's OID.
const hashedSQL = `
with recursive up (oid, level) as (
  select $1::pg_catalog.oid, 0
  union all
  select i.inhparent, up.level + 1 from up join pg_catalog.pg_class c on c.oid = up.oid and c.relispartition join pg_catalog.pg_inherits i on i.inhrelid = up.oid
)
select n.nspname || '.' || c.relname from up join pg_catalog.pg_partitioned_table p on p.partrelid = up.oid
  join pg_catalog.pg_class c on c.oid = up.oid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where ` + byNumbersSQL + `
order by up.level desc limit 1`

// lookHashed finds out whether rows may lie in other partitions on another server.
func (t *Table) lookHashed(ctx context.Context, q Querier) error {
	if !t.Partition && t.Kind != Partitioned {
		return nil
	}
	rows, err := q.Query(ctx, hashedSQL, strconv.FormatUint(uint64(t.OID), 10))
	if err != nil {
		return fmt.Errorf("look up how relation %s is partitioned: %w", t.Qualified(), err)
	}
	if len(rows) > 0 {
		t.Hashed = string(rows[0][0].Text)
		t.fingerprint += " hashed " + t.Hashed
	}
	return nil
}

// Misplaced says that the table is a partition whose rows are others on each server.
func (t *Table) Misplaced() bool { return t.Hashed != "" && t.Hashed != t.Qualified() }
