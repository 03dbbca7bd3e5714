package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// TriggerName is the name of the trigger that keeps row images. It sorts before the
// names of other triggers and of foreign keys' actions, so that a row is kept before
// what its change sets off.
const TriggerName = "!opmux"

// TruncateTriggerName is the name of the trigger that keeps TRUNCATE.
const TruncateTriggerName = "!opmux_truncate"

// ComputedTriggerName is the name of the trigger that notes, on tables with generated
// columns, under which settings they were computed.
const ComputedTriggerName = "!opmux_computed"

// SwitchOn wakes the capture triggers for the rest of the session's transaction, or
// until the images are taken; TakeSQL takes them, its parameter is CaptureMAC.
const (
	SwitchOn = "SET LOCAL opmux.capture = 'on'"
	TakeSQL  = "SELECT what, schema_name, table_name, root_schema, root_table, note, before, after, was, became, command FROM opmux.take_6($1)"
)

// The values of TakeSQL's first column.
const (
	TakenInsert    = "I"
	TakenUpdate    = "U"
	TakenDelete    = "D"
	TakenTruncate  = "T"
	TakenDDL       = "L" // note: what it did; before: see Ran; after: the stack of what ran it
	TakenPart      = ""  // a row of TakenDDL that another one has the rest of
	TakenTemporary = "E" // temporary objects were made or dropped; note: how
	TakenSequence  = "S" // table_name was drawn from, or may have been
	TakenUnseen    = "X" // table_name may have been written unseen; note: why
	TakenRoles     = "R" // roles or their settings were changed, which fires no event trigger
	TakenComputed  = "G" // table_name has generated columns; note: see ComputedUnder
	TakenComputedF = "F" // as G, by what may look at any setting
	TakenOvertaken = "O" // comes first: rows that follow need InWriteOrder
	TakenOthers    = "V" // an image that another build's function kept
	TakenHeld      = "H" // a cursor that this transaction's COMMIT will run; note: its statement
)

// triggersSQL installs what the capture triggers need. Images are printed under
// settings of the function's own, so that every session reads them the same, and kept
// for the transaction's own time only, so that their table need not survive a crash.
// Who may call opmux.take_6 is told by a code that only opmux can make: images hold
// columns that the role may not read.
//
// A partitioned table has none: its partitions have, and one that is attached to it
// could not get its triggers beside its own.
//
// What it answers is a matter of builds: an older one, which starts beside this, puts
// back what has its own name.
var triggersSQL = `
create schema if not exists opmux;
create unlogged table if not exists opmux.captured (
  xact pg_catalog.xid8 not null, what pg_catalog.text not null,
  relation pg_catalog.oid, note pg_catalog.text, before pg_catalog.bytea, after pg_catalog.bytea);
do $opmux$ begin -- it would wait for transactions that are prepared
  if to_regclass('opmux.captured_xact') is null then
    create index captured_xact on opmux.captured (xact);
  end if;
end $opmux$;
create table if not exists opmux.capture_secret (secret pg_catalog.bytea not null);
insert into opmux.capture_secret
  select pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.gen_random_uuid()::pg_catalog.text || pg_catalog.gen_random_uuid()::pg_catalog.text, 'UTF8'))
  where not exists (select from opmux.capture_secret);

` + keptSQL + placesSQL + `
create or replace function opmux.capture_truncate() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $opmux$
declare
  place tid;
begin
  ` + keepNamesSQL + `
  ` + keepNoteSQL("T", "tg_relid", "null") + `
  return null;
end $opmux$;

` + computedSQL + `
create or replace function opmux.keep_triggers(relation oid) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp set opmux.capture = '' as $opmux$
declare
  t record;
  state "char";
  place record;
begin
  select n.nspname, c.relname into place from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation;
  for t in select * from (values
    ('!opmux', 'insert or update or delete', 'row', 'capture_row'),
    ('!opmux_truncate', 'truncate', 'statement', 'capture_truncate'),
    ('!opmux_computed', 'insert or update', 'row', 'capture_settings')) v (name, events, each, fn)
    where v.name <> '!opmux_computed' or opmux.computes(relation)
  loop
    select tgenabled into state from pg_trigger where tgrelid = relation and tgname = t.name;
    if not found then
      execute format('create trigger %I after %s on %I.%I for each %s when (pg_catalog.current_setting(''opmux.capture'', true) operator(pg_catalog.=) ''on'') execute function opmux.%I()',
        t.name, t.events, place.nspname, place.relname, t.each, t.fn);
      state := 'O';
    end if;
    if state <> 'A' then
      execute format('alter table %I.%I enable always trigger %I', place.nspname, place.relname, t.name);
    end if;
  end loop;
end $opmux$;

create or replace function opmux.unwatched() returns setof oid language sql stable
set search_path = pg_catalog, pg_temp as $opmux$
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname not in ('pg_catalog', 'information_schema', 'opmux', 'pg_toast')
    and (select count(*) from pg_trigger t where t.tgrelid = c.oid and t.tgname in ('!opmux', '!opmux_truncate', '!opmux_computed') and t.tgenabled = 'A'
         and t.tgfoid in ('opmux.capture_row'::regproc, 'opmux.capture_truncate'::regproc, 'opmux.capture_settings'::regproc))
      < case when opmux.computes(c.oid) then 3 else 2 end
  order by c.oid
$opmux$;

` + ddlSQL + takeSQL + `
revoke all on function opmux.keep_triggers(oid), opmux.unwatched(), opmux.computes(oid), opmux.computes_by_any(oid) from public;
grant usage on schema opmux to public;
grant execute on function opmux.take_6(text), opmux.computed_under(), opmux.note_settings(oid, text) to public;
` + ddlTriggersSQL

// watchFor is how long an agent that starts tries to get at tables that others lock.
const watchFor = 30 * time.Second

// installTriggers installs the capture triggers on every table that has none. The
// functions are made anew each time, so that they are this build's.
func (c *Catalog) installTriggers(ctx context.Context) error {
	if err := c.lookups.Install(ctx, triggersSQL); err != nil {
		if !notAllowed(err) {
			return fmt.Errorf("catalogue: install the capture triggers (capture.triggers): %w", err)
		}
		there, err := one(ctx, c.lookups, "select (pg_catalog.to_regprocedure('opmux.take_6(text)') is not null)::pg_catalog.text")
		if err != nil || there != "true" {
			return errors.Join(errors.New("catalogue: the capture triggers (capture.triggers) are not there, or those of an older build, and the login may not install them: let a superuser's login start the agent once"), err)
		}
		c.cfg.Log.Info("the catalogue login may not install the capture triggers; those that are there are used")
	}
	for deadline := time.Now().Add(watchFor); ; {
		left, err := c.watchTables(ctx)
		if err == nil && left == 0 {
			break
		}
		if err != nil && (time.Now().After(deadline) || ctx.Err() != nil) {
			return fmt.Errorf("catalogue: install the capture triggers (capture.triggers; let a superuser's login start the agent once): %w", err)
		}
	}
	secret, err := one(ctx, c.lookups, "select pg_catalog.encode(secret, 'hex') from opmux.capture_secret")
	if err != nil {
		return fmt.Errorf("catalogue: read the capture triggers' secret: %w", err)
	}
	c.secret, err = hex.DecodeString(secret)
	return err
}

// watchTables gives a trigger to each table that lacks it, each in a transaction of
// its own, which waits for others no longer than the login's lock_timeout. It returns
// how many are left, and why.
func (c *Catalog) watchTables(ctx context.Context) (left int, last error) {
	rows, err := c.lookups.Query(ctx, "select u::pg_catalog.text, u::pg_catalog.regclass::pg_catalog.text from opmux.unwatched() u")
	if err != nil {
		return 1, err
	}
	for _, r := range rows {
		if err := c.lookups.Exec(ctx, "select opmux.keep_triggers("+string(r[0].Text)+")"); err != nil {
			left++
			last = fmt.Errorf("table %s: %w", r[1].Text, err)
		}
	}
	if n := len(rows) - left; n > 0 {
		c.cfg.Log.Info("capture triggers installed", zap.Int("tables", n))
	}
	return left, last
}

// Triggers says that the capture triggers are installed, or would be by an agent.
func (c *Catalog) Triggers() bool { return c.cfg.Triggers }

// CaptureMAC is the code by which a session of a backend may take its images.
func (c *Catalog) CaptureMAC(pid int32) string {
	sum := sha256.Sum256(strconv.AppendInt(append([]byte(nil), c.secret...), int64(pid), 10))
	return hex.EncodeToString(sum[:])
}
