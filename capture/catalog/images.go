package catalog

// NoteEarly is the note of an image that comes before rows which may have been written
// before it.
const NoteEarly = "early"

// NoteUnlogged is the note of TakenUnseen where the table is unlogged, and no part of another.
const NoteUnlogged = "it is unlogged, and its rows do not survive a crash of the primary"

// keptSQL makes what keeps images. Beside each is what tells the order of the writes: where
// the row was and is (ctid, by which an image goes on from another), the command that wrote
// it, and whether others had passed over it by the time that its trigger ran. Which command,
// the row says where it is new and nobody has changed it since; else, of a row that is older
// than the transaction, what it was says so. (One that the transaction made and changed
// again has the number of a pair of commands, which means nothing to others.)
//
// The table is a child of the first build's, which could not be altered beside transactions
// that are prepared: agents of that build read and empty it with its parent, and take
// the rows in their own order.
var keptSQL = `
create unlogged table if not exists opmux.captured_row (was pg_catalog.tid, became pg_catalog.tid, command pg_catalog.cid, passed pg_catalog.bool)
  inherits (opmux.captured);
do $opmux$ begin
  if to_regclass('opmux.captured_row_xact') is null then
    create index captured_row_xact on opmux.captured_row (xact);
  end if;
end $opmux$;

create or replace function opmux.capture_row() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp set datestyle = 'ISO' set intervalstyle = 'postgres' set timezone = 'UTC'
set extra_float_digits = 1 set bytea_output = 'hex' set xmlbinary = 'base64' set quote_all_identifiers = off as $opmux$
declare
  image text;
  place tid;
begin
  ` + keepNamesSQL + `
  if current_setting('transaction_isolation') <> 'serializable' then
    ` + keepImageSQL("opmux.captured_row", ")") + `
  else
    ` + keepImageSQL("opmux.captured_serializable", ", "+lastPlaceSQL+") returning ctid into place") + `
    perform set_config('opmux.kept', place::text, true);
  end if;
  if getdatabaseencoding() in ('EUC_JP', 'EUC_TW') then
    select string_agg(v, '') into image from (values (case when tg_op <> 'INSERT' then format('%s', old) end), (case when tg_op <> 'DELETE' then format('%s', new) end)) i (v);
    if convert(convert_to(image, 'UTF8'), 'UTF8', getdatabaseencoding()) <> convert_to(image, getdatabaseencoding()) then
      raise exception using errcode = 'feature_not_supported',
        message = format('opmux: a row of %s has a character that the database''s encoding has two forms of, one of which backups write', tg_relid::regclass);
    end if;
  end if;
  return null;
end $opmux$;

`

// keepImageSQL keeps the image of a row in a table; end is what the command ends with.
func keepImageSQL(table, end string) string {
	return `if tg_op = 'INSERT' then
      insert into ` + table + ` values (pg_current_xact_id(), 'I', tg_relid, nullif(pg_trigger_depth(), 1)::text, null, convert_to(format('%s', new), 'UTF8'),
        null, new.ctid, case when new.xmax = '0'::xid then new.cmin end, new.xmax <> '0'::xid` + end + `;
    elsif tg_op = 'UPDATE' then
      insert into ` + table + ` values (pg_current_xact_id(), 'U', tg_relid, nullif(pg_trigger_depth(), 1)::text, convert_to(format('%s', old), 'UTF8'), convert_to(format('%s', new), 'UTF8'),
        old.ctid, new.ctid, case when new.xmax = '0'::xid then new.cmin when age(old.xmin) > 0 then old.cmax end, new.xmax <> '0'::xid` + end + `;
    else
      insert into ` + table + ` values (pg_current_xact_id(), 'D', tg_relid, nullif(pg_trigger_depth(), 1)::text, convert_to(format('%s', old), 'UTF8'), null,
        old.ctid, null, case when age(old.xmin) > 0 then old.cmax end, false` + end + `;
    end if;`
}

// imageColumns are what is asked of an image: kept_at is its place in the order of triggers.
const imageColumns = "c.cmin::text::int8 as kept_at, c.what, c.relation, c.note, c.before, c.after, c.was, c.became, c.command::text::int8 as command, c.passed"

// rowImages are the images of rows, under SERIALIZABLE and else. Those that a trigger of an older build
// kept under SERIALIZABLE are where it keeps all others.
func rowImages(serializable bool) string {
	rows := "select " + imageColumns + " from only opmux.captured_row c where c.xact = pg_current_xact_id()"
	if serializable {
		rows += " union all select * from opmux.kept_at(places) where what in ('I', 'U', 'D')"
	}
	return "(" + rows + ")"
}

// allImages are these and the notes.
func allImages(serializable bool) string {
	all := `select c.cmin::text::int8 as kept_at, case when c.what in ('I', 'U', 'D') then 'V' else c.what end as what, c.relation, c.note, c.before, c.after, null::tid as was, null::tid as became, null::int8 as command, null::bool as passed
          from only opmux.captured c where c.xact = pg_current_xact_id()
        union all select * from ` + rowImages(serializable) + ` r`
	if serializable {
		all += " union all select * from opmux.kept_at(places) where what not in ('I', 'U', 'D')"
	}
	return "(" + all + ")"
}

// takenSQL is the answer for images in their order: named d, with what is early, and
// their places where these matter.
func takenSQL(from, early, places, order string) string {
	return `return query select case when d.what = 'G' and opmux.computes_by_any(d.relation) then 'F' else d.what end, n.nspname::text, c.relname::text, rn.nspname::text, rc.relname::text,
        case when d.what not in ('I', 'U', 'D') then d.note when ` + early + ` then '` + NoteEarly + `' end, encode(d.before, 'hex'), encode(d.after, 'hex'), ` + places + `
      from ` + from + ` d left join pg_class c on c.oid = d.relation left join pg_namespace n on n.oid = c.relnamespace
        left join pg_class rc on rc.oid = case when c.relispartition then pg_partition_root(c.oid)::oid else c.oid end
        left join pg_namespace rn on rn.oid = rc.relnamespace
      order by ` + order
}

// takeImagesSQL answers with what was found, in the order of the writes.
func takeImagesSQL(serializable bool) string {
	return `select bool_or(k.command < k.latest) or bool_or(k.unplaced and k.latest is not null) or bool_or(k.unplaced) and bool_or(k.deep), bool_or(k.passed), bool_or(k.unplaced), count(*) <= 65536
        into mixed, overtaken, unplaced, few
        from (select i.*, max(i.command) over (order by i.kept_at rows unbounded preceding) as latest
          from (select c.kept_at, c.command, c.passed, c.command is null and c.what <> 'I' as unplaced, c.note is not null as deep from ` + rowImages(serializable) + ` c) i) k;
      if not coalesce(mixed, false) and not coalesce(overtaken, false) then
        ` + takenSQL(allImages(serializable), "false", "'', '', ''", "d.kept_at") + `;
      else
        if overtaken and exists (
          with k as materialized (select i.relation, i.was, i.became, i.passed, i.kept_at, case when i.command is null then i.kept_at else min(i.kept_at) over (partition by i.command) end as ended
            from ` + rowImages(serializable) + ` i)
          select from k join k later on later.relation = k.relation and later.was = k.became
            where k.passed and (later.ended, later.kept_at) < (k.ended, k.kept_at)) then
          return query select 'O', '', '', '', '', '', '', '', '', '', '';
        end if;
        ` + takenSQL(`(select o.*, o.command is not null and max(o.ended) over (order by o.command groups between unbounded preceding and 1 preceding) > o.command as within
          from (select i.*, case when i.command is null then i.kept_at else min(i.kept_at) over (partition by i.command) end as ended from `+allImages(serializable)+` i) o)`,
		"d.within or unplaced and (few or d.note is not null)", "d.was::text, d.became::text, case when overtaken then d.command::text end", "d.ended, d.kept_at") + `;
      end if;`
}

// takeSQL hands images over in the order of the writes. A command's triggers run when it
// has written all of its rows, and what they do comes later: the first of its rows to be kept
// marks the end of its writing. So rows are in the order of these ends. What runs while
// a command still writes (BEFORE triggers, functions in it) ends before it, and is
// early: some of the command's rows may have been written before. Where it wrote one of
// these, they are to be put in front of it; so are rows that were passed over and whose command
// is not known (TakenOvertaken). A row whose command is not known, and which gave a key up, comes
// where it was kept: what was kept before is early, then, too, or of many rows what triggers wrote.
//
// It also looks at the transaction's locks, which no statement can write
// without: a table that no capture trigger watches is told, but for an unlogged one
// that never had a row, since to make it locks it as well (its file is the first one that
// it had, so no TRUNCATE emptied it, and empty), and so is every sequence
// that was drawn from. Large objects show in the transaction's statistics.
var takeSQL = `
create or replace function opmux.take_6(code text)
returns table (what text, schema_name text, table_name text, root_schema text, root_table text, note text, before text, after text, was text, became text, command text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $opmux$
#variable_conflict use_column
declare
  awake boolean := coalesce(current_setting('opmux.capture', true), '') = 'on';
  mixed boolean;
  overtaken boolean;
  unplaced boolean;
  few boolean;
  places tid[];
begin
  if code is distinct from (select encode(sha256(s.secret || convert_to(pg_backend_pid()::text, 'UTF8')), 'hex') from opmux.capture_secret s) then
    raise insufficient_privilege using message = 'opmux.take_6 is opmux''s own';
  end if;
  perform set_config('opmux.capture', '', true);
  ` + keepNamesSQL + `
  if current_setting('transaction_read_only') = 'on' then
    if exists (select from opmux.captured c where c.xact = pg_current_xact_id_if_assigned()) then
      what := 'X';
      note := 'it made its transaction read-only';
      return next;
    end if;
    return;
  end if;
  if not awake then
    what := 'X';
    note := 'it changed the setting opmux.capture';
    return next;
    return;
  end if;
  if pg_current_xact_id_if_assigned() is not null then
    perform set_config('opmux.computed', '', true);
    if current_setting('transaction_isolation') <> 'serializable' then
      ` + takeImagesSQL(false) + `
      delete from opmux.captured c where c.xact = pg_current_xact_id();
    else
      places := opmux.kept_places();
      ` + takeImagesSQL(true) + `
      delete from only opmux.captured c where c.xact = pg_current_xact_id();
      delete from only opmux.captured_row c where c.xact = pg_current_xact_id();
      perform opmux.forget_at(places), set_config('opmux.kept', '', true);
    end if;
  end if;
  return query select case when c.relkind = 'S' then 'S' when c.relisshared then 'R' else 'X' end, n.nspname::text, c.relname::text, n.nspname::text, c.relname::text,
      case when c.relkind = 'S' then null when c.relpersistence = 'u' and not c.relispartition then '` + NoteUnlogged + `' else 'no capture trigger watches it' end, null, '', '', '', ''
    from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
    where l.locktype = 'relation' and l.pid = pg_backend_pid() and l.granted and c.relpersistence <> 't' and n.nspname <> 'opmux'
      and l.database in (0, (select d.oid from pg_database d where d.datname = current_database()))
      and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      and (c.relkind = 'S' or c.oid in ('pg_authid'::regclass, 'pg_auth_members'::regclass, 'pg_db_role_setting'::regclass)
        or c.relkind in ('r', 'f') and not (c.relpersistence = 'u' and c.relfilenode = c.oid and pg_relation_size(c.oid) = 0) and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
          and not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = '!opmux' and t.tgenabled = 'A' and t.tgfoid = 'opmux.capture_row'::regproc))
    group by 1, 2, 3, 6;
  return query select 'H', 'pg_catalog', 'pg_cursors', 'pg_catalog', 'pg_cursors', c.statement, null, '', '', '', '' from pg_cursors c where c.is_holdable and c.creation_time >= now();
  if exists (select from (values ('pg_largeobject'::regclass), ('pg_largeobject_metadata'::regclass)) v (r)
    where pg_stat_get_xact_tuples_inserted(r) + pg_stat_get_xact_tuples_updated(r) + pg_stat_get_xact_tuples_deleted(r) > 0) then
    return query select 'X', 'pg_catalog', 'pg_largeobject', 'pg_catalog', 'pg_largeobject', 'large objects are numbered by the server', null, '', '', '', '';
  end if;
end $opmux$;

`
