package catalog

// In a transaction at SERIALIZABLE, images have a table of their own, and are found by their places in it
// (ctid), which the trigger notes in a setting. The server takes what is read by an index for all
// that its page holds, and images of transactions beside one another are on one: each would
// have read what the other wrote, and one of them would fail. A row of one's own at a
// given place is read without a trace (PredicateLockTID).

// maxPlaces is how many characters of places are noted: each row writes them all again. The images of
// statements with more rows are found by the index.
const maxPlaces = "65536"

// placesSQL makes that table, and what finds the images in it: places is null where the index has to.
// A scan of the whole table would read as the index does, and is not to be had.
const placesSQL = `
create unlogged table if not exists opmux.captured_serializable () inherits (opmux.captured_row);
do $opmux$ begin
  if to_regclass('opmux.captured_serializable_xact') is null then
    create index captured_serializable_xact on opmux.captured_serializable (xact);
  end if;
end $opmux$;

create or replace function opmux.kept_places() returns tid[] language sql stable set search_path = pg_catalog, pg_temp as $opmux$
  select case when k <> '*' then string_to_array(rtrim(k), ' ')::tid[] end from (values (coalesce(current_setting('opmux.kept', true), ''))) v (k)
$opmux$;

create or replace function opmux.kept_at(places tid[]) returns table (kept_at int8, what text, relation oid, note text, before bytea, after bytea, was tid, became tid, command int8, passed bool) language plpgsql stable
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $opmux$
#variable_conflict use_column
begin
  if places is null then
    return query ` + "select " + imageColumns + ` from only opmux.captured_serializable c where c.xact = pg_current_xact_id();
  else
    return query ` + "select " + imageColumns + ` from only opmux.captured_serializable c where c.ctid = any (places);
  end if;
end $opmux$;

create or replace function opmux.forget_at(places tid[]) returns void language plpgsql
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $opmux$
begin
  if places is null then
    delete from only opmux.captured_serializable c where c.xact = pg_current_xact_id();
  else
    delete from only opmux.captured_serializable c where c.ctid = any (places);
  end if;
end $opmux$;
revoke all on function opmux.kept_places(), opmux.kept_at(tid[]), opmux.forget_at(tid[]) from public;

`
