package catalog

// In a transaction at SERIALIZABLE, images have a table of their own, and are found by their places in it
// (ctid): each says where the one before it is, and a setting where the last one is. The server takes
// what is read by an index for all that its page holds, and images of transactions beside
// one another are on one: each would have read what the other wrote, and one of them
// would fail. A row of one's own at a given place is read without a trace (PredicateLockTID).

// lastPlaceSQL is where the transaction's last image is, null for none.
const lastPlaceSQL = "nullif(current_setting('opmux.kept', true), '')::tid"

// keepNoteSQL keeps a note of a table, by which others' images are not read either.
func keepNoteSQL(what, relation, note string) string {
	return `if current_setting('transaction_isolation') <> 'serializable' then
    insert into opmux.captured values (pg_current_xact_id(), '` + what + `', ` + relation + `, ` + note + `);
  else
    insert into opmux.captured_serializable (xact, what, relation, note, previous) values (pg_current_xact_id(), '` + what + `', ` + relation + `, ` + note + `, ` + lastPlaceSQL + `) returning ctid into place;
    perform set_config('opmux.kept', place::text, true);
  end if;`
}

// placesSQL makes that table, and what finds the images in it. A scan of the whole table
// would read as the index does, and is not to be had. (The index is for agents of the build before,
// which find the table as a child of the one that they know.)
const placesSQL = `
create unlogged table if not exists opmux.captured_serializable (previous pg_catalog.tid) inherits (opmux.captured_row);
do $opmux$ begin
  if to_regclass('opmux.captured_serializable_xact') is null then
    create index captured_serializable_xact on opmux.captured_serializable (xact);
  end if;
end $opmux$;

create or replace function opmux.kept_places() returns tid[] language sql stable
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $opmux$
  with recursive k (place, previous) as (
    select c.ctid, c.previous from only opmux.captured_serializable c where c.ctid = ` + lastPlaceSQL + `
    union all
    select c.ctid, c.previous from k join only opmux.captured_serializable c on c.ctid = k.previous)
  select array_agg(k.place) from k
$opmux$;

create or replace function opmux.kept_at(places tid[])
returns table (kept_at int8, what text, relation oid, note text, before bytea, after bytea, was tid, became tid, command int8, passed bool) language sql stable
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $opmux$
  select ` + imageColumns + ` from only opmux.captured_serializable c where c.ctid = any (places)
$opmux$;

create or replace function opmux.forget_at(places tid[]) returns void language sql
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $opmux$
  delete from only opmux.captured_serializable c where c.ctid = any (places)
$opmux$;
revoke all on function opmux.kept_places(), opmux.kept_at(tid[]), opmux.forget_at(tid[]) from public;

`
