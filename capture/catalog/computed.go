package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opmux/opmux/event"
)

// computedSettings are the settings that a function which says it is immutable may look
// at: the server's own print values by some of them, and those of users by any.
var computedSettings = []string{
	"DateStyle", "IntervalStyle", "TimeZone", "array_nulls", "bytea_output", "default_text_search_config", "extra_float_digits",
	"lc_monetary", "lc_numeric", "lc_time", "quote_all_identifiers", Abbreviations, "xmlbinary", "xmloption",
}

// ComputedUnder reads the note of a row of TakenComputed: the settings under which
// generated columns were computed.
func ComputedUnder(note string) ([]event.Setting, error) {
	var values []string
	if err := json.Unmarshal([]byte(note), &values); err != nil {
		return nil, fmt.Errorf("what opmux.capture_settings wrote: %w", err)
	}
	if len(values) != len(computedSettings) {
		return nil, errors.New("opmux.capture_settings is another build's: are agents of different versions on this source?")
	}
	under := make([]event.Setting, len(values))
	for i, name := range computedSettings {
		under[i] = event.Setting{Name: name, Value: values[i]}
	}
	return under, nil
}

// computedSQL makes what notes under which settings generated columns were computed:
// their images say their values, but a backup computes its own, under the session's
// settings. opmux.capture_settings runs under those that the row was written under, so
// that it has none of its own and names everything by its schema.
var computedSQL = `
create or replace function opmux.computed_under() returns text language sql stable as $opmux$
  select pg_catalog.json_build_array(pg_catalog.current_setting('` + strings.Join(computedSettings, "'), pg_catalog.current_setting('") + `'))::pg_catalog.text
$opmux$;

create or replace function opmux.capture_settings() returns trigger language plpgsql security definer as $opmux$
declare
  under pg_catalog.text := opmux.computed_under();
begin
  if under operator(pg_catalog.<>) coalesce(pg_catalog.current_setting('opmux.computed', true), '') then
    perform pg_catalog.set_config('opmux.computed', under, true);
    insert into opmux.captured values (pg_catalog.pg_current_xact_id(), 'G', tg_relid, under);
  end if;
  return null;
end $opmux$;

create or replace function opmux.computes(relation oid) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $opmux$
  select exists (select from pg_attribute a where a.attrelid = relation and a.attgenerated <> '' and not a.attisdropped)
$opmux$;
`
