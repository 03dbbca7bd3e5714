package catalog

import (
	"context"
	"fmt"
	"strconv"
)

// Some DDL locks none of the tables that it is about: ALTER SCHEMA … RENAME gives a name to
// another table, ALTER TYPE … RENAME VALUE one of its values, CREATE OR REPLACE FUNCTION changes what
// statements do. Advisory locks of opmux's stand in for the locks that it lacks (ADR 39).

// LockDDL waits until no transaction with DDL is open, and keeps others with DDL from
// committing until the session's own has ended. What
// DDL does on a condition (IF EXISTS) then depends on nothing that is recorded in
// another order (I3).
var LockDDL = fmt.Sprintf("SELECT pg_catalog.pg_advisory_xact_lock(%d, %d)", lockClass, ddlLock)

// LockNames waits until no transaction is open that has DDL or that capture triggers have carried: these tell tables
// and values by the names that they have. New ones wait until the session's own has ended.
var LockNames = fmt.Sprintf("SELECT pg_catalog.pg_advisory_xact_lock(%d, %d)", lockClass, namesLock)

// LockBoth is LockDDL and LockNames.
var LockBoth = LockDDL + fmt.Sprintf(", pg_catalog.pg_advisory_xact_lock(%d, %d)", lockClass, namesLock)

// KeepNames keeps names as they are until the session's transaction ends, KeepDDL also what
// LockDDL guards.
var (
	KeepNames = fmt.Sprintf("SELECT pg_catalog.pg_advisory_xact_lock_shared(%d, %d)", lockClass, namesLock)
	KeepDDL   = KeepNames + fmt.Sprintf(", pg_catalog.pg_advisory_xact_lock_shared(%d, %d)", lockClass, ddlLock)
)

// LockPlace is held by a transaction with DDL from before it takes its place until it has ended.
var LockPlace = fmt.Sprintf("SELECT pg_catalog.pg_advisory_xact_lock(%d, %d)", lockClass, placeLock)

// keepNamesSQL is KeepNames in PL/pgSQL of opmux's own.
var keepNamesSQL = fmt.Sprintf("perform pg_advisory_xact_lock_shared(%d, %d);", lockClass, namesLock)

// namesSQL has every DDL command keep names before it looks at any; and what renames inside of a
// function, where no agent sees it come, lock them.
var namesSQL = fmt.Sprintf(`
create or replace function opmux.keep_names() returns event_trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $opmux$
begin
  if tg_tag in ('ALTER SCHEMA', 'ALTER TYPE', 'ALTER DOMAIN') and coalesce(current_setting('opmux.capture', true), '') = 'on' then
    perform pg_advisory_xact_lock(%d, %d);
  else
    %s
  end if;
end $opmux$;
drop event trigger if exists opmux_names;
create event trigger opmux_names on ddl_command_start execute function opmux.keep_names();
alter event trigger opmux_names enable always
`, lockClass, namesLock, keepNamesSQL)

var placingSQL = fmt.Sprintf(`select pg_catalog.min(l.pid::pg_catalog.text || ' ' || l.virtualtransaction) from pg_catalog.pg_locks l join pg_catalog.pg_database d on d.oid = l.database
	where l.locktype = 'advisory' and l.classid = %d and l.objid = %d and l.objsubid = 2 and l.granted
	and d.datname = pg_catalog.current_database() and l.pid <> $1::pg_catalog.int4`, lockClass, placeLock)

// Placing names the transaction with DDL that has or takes its place and has not ended, but
// for one of process but; empty: there is none.
func (c *Catalog) Placing(ctx context.Context, but int32) (string, error) {
	return one(ctx, c.versions, placingSQL, strconv.Itoa(int(but)))
}
