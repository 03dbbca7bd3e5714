package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// unbound is the condition that a function looks for what it calls in the search path of who
// calls it: it is not in C, nor has one of its own.
func unbound(p string) string {
	return `(` + p + `.prolang not in (12, 13) and not exists (select from pg_catalog.unnest(` + p + `.proconfig) s (setting) where pg_catalog.starts_with(s.setting, 'search_path=')))`
}

// speaks is the condition that the text of a function has a name without a schema before it,
// and behind it what is given.
func speaks(name, behind string) string {
	return `(pg_catalog.strpos(pg_catalog.lower(s.prosrc), pg_catalog.lower(` + name + `)) > 0
    and s.prosrc ~* ('(^|[^.\w$"])"?' || pg_catalog.regexp_replace(` + name + `, '\W', '.', 'g') || '` + behind + `'))`
}

// soughtSQL lists what the functions that generated columns are computed by, themselves or by one
// that they call, name without a schema, as far as their texts tell: for each name the schemas
// that have something of the user's of it. What is for types of the user's counts where a value of one may be
// about. Of the server's own there is no need to know: its schema is in every search path.
// Parameter: the table's OID.
var soughtSQL = `
with recursive calls (fn) as (
  select coalesce(o.oprcode::pg_catalog.oid, d.refobjid) from pg_catalog.pg_attribute a
  join pg_catalog.pg_attrdef e on e.adrelid = a.attrelid and e.adnum = a.attnum
  join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and d.objid = e.oid and d.refobjid >= 16384
    and d.refclassid in ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
  left join pg_catalog.pg_operator o on d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass and o.oid = d.refobjid
  where a.attrelid = $1::pg_catalog.oid and a.attgenerated <> '' and not a.attisdropped
  union
  select x.oid from calls c join pg_catalog.pg_proc s on s.oid = c.fn and ` + unbound("s") + ` cross join lateral (
    select p.oid from pg_catalog.pg_proc p where p.oid >= 16384 and pg_catalog.strpos(pg_catalog.lower(s.prosrc), pg_catalog.lower(p.proname)) > 0
      and s.prosrc ~* ('\m' || pg_catalog.regexp_replace(p.proname, '\W', '.', 'g') || '"?\s*\(')
    union all ` + functionsIn(bodyOf("s")) + `
    union all select o.oprcode from pg_catalog.pg_operator o where o.oid >= 16384 and pg_catalog.strpos(s.prosrc, o.oprname) > 0
    union all select k.castfunc from pg_catalog.pg_cast k where k.oid >= 16384) x
), spoken as materialized (
  select s.* from calls c join pg_catalog.pg_proc s on s.oid = c.fn and ` + unbound("s") + `
), kinds as (
  select t.typname as name, t.typnamespace as place, t.typrelid <> 0 and exists (select from pg_catalog.pg_class r where r.oid = t.typrelid and r.relkind <> 'c') as row
  from pg_catalog.pg_type t where t.oid >= 16384
), things (kind, name, place, own) as (
  select distinct 'function', p.proname, p.pronamespace, pg_catalog.max(g.t) over (partition by p.oid) >= 16384
  from pg_catalog.pg_proc p left join lateral pg_catalog.unnest(p.proargtypes::pg_catalog.oid[]) g (t) on true join spoken s on ` + speaks("p.proname", `"?\s*\(`) + ` where p.oid >= 16384
  union all
  select 'operator', o.oprname, o.oprnamespace, o.oprleft >= 16384 or o.oprright >= 16384
  from pg_catalog.pg_operator o join spoken s on pg_catalog.strpos(s.prosrc, o.oprname) > 0 where o.oid >= 16384
  union all
  select 'type', k.name, k.place, false from kinds k join spoken s on not k.row and ` + speaks("k.name", `\M`) + `
    or k.row and s.prosrc ~* ('(::|\mas\s)\s*"?' || pg_catalog.regexp_replace(k.name, '\W', '.', 'g') || '\M|\m' || pg_catalog.regexp_replace(k.name, '\W', '.', 'g') || '"?\s*(%|;|:=)')
  union all
  select 'collation', l.collname, l.collnamespace, false from pg_catalog.pg_collation l join spoken s on ` + speaks("l.collname", `\M`) + ` where l.oid >= 16384
  union all
  select 'configuration', g.cfgname, g.cfgnamespace, false from pg_catalog.pg_ts_config g join spoken s on ` + speaks("g.cfgname", `\M`) + ` where g.oid >= 16384
  union all
  select 'dictionary', w.dictname, w.dictnamespace, false from pg_catalog.pg_ts_dict w join spoken s on ` + speaks("w.dictname", `\M`) + ` where w.oid >= 16384
), owned as (
  select exists (select from spoken s where s.prorettype >= 16384 or exists (select from pg_catalog.unnest(s.proargtypes::pg_catalog.oid[]) g (t) where g.t >= 16384))
    or exists (select from things where kind = 'type') as any
)
select pg_catalog.json_agg(x.places order by x.kind, x.name)::pg_catalog.text from (
  select t.kind, t.name, pg_catalog.json_agg(distinct n.nspname::pg_catalog.text) as places from things t join pg_catalog.pg_namespace n on n.oid = t.place cross join owned
  where (owned.any or not coalesce(t.own, false)) and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'opmux') and n.nspname !~ '^pg_(toast_)?temp_'
  group by 1, 2) x`

// lookSought asks what the search path matters for where generated columns call what is the user's.
func (t *Table) lookSought(ctx context.Context, q Querier) error {
	if !t.Calls || !slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Generated }) {
		return nil
	}
	found, err := one(ctx, q, soughtSQL, strconv.FormatUint(uint64(t.OID), 10))
	if err != nil || found == "" {
		return err
	}
	if err := json.Unmarshal([]byte(found), &t.Sought); err != nil {
		return fmt.Errorf("look up what relation %s seeks: %w", t.Qualified(), err)
	}
	t.fingerprint += found
	return nil
}

// ComputesAlike says that generated columns come out the same under two search paths, given as
// their schemas: what is looked for is found in the same ones, in the same order.
func (t *Table) ComputesAlike(a, b []string) bool {
	if slices.Equal(a, b) {
		return true
	}
	for _, places := range t.Sought {
		without := func(schema string) bool { return schema != "pg_catalog" && !slices.Contains(places, schema) }
		if !slices.Equal(slices.DeleteFunc(slices.Clone(a), without), slices.DeleteFunc(slices.Clone(b), without)) {
			return false
		}
	}
	return true
}
