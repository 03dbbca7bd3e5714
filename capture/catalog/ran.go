package catalog

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ContextSettings are the settings that change what a statement means or how a
// value reads as text. They travel with every transaction.
var ContextSettings = []string{
	"DateStyle", "IntervalStyle", "TimeZone", "array_nulls", "backslash_quote", "bytea_output",
	"check_function_bodies", "client_encoding", "default_table_access_method", "default_tablespace",
	"default_text_search_config", "extra_float_digits", "lc_monetary", "lc_numeric", "lc_time",
	"quote_all_identifiers", "role", "row_security", "search_path", "session_replication_role",
	"standard_conforming_strings", Abbreviations, "transform_null_equals", "xmlbinary", "xmloption",
}

// Abbreviations is the setting that tells what names such as IST mean as time zones.
const Abbreviations = "timezone_abbreviations"

// Ran is what an event trigger knows of DDL that ran inside of a statement.
type Ran struct {
	Tag string `json:"tag"`
	// Temporary: temporary objects are among what it made or altered.
	Temporary bool `json:"temporary"`
	// Extension: an extension's script ran it.
	Extension bool `json:"extension"`
	// Others: there are event triggers that are not opmux's. Nested: one of them ran it.
	Others bool `json:"others"`
	Nested bool `json:"nested"`
	// Dropped counts the objects that it named and dropped, of which Tables are tables;
	// -1: it is no drop.
	Dropped int      `json:"dropped"`
	Tables  []string `json:"tables"`
	// Context is where it ran: the role, the schemas with and without those that are
	// looked into by themselves, both as JSON, and the values of ContextSettings.
	Context []string `json:"context"`
}

// ReadRan reads what is in a row of TakenDDL; nil: an older build's function wrote it.
func ReadRan(before []byte) (*Ran, error) {
	if before == nil {
		return nil, nil
	}
	r := &Ran{}
	if err := json.Unmarshal(before, r); err != nil {
		return nil, fmt.Errorf("what opmux.capture_ddl wrote: %w", err)
	}
	if len(r.Context) != 0 && len(r.Context) != 3+len(ContextSettings) {
		r.Context = nil
	}
	return r, nil
}

// ddlSQL makes the functions that keep DDL which runs inside of a statement. The first
// notes in a setting, as the role that runs it, where it runs; the second keeps that
// and the stack, which has the command's text, in the order of the images. Both are
// functions that nobody can call but by an event trigger, and the first always runs
// before the second, so that what is kept cannot be forged.
//
// What is the database's language does not matter: the stack is told in English.
var ddlSQL = `
create or replace function opmux.ddl_context() returns event_trigger language plpgsql as $opmux$
begin
  if pg_catalog.current_setting('opmux.capture', true) operator(pg_catalog.=) 'on' then
    perform pg_catalog.set_config('opmux.ddl_context', pg_catalog.json_build_array(current_user,
      pg_catalog.array_to_json(pg_catalog.current_schemas(true))::pg_catalog.text, pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text,
      pg_catalog.current_setting('` + strings.Join(ContextSettings, "'), pg_catalog.current_setting('") + `'))::pg_catalog.text, true);
  end if;
end $opmux$;

create or replace function opmux.ddl_stack() returns text language plpgsql security definer
set search_path = pg_catalog, pg_temp as $opmux$
declare
  stack text;
begin
  get diagnostics stack = pg_context;
  stack := substr(stack, strpos(stack, 'PL/pgSQL function opmux.capture_ddl() line '));
  return substr(stack, strpos(stack || e'\n', e'\n') + 1); -- what is behind the event trigger's own frame
end $opmux$;
do $opmux$ begin
  alter function opmux.ddl_stack() set lc_messages = 'C';
exception when insufficient_privilege then null; -- in another language it is not understood
end $opmux$;

create or replace function opmux.ddl_ran(tag text, temporary boolean, extension boolean, dropped bigint, tables json, stack text) returns bytea language sql
set search_path = pg_catalog, pg_temp as $opmux$
  select convert_to(json_build_object('tag', tag, 'temporary', temporary, 'extension', extension, 'dropped', dropped, 'tables', tables,
    'context', nullif(current_setting('opmux.ddl_context', true), '')::json,
    'others', count(*) > 0, 'nested', coalesce(bool_or(strpos(stack, case l.lanname when 'plpgsql' then quote_ident(p.proname) || '() line ' else p.proname end) > 0), false))::text, 'UTF8')
  from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
  where n.nspname <> 'opmux' and e.evtenabled <> 'D'
$opmux$;

create or replace function opmux.capture_ddl() returns event_trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $opmux$
declare
  awake boolean := coalesce(current_setting('opmux.capture', true), '') = 'on';
  stack text;
  r record;
begin
  if tg_event = 'sql_drop' then
    if awake then
      stack := opmux.ddl_stack();
      insert into opmux.captured
        select pg_current_xact_id(), case when bool_and(d.is_temporary) then 'E' else 'L' end, null, tg_tag || ' of ' || string_agg(d.object_identity, ', '),
          opmux.ddl_ran(tg_tag, bool_or(d.is_temporary), false, count(*), json_agg(d.schema_name || '.' || d.object_name) filter (where d.object_type = 'table'), stack),
          convert_to(stack, 'UTF8')
        from pg_event_trigger_dropped_objects() d where d.original having count(*) > 0;
    end if;
    return;
  end if;
  if awake then
    stack := opmux.ddl_stack();
    insert into opmux.captured
      select pg_current_xact_id(), case when bool_and(coalesce(d.schema_name = 'pg_temp', false)) then 'E' else 'L' end, null,
        tg_tag || coalesce(' of ' || min(d.object_identity), ''),
        opmux.ddl_ran(tg_tag, coalesce(bool_or(d.schema_name = 'pg_temp'), false), bool_or(d.in_extension), -1, null, stack), convert_to(stack, 'UTF8')
      from pg_event_trigger_ddl_commands() d having count(*) > 0;
  end if;
  for r in select * from pg_event_trigger_ddl_commands() loop
    if r.classid = 'pg_class'::regclass and r.object_type in ('table', 'table column') then
      perform opmux.keep_triggers(r.objid) from opmux.unwatched() u where u = r.objid;
    end if;
  end loop;
end $opmux$;
`

// ddlTriggersSQL makes the event triggers, which run in the order of their names.
const ddlTriggersSQL = `
revoke all on function opmux.ddl_stack, opmux.ddl_ran from public;
drop event trigger if exists opmux_before_capture;
drop event trigger if exists opmux_before_capture_drop;
drop event trigger if exists opmux_capture;
drop event trigger if exists opmux_capture_drop;
create event trigger opmux_before_capture on ddl_command_end execute function opmux.ddl_context();
create event trigger opmux_before_capture_drop on sql_drop execute function opmux.ddl_context();
create event trigger opmux_capture on ddl_command_end execute function opmux.capture_ddl();
create event trigger opmux_capture_drop on sql_drop execute function opmux.capture_ddl();
alter event trigger opmux_before_capture enable always;
alter event trigger opmux_before_capture_drop enable always;
alter event trigger opmux_capture enable always;
alter event trigger opmux_capture_drop enable always
`
