package catalog

import (
	"context"
	"strconv"
)

// rowsSQL lists the catalogue's rows about what classification asks for, with the transactions that made and replaced
// them. Those of temporary relations, which no other session's statements see, are left out.
const rowsSQL = `
  select 'c' k, c.oid o, 0::pg_catalog.int4 n, c.xmin x, c.xmax d from pg_catalog.pg_class c where c.relpersistence <> 't'
  union all select 'a', a.attrelid, a.attnum, a.xmin, a.xmax from pg_catalog.pg_attribute a join lasting l on l.oid = a.attrelid
  union all select 'i', i.indexrelid, 0, i.xmin, i.xmax from pg_catalog.pg_index i join lasting l on l.oid = i.indrelid
  union all select 'k', k.oid, 0, k.xmin, k.xmax from pg_catalog.pg_constraint k where k.conrelid = 0 or k.conrelid in (select oid from lasting)
  union all select 't', t.oid, 0, t.xmin, t.xmax from pg_catalog.pg_trigger t join lasting l on l.oid = t.tgrelid
  union all select 'd', d.oid, 0, d.xmin, d.xmax from pg_catalog.pg_attrdef d join lasting l on l.oid = d.adrelid
  union all select 'r', r.oid, 0, r.xmin, r.xmax from pg_catalog.pg_rewrite r join lasting l on l.oid = r.ev_class
  union all select 'l', p.oid, 0, p.xmin, p.xmax from pg_catalog.pg_policy p join lasting l on l.oid = p.polrelid
  union all select 'h', h.inhrelid, h.inhseqno, h.xmin, h.xmax from pg_catalog.pg_inherits h join lasting l on l.oid = h.inhrelid
  union all select 'y', y.oid, 0, y.xmin, y.xmax from pg_catalog.pg_type y join spaces s on s.oid = y.typnamespace
  union all select 'p', p.oid, 0, p.xmin, p.xmax from pg_catalog.pg_proc p join spaces s on s.oid = p.pronamespace
  union all select 'n', s.oid, 0, s.xmin, s.xmax from spaces s
  union all select 'o', o.oid, 0, o.xmin, o.xmax from pg_catalog.pg_operator o
  union all select 's', s.oid, 0, s.xmin, s.xmax from pg_catalog.pg_cast s
  union all select 'm', e.oid, 0, e.xmin, e.xmax from pg_catalog.pg_enum e
  union all select 'q', q.seqrelid, 0, q.xmin, q.xmax from pg_catalog.pg_sequence q join lasting l on l.oid = q.seqrelid
  union all select 'z', z.partrelid, 0, z.xmin, z.xmax from pg_catalog.pg_partitioned_table z join lasting l on l.oid = z.partrelid
  union all select 'v', v.oid, 0, v.xmin, v.xmax from pg_catalog.pg_event_trigger v
  union all select 'g', g.oid, 0, g.xmin, g.xmax from pg_catalog.pg_language g`

// digestSQL hashes those rows, but for those that a process has made, or replaced, in
// its open transaction: whose ids are those that it has locked. $1 is the process.
func digestSQL(by string) string {
	return `
with own as materialized (select transactionid as id from pg_catalog.pg_locks where locktype = 'transactionid' and mode = 'ExclusiveLock' and granted and pid = $1::pg_catalog.int4
), lasting as materialized (select c.oid from pg_catalog.pg_class c where c.relpersistence <> 't'
), spaces as materialized (select n.oid, n.xmin, n.xmax from pg_catalog.pg_namespace n where n.nspname !~ '^pg_(toast_)?temp_')
select pg_catalog.count(*)::pg_catalog.text || ' ' || coalesce(pg_catalog.sum(pg_catalog.hashtextextended(k || o::pg_catalog.text || ':' || n::pg_catalog.text || ':' || x::pg_catalog.text, 0)), 0)::pg_catalog.text
from (` + rowsSQL + `) r where ` + by + ` not in (select id from own)`
}

var (
	seenSQL = digestSQL("x") // on the session: what it sees and has not made itself
	leftSQL = digestSQL("d") // on another: what is committed and not replaced by it
)

// OldSnapshot tells whether the transaction behind q, of the process pid, at REPEATABLE READ or above and not
// committed yet, sees a catalogue into which others have committed changes since its snapshot was
// taken: its statements ran by these, and look-ups by the transaction itself did not
// see them. Changes that it has made itself do not count.
func (c *Catalog) OldSnapshot(ctx context.Context, q Querier, pid int32) (bool, error) {
	process := strconv.Itoa(int(pid))
	seen, err := one(ctx, q, seenSQL, process)
	if err != nil {
		return false, err
	}
	left, err := one(ctx, c.lookups, leftSQL, process)
	return seen != left, err
}
