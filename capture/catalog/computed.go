package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opmux/opmux/event"
)

// computedSettings are the settings that a function which says it is immutable may look
// at: the server's own print values by the first of them, and those of users may look at
// any, as what makes XML does, which the server takes for immutable in any case.
var (
	printedSettings  = []string{"bytea_output", "extra_float_digits", "quote_all_identifiers", "xmlbinary"}
	computedSettings = append(slices.Clone(printedSettings), "DateStyle", "IntervalStyle", "TimeZone", "array_nulls", "default_text_search_config",
		"lc_monetary", "lc_numeric", "lc_time", Abbreviations, "xmloption")
)

// ComputedUnder reads the note of a row of TakenComputed or TakenComputedF: the settings
// that matter of those under which generated columns were computed, and the schemas that were
// in the search path then, none where these do not matter.
func ComputedUnder(what, note string) (under []event.Setting, schemas []string, err error) {
	var values []string
	if err := json.Unmarshal([]byte(note), &values); err != nil {
		return nil, nil, fmt.Errorf("what opmux.capture_settings wrote: %w", err)
	}
	if len(values) != len(computedSettings)+1 {
		return nil, nil, errors.New("opmux.capture_settings is another build's: are agents of different versions on this source?")
	}
	names := computedSettings
	if what == TakenComputed {
		names = printedSettings
	} else if err := json.Unmarshal([]byte(values[len(names)]), &schemas); err != nil {
		return nil, nil, fmt.Errorf("the search path that opmux.capture_settings wrote: %w", err)
	}
	for i, name := range names {
		under = append(under, event.Setting{Name: name, Value: values[i]})
	}
	return under, schemas, nil
}

// computedSQL makes what notes under which settings generated columns were computed:
// their images say their values, but a backup computes its own, under the session's
// settings. opmux.capture_settings runs under those that the row was written under, and as the
// role, whose search path is another than its owner's would be, so that it has none of its own
// and names everything by its schema. It notes each table once, behind the settings: which of
// them matter is another question for each.
var computedSQL = `
create or replace function opmux.computed_under() returns text language sql stable as $opmux$
  select pg_catalog.json_build_array(pg_catalog.current_setting('` + strings.Join(computedSettings, "'), pg_catalog.current_setting('") + `'),
    pg_catalog.array_to_json(pg_catalog.current_schemas(true))::pg_catalog.text)::pg_catalog.text
$opmux$;

create or replace function opmux.note_settings(relation pg_catalog.oid, under pg_catalog.text) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $opmux$
declare
  place tid;
begin
  if current_setting('opmux.capture', true) = 'on' then
    ` + keepNoteSQL("G", "relation", "under") + `
  end if;
end $opmux$;

create or replace function opmux.capture_settings() returns trigger language plpgsql as $opmux$
declare
  under pg_catalog.text := opmux.computed_under();
  noted pg_catalog.text := coalesce(pg_catalog.current_setting('opmux.computed', true), '');
  here pg_catalog.text := pg_catalog.format(' %s ', tg_relid);
begin
  if not pg_catalog.starts_with(noted, under) then
    noted := under;
  end if;
  if pg_catalog.strpos(pg_catalog.substr(noted, pg_catalog.length(under) operator(pg_catalog.+) 1), here) operator(pg_catalog.=) 0 then
    perform pg_catalog.set_config('opmux.computed', pg_catalog.concat(noted, here), true);
    perform opmux.note_settings(tg_relid, under);
  end if;
  return null;
end $opmux$;

create or replace function opmux.computes(relation oid) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $opmux$
  select exists (select from pg_attribute a where a.attrelid = relation and a.attgenerated <> '' and not a.attisdropped)
$opmux$;

create or replace function opmux.computes_by_any(relation oid) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $opmux$
  select exists (select from pg_attribute a join pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
    join pg_depend e on e.classid = 'pg_attrdef'::regclass and e.objid = f.oid and e.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass)
    where a.attrelid = relation and a.attgenerated <> '' and e.refobjid >= 16384)
    or exists (select from pg_attribute a join pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
    where a.attrelid = relation and a.attgenerated <> '' and f.adbin::text like '%{XMLEXPR %')
$opmux$;
`
