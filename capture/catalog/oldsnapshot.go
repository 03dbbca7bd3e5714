package catalog

import (
	"context"
	"fmt"
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
  union all select 'g', g.oid, 0, g.xmin, g.xmax from pg_catalog.pg_language g
  union all select 'b', b.oid, 0, b.xmin, b.xmax from pg_catalog.pg_collation b
  union all select 'u', u.oid, 0, u.xmin, u.xmax from pg_catalog.pg_opclass u
  union all select 'j', j.oid, 0, j.xmin, j.xmax from pg_catalog.pg_conversion j
  union all select 'f', f.oid, 0, f.xmin, f.xmax from pg_catalog.pg_ts_config f
  union all select 'w', w.oid, 0, w.xmin, w.xmax from pg_catalog.pg_ts_dict w
  union all select 'x', x.oid, 0, x.xmin, x.xmax from pg_catalog.pg_extension x
  union all select 'e', e.objid, 0, e.xmin, e.xmax from pg_catalog.pg_depend e where e.deptype = 'e'`

// Ids of transactions have 32 bits in rows, and those of frozen rows may be of an earlier
// round: they are compared within bounds only. $1 is an id that is younger than all that
// the transaction has had.
const (
	aboutSQL = `
with about as materialized (select pg_catalog.pg_snapshot_xmin(s)::pg_catalog.text::pg_catalog.int8 as oldest, pg_catalog.pg_snapshot_xmax(s)::pg_catalog.text::pg_catalog.int8 as newest,
  $1::pg_catalog.int8 as next, s::pg_catalog.text as snapshot from (select pg_catalog.pg_current_snapshot() as s) c
), lasting as materialized (select c.oid from pg_catalog.pg_class c where c.relpersistence <> 't'
), spaces as materialized (select n.oid, n.xmin, n.xmax from pg_catalog.pg_namespace n where n.nspname !~ '^pg_(toast_)?temp_')`
	digestSQL = `pg_catalog.count(h)::pg_catalog.text || ' ' || coalesce(pg_catalog.sum(h), 0)::pg_catalog.text`
	rowSQL    = `pg_catalog.hashtextextended(k || o::pg_catalog.text || ':' || n::pg_catalog.text || ':' || x::pg_catalog.text, 0)`
	// replacedSQL tells what a transaction that is under way has replaced, the one that is
	// asked about or another: which of these cannot be asked. A subtransaction that was
	// released has no lock of its id any more.
	replacedSQL = `case when d = '0'::pg_catalog.xid or (d::pg_catalog.text::pg_catalog.int8 - oldest) & 4294967295 >= next - oldest then false
  else pg_catalog.pg_xact_status((oldest + ((d::pg_catalog.text::pg_catalog.int8 - oldest) & 4294967295))::pg_catalog.text::pg_catalog.xid8) = 'in progress' end`
	// seenSQL hashes on the session what it sees and has not made itself: of what its snapshot
	// does not see it sees its own only. An id from before the snapshot is its own by the lock.
	seenSQL = aboutSQL + `, own as materialized (select transactionid as id from pg_catalog.pg_locks where locktype = 'transactionid' and mode = 'ExclusiveLock' and granted and pid = pg_catalog.pg_backend_pid())
select ` + digestSQL + ` || ' 0', (select snapshot from about)
from (select ` + rowSQL + ` as h from (` + rowsSQL + `) r, about where not (` + replacedSQL + `) and (x::pg_catalog.text::pg_catalog.int8 - newest) & 4294967295 >= next - newest and x not in (select id from own)) r`
	// leftSQL hashes on another what is committed, and counts what has come since the
	// snapshot, $2, and is being replaced: perhaps by the transaction, which has run by it.
	leftSQL = aboutSQL + `
select ` + digestSQL + ` || ' ' || pg_catalog.count(*) filter (where replaced and came < greatest(next, newest) and not pg_catalog.pg_visible_in_snapshot(came::pg_catalog.text::pg_catalog.xid8, $2::pg_catalog.pg_snapshot))::pg_catalog.text
from (select next, newest, replaced, case when not replaced then ` + rowSQL + ` end as h, since + ((x::pg_catalog.text::pg_catalog.int8 - since) & 4294967295) as came
  from (` + rowsSQL + `) r, about, lateral (select ` + replacedSQL + ` as replaced, pg_catalog.pg_snapshot_xmin($2::pg_catalog.pg_snapshot)::pg_catalog.text::pg_catalog.int8 as since) s) r`
)

// OldSnapshot tells whether the transaction behind q, at REPEATABLE READ or above and not
// committed yet, sees a catalogue into which others have committed changes since its snapshot was
// taken: its statements ran by these, and look-ups by the transaction itself did not
// see them. Changes that it has made itself do not count.
func (c *Catalog) OldSnapshot(ctx context.Context, q Querier) (bool, error) {
	next, err := c.nextID(ctx)
	if err != nil {
		return false, err
	}
	rows, err := q.Query(ctx, seenSQL, next)
	if err != nil {
		return false, err
	}
	if len(rows) != 1 || len(rows[0]) != 2 {
		return false, fmt.Errorf("the catalogue that a snapshot sees came as %d rows", len(rows))
	}
	left, err := one(ctx, c.lookups, leftSQL, next, string(rows[0][1].Text))
	return string(rows[0][0].Text) != left, err
}

// nextID draws an id of a transaction, which is younger than all that have one by now.
func (c *Catalog) nextID(ctx context.Context) (string, error) {
	return one(ctx, c.lookups, `select pg_catalog.pg_current_xact_id()::pg_catalog.text`)
}
