// Package prepared keeps the transactions that applications have prepared
// (PREPARE TRANSACTION) in a table on the primary, opmux.prepared: a transaction's
// record as it will be, from before it is prepared until it has ended.
//
// The table also says whose COMMIT PREPARED counts. Each is an attempt with an id of
// its own, under which its intent is recorded. An attempt is claimed before its intent
// is written, and a claim goes to another attempt only where the one before surely did
// not commit and never will: its session at the primary is gone, or was answered, and
// the transaction is still prepared. So the transaction's status is that of its last
// attempt, and every earlier one is aborted, whatever becomes of the transaction
// (I4, ADR 23).
package prepared

import (
	"context"
	"errors"

	"github.com/opmux/opmux/event"
)

// Database is the captured database of the primary, over a connection of opmux's own.
// A query may be run twice, where its connection was lost.
type Database interface {
	Query(ctx context.Context, sql string, args ...string) ([][]event.Value, error)
	// Install runs commands in one transaction that no other agent's overlaps.
	Install(ctx context.Context, sql string) error
}

// ErrUnusable says that the table cannot be used, and why not.
var ErrUnusable = errors.New("the table opmux.prepared cannot be used")

// tableSQL makes the table. A row is deleted once its transaction has ended, but where
// several attempts had intents: then it stays without the body, since whoever settles
// one of them must learn which counts: any login may. The rest is as secret as the
// tables that the transactions wrote, whatever ALTER DEFAULT PRIVILEGES says.
const tableSQL = `
create schema if not exists opmux;
create table if not exists opmux.prepared (
  xid pg_catalog.xid8 primary key,
  gid pg_catalog.text not null,
  kept pg_catalog.timestamptz not null default pg_catalog.now(),
  version pg_catalog.int8 not null,
  body pg_catalog.bytea,
  promises pg_catalog.bytea,
  attempt pg_catalog.uuid,
  attempts pg_catalog.int4 not null default 0,
  backend_pid pg_catalog.int4,
  backend_start pg_catalog.int8,
  system pg_catalog.int8 not null default (pg_catalog.pg_control_system()).system_identifier);
do $opmux$ declare other pg_catalog.text; begin
  for other in select distinct case a.grantee when 0 then 'public' else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end
    from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a where c.oid = 'opmux.prepared'::pg_catalog.regclass and a.grantee <> c.relowner
  loop
    execute 'revoke all on opmux.prepared from ' || other;
  end loop;
end $opmux$;
grant select (xid, attempt, system) on opmux.prepared to public`

// StateSQL asks how many transactions may be prepared, and whether the table is there
// for this login.
const StateSQL = `select pg_catalog.current_setting('max_prepared_transactions'),
	case when t.oid is null then 'missing'
		when pg_catalog.has_schema_privilege(t.relnamespace, 'USAGE') and pg_catalog.has_table_privilege(t.oid, 'SELECT') and pg_catalog.has_table_privilege(t.oid, 'INSERT')
			and pg_catalog.has_table_privilege(t.oid, 'UPDATE') and pg_catalog.has_table_privilege(t.oid, 'DELETE') then 'usable'
		else 'forbidden' end
	from (values (1)) one left join pg_catalog.pg_class t on t.relname = 'prepared' and t.relkind = 'r'
		and t.relnamespace = (select n.oid from pg_catalog.pg_namespace n where n.nspname = 'opmux')`

// WaitingSQL lists the prepared transactions of a database whose table is usable: name,
// time, role, and whether it went past every agent (past), an attempt to end it is
// under way (ending), or it waits for one (kept).
const WaitingSQL = `select q.gid, q.prepared, q.owner::pg_catalog.text, case when k.xid is null then 'past' when k.attempt is null then 'kept' else 'ending' end
	from pg_catalog.pg_prepared_xacts q
	left join opmux.prepared k on k.xid::pg_catalog.xid = q.transaction and k.gid = q.gid and ` + statusOf + ` = 'in progress'
	where q.database = pg_catalog.current_database() order by q.prepared, q.gid`

const keepSQL = `insert into opmux.prepared (xid, gid, version, body, promises)
	values ($1::pg_catalog.xid8, $2, $3::pg_catalog.int8, $4::pg_catalog.bytea, $5::pg_catalog.bytea)
	on conflict (xid) do update set gid = excluded.gid, version = excluded.version, body = excluded.body, promises = excluded.promises, attempt = null, attempts = 0, system = excluded.system`

// claimSQL claims a prepared transaction for an attempt ($2) by a backend ($3, $4), where
// it is nobody's, or still that of the attempt $5. The first column says where there is a
// prepared transaction of that name, the next tell of the row as it was, the last of the claim.
const claimSQL = `with p as materialized (
	select q.transaction, q.gid from pg_catalog.pg_prepared_xacts q where q.gid = $1 and q.database = pg_catalog.current_database()
), r as materialized (
	select k.xid, k.attempt, k.backend_pid, k.backend_start from opmux.prepared k, p
	where k.xid::pg_catalog.xid = p.transaction and k.gid = p.gid and ` + statusOf + ` = 'in progress'
), c as (
	update opmux.prepared k set attempt = $2::pg_catalog.uuid, attempts = attempts + 1, backend_pid = $3::pg_catalog.int4, backend_start = $4::pg_catalog.int8
	from r where k.xid = r.xid and (k.attempt is null or k.attempt in ($2::pg_catalog.uuid, $5::pg_catalog.uuid))
	returning k.version, k.body, k.promises, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0') as lsn
) select case when exists (select from p) then 'here' when exists (select from pg_catalog.pg_prepared_xacts q where q.gid = $1) then 'elsewhere' end, r.xid, r.attempt, r.backend_pid, r.backend_start, c.lsn, c.version, c.body, c.promises
	from (values (1)) one left join r on true left join c on true`

// own tells that a row k is of this server: one that came with a dump is of another's.
const own = `k.system = (select c.system_identifier from pg_catalog.pg_control_system() c)`

// statusOf is how the transaction of a row k stands.
const statusOf = `case when ` + own + ` and
	k.xid < pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
	then coalesce(pg_catalog.pg_xact_status(k.xid), 'forgotten') else 'foreign' end`

// goneSQL tells whether a backend has ended. One whose start this login may not see has not.
const goneSQL = `select (not exists (select from pg_catalog.pg_stat_activity a where a.pid = $1::pg_catalog.int4
	and coalesce((extract(epoch from a.backend_start) * 1000000)::pg_catalog.int8, $2::pg_catalog.int8) = $2::pg_catalog.int8))::pg_catalog.text`

// withdrawSQL takes back a claim ($1) of a name ($2) whose command was never sent. The
// claim may be about to become visible: the row is found by its name, which waits for
// that, and looked at then.
const withdrawSQL = `update opmux.prepared set attempt = nullif(attempt, $1::pg_catalog.uuid) where gid = $2`

// GiveUpSQL takes a transaction ($1) that is still prepared from an attempt ($2) that
// will not commit it any more. The first column says whether there is a row, the
// second which attempt has it then.
const GiveUpSQL = `with g as (
	update opmux.prepared k set attempt = null where k.xid = $1::pg_catalog.text::pg_catalog.xid8 and ` + own + ` and k.attempt = $2::pg_catalog.text::pg_catalog.uuid
	and exists (select from pg_catalog.pg_prepared_xacts q where q.transaction = k.xid::pg_catalog.xid and q.database = pg_catalog.current_database())
	returning k.xid
) select case when exists (select from g) then null else k.attempt end::pg_catalog.text
	from opmux.prepared k where k.xid = $1::pg_catalog.text::pg_catalog.xid8 and ` + own

// AttemptSQL says which attempt has a transaction, no row: there was but one.
const AttemptSQL = `select k.attempt::pg_catalog.text from opmux.prepared k where k.xid = $1::pg_catalog.text::pg_catalog.xid8 and ` + own

// sweepSQL clears what has ended: of one transaction, or with ” of all. It returns
// those that were committed and that no attempt had claimed. A row that was written
// just now is of a transaction in progress.
const sweepSQL = `with s as materialized (
	select k.xid, k.attempt, k.attempts, coalesce(pg_catalog.length(k.body), 0) > 0 as whole, ` + statusOf + ` as status from opmux.prepared k
	where $1 = '' or k.xid = nullif($1, '')::pg_catalog.xid8
), gone as (
	delete from opmux.prepared k using s where k.xid = s.xid and k.attempt is not distinct from s.attempt
	and (s.status in ('aborted', 'forgotten', 'foreign') or s.status = 'committed' and (s.attempts = 0 or s.attempts = 1 and s.attempt is not null))
), rest as (
	update opmux.prepared k set body = null, promises = null from s where k.xid = s.xid and s.status = 'committed' and k.body is not null
	and not (s.attempts = 0 or s.attempts = 1 and s.attempt is not null)
) select s.xid from s where s.status = 'committed' and s.attempt is null and s.whole`
