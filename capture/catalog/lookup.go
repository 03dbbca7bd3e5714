package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/definition"
)

// tableSQL describes the first relation of a name in a list of schemas: its OID,
// everything else as JSON, which doubles as its fingerprint, the defaults of
// its columns, whose printed form depends on search_path, and what workers compare. Only built-in
// names are used and all are qualified, since it also runs on sessions with a
// search_path of their own. It takes no lock on the relation: waiting for DDL of
// another session here, in the agent's name, would hide deadlocks from the
// server (pg_get_expr locks the relation unless it is told none; the default of
// a column names no other column). Parameters: schemas as an array literal, name.
var tableSQL = `
with recursive rel as (
  select c.*, n.nspname
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relname = $2::pg_catalog.text and n.nspname = any ($1::pg_catalog.text[])
  order by pg_catalog.array_position($1::pg_catalog.text[], n.nspname::pg_catalog.text) limit 1
), tree as (
  select oid, relkind, relpersistence from rel
  union
  select p.oid, p.relkind, p.relpersistence
  from tree join pg_catalog.pg_inherits h on h.inhparent = tree.oid join pg_catalog.pg_class p on p.oid = h.inhrelid and p.relispartition
), ` + writersSQL + `, ` + callsSQL + `, ` + typesSQL + `
select rel.oid::pg_catalog.text, pg_catalog.json_build_object(
  'Itself', rel.oid::pg_catalog.int8, 'Attributes', (` + attributesSQL + `),
  'Schema', nspname, 'Name', relname, 'Kind', relkind, 'Partition', relispartition,
  'Temp', relpersistence = 't', 'Unlogged', relpersistence = 'u',
  'Owner', pg_catalog.pg_get_userbyid(relowner),
  'RowSecurity', relrowsecurity, 'ForceRowSecurity', relforcerowsecurity,
  'Rules', (select pg_catalog.count(*) from pg_catalog.pg_rewrite r
            where r.ev_class = rel.oid and r.rulename <> '_RETURN' and r.ev_enabled <> 'D'),
  'Awake', (select pg_catalog.min(w.name) from (
      select 'trigger ' || t.tgname as name from pg_catalog.pg_trigger t where t.tgrelid in (select oid from tree) and t.tgenabled in ('A', 'R')
        and t.tgname not in ('!opmux', '!opmux_truncate', '!opmux_computed')
      union all select 'rule ' || r.rulename from pg_catalog.pg_rewrite r
      where r.ev_class = rel.oid and r.rulename <> '_RETURN' and r.ev_enabled in ('A', 'R')) w),
  'Ahead', (select pg_catalog.min(t.tgname::pg_catalog.text) from pg_catalog.pg_trigger t where t.tgrelid in (select oid from tree)
      and not t.tgisinternal and t.tgenabled <> 'D' and t.tgtype & 67 = 1 and t.tgname < '!opmux'),
  'PartitionKey', (select pg_catalog.json_agg(distinct coalesce(pa.attname::pg_catalog.text, '')) from tree
      join pg_catalog.pg_partitioned_table pt on pt.partrelid = tree.oid cross join pg_catalog.unnest(pt.partattrs::pg_catalog.int2[]) k(n)
      left join pg_catalog.pg_attribute pa on pa.attrelid = pt.partrelid and pa.attnum = k.n and k.n > 0),
  'Children', (select pg_catalog.count(*) from pg_catalog.pg_inherits i join pg_catalog.pg_class k on k.oid = i.inhrelid
               where i.inhparent = rel.oid and not k.relispartition),
  'OddPartitions', (select pg_catalog.count(*) from tree where tree.oid <> rel.oid and (relkind = 'f' or relpersistence = 'u')),
  'Unvalidated', exists (select from pg_catalog.pg_constraint x where x.conrelid in (select oid from tree) and x.contype = 'c' and not x.convalidated),
  'Exclusion', exists (select from pg_catalog.pg_constraint x where x.conrelid = rel.oid and x.contype = 'x'),
  'Triggers', (select pg_catalog.json_agg(pg_catalog.json_build_object('Name', t.tgname, 'Enabled', t.tgenabled, 'Events', t.tgtype,
                 'Source', (select tp.prosrc from pg_catalog.pg_proc tp join pg_catalog.pg_language tl on tl.oid = tp.prolang
                   where tp.oid = t.tgfoid and tl.lanname = 'plpgsql' and pg_catalog.length(tp.prosrc) <= ` + strconv.Itoa(maxTriggerSource) + `),
                 'Computes', (select case when tp.proname = 'suppress_redundant_updates_trigger' then '' else pg_catalog.split_part(pg_catalog.encode(t.tgargs, 'escape'), '\000', 1) end
                   from pg_catalog.pg_proc tp where tp.oid = t.tgfoid and (
                     tp.oid < 16384 and tp.proname in ('suppress_redundant_updates_trigger', 'tsvector_update_trigger', 'tsvector_update_trigger_column')
                     or tp.proname in ('moddatetime', 'insert_username') and exists (select from pg_catalog.pg_depend td join pg_catalog.pg_extension te on te.oid = td.refobjid
                       where td.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and td.objid = tp.oid and td.deptype = 'e' and te.extname = tp.proname))),
                 'Asks', exists (select from (` + functionsIn("t.tgqual::pg_catalog.text") + `) f (oid) where f.oid >= 16384),
                 'Of', (select pg_catalog.json_agg(ta.attname) from pg_catalog.pg_attribute ta where ta.attrelid = t.tgrelid and ta.attnum = any (t.tgattr::pg_catalog.int2[]))) order by t.tgname, t.tgrelid)
               from pg_catalog.pg_trigger t where t.tgrelid in (select oid from tree) and not t.tgisinternal and t.tgenabled <> 'D'
                 and t.tgname not in ('!opmux', '!opmux_truncate', '!opmux_computed')),
  'Columns', (` + columnsSQL + `),
  'Keys', (` + keysSQL + `),
  'ForeignKeys', (` + foreignSQL("x.conrelid", "x.confrelid") + `),
  'ReferencedBy', (` + foreignSQL("x.confrelid", "x.conrelid") + `),
  'VolatileFunctions', (` + volatileSQL + `),
  'WritingFunction', (` + writingSQL + `),
  'Elsewhere', (` + settingSQL + `),
  'Calls', exists (select from calls c where c.oid >= 16384)
)::pg_catalog.text,
(select pg_catalog.json_object_agg(a.attname, pg_catalog.pg_get_expr(coalesce(d.adbin, y.typdefaultbin), 0))::pg_catalog.text
 from pg_catalog.pg_attribute a join pg_catalog.pg_type y on y.oid = a.atttypid
 left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where a.attrelid = rel.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and coalesce(d.adbin, y.typdefaultbin) is not null),
(` + definition.PartsSQL + `)::pg_catalog.text, (` + labelsSQL + `)::pg_catalog.text, (` + ownDefaultsSQL + `)::pg_catalog.text, (` + boundsSQL + `)::pg_catalog.text
from rel`

// ownDefaultsSQL lists the columns whose defaults are made of what users have defined; of what the server has itself it
// keeps no note. It is no part of the fingerprint, which is kept with prepared transactions.
const ownDefaultsSQL = `
  select pg_catalog.json_agg(a.attname) from pg_catalog.pg_attribute a join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = rel.oid and exists (select from pg_catalog.pg_depend p where p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
    and p.objid = d.oid and p.refclassid <> 'pg_catalog.pg_class'::pg_catalog.regclass)`

// boundsSQL is other where other rows are possible, in the table or a partition; only whole objects count.
const boundsSQL = `
  select pg_catalog.md5(pg_catalog.string_agg(b.it, ' ' order by b.it)) from (
    select k.oid::pg_catalog.text as it from pg_catalog.pg_constraint k where k.conrelid in (select oid from tree)
    union all select k.oid::pg_catalog.text from pg_catalog.pg_constraint k where k.contypid <> 0 and k.contypid in (select oid from types)
    union all select i.indexrelid::pg_catalog.text from pg_catalog.pg_index i where i.indisunique and i.indrelid in (select oid from tree)
    union all select n.attrelid || '.' || n.attnum from pg_catalog.pg_attribute n where n.attnotnull and n.attrelid in (select oid from tree)) b`

// typeSQL names a column's type in a way that does not depend on search_path.
const typeSQL = `
  select case when z.oid < 16384 then pg_catalog.format_type(a.atttypid, a.atttypmod)
    else pg_catalog.quote_ident(zn.nspname) || '.' || pg_catalog.quote_ident(z.typname) || pg_catalog.repeat('[]', (z.oid <> a.atttypid)::pg_catalog.int4) end
  from pg_catalog.pg_type z join pg_catalog.pg_namespace zn on zn.oid = z.typnamespace
  where z.oid = case when y.typcategory = 'A' and y.typelem <> 0 and y.typtype = 'b' then y.typelem else a.atttypid end`

const columnsSQL = `
  select pg_catalog.json_agg(pg_catalog.json_build_object(
    'Name', a.attname, 'TypeOID', a.atttypid::pg_catalog.int8, 'Type', (` + typeSQL + `),
    'BaseOID', b.oid::pg_catalog.int8, 'TypeKind', y.typtype, 'Category', b.typcategory,
    'BaseType', case when y.typtype = 'd' and b.oid < 16384 then pg_catalog.format_type(b.oid, null) end,
    'Element', case when b.typcategory = 'A' then b.typelem::pg_catalog.int8 else 0 end,
    'ElementCategory', e.typcategory,
    'UserType', a.atttypid >= 16384 or b.oid >= 16384 or b.typelem >= 16384,
    'Exact', (y.typtype = 'e' or a.atttypid in (16, 17, 19, 20, 21, 23, 25, 26, 1043, 1082, 1083, 1114, 1184, 2950))
      and not exists (select from pg_catalog.pg_collation l where l.oid = a.attcollation and not l.collisdeterministic),
    'NotNull', a.attnotnull, 'DefaultHash', pg_catalog.md5(d.adbin::pg_catalog.text),
    'DomainDefault', dom.def, 'Identity', a.attidentity, 'Generated', a.attgenerated <> '',
    'From', case when a.attgenerated <> '' then (select pg_catalog.json_agg(distinct g.attname) from pg_catalog.pg_depend p
      join pg_catalog.pg_attribute g on g.attrelid = p.refobjid and g.attnum = p.refobjsubid
      where p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and p.refobjid = a.attrelid and g.attnum <> a.attnum
        and (p.classid = p.refclassid and p.objid = a.attrelid and p.objsubid = a.attnum
          or p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and p.objid = d.oid)) end,
    'Sequence', (select pg_catalog.json_build_object('Schema', sn.nspname, 'Name', sc.relname)
      from pg_catalog.pg_depend p join pg_catalog.pg_class sc on sc.oid = p.objid and sc.relkind = 'S'
      join pg_catalog.pg_namespace sn on sn.oid = sc.relnamespace
      where p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        and p.refobjid = a.attrelid and p.refobjsubid = a.attnum and p.deptype in ('a', 'i') order by p.deptype desc, sc.oid limit 1)
    ) order by a.attnum)
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_type y on y.oid = a.atttypid
  cross join lateral (
    with recursive up as (
      select t.oid, t.typtype, t.typbasetype, t.typdefault from pg_catalog.pg_type t where t.oid = a.atttypid
      union all
      select t.oid, t.typtype, t.typbasetype, t.typdefault from up join pg_catalog.pg_type t on t.oid = up.typbasetype where up.typtype = 'd')
    select pg_catalog.max(up.oid::pg_catalog.int8) filter (where up.typtype <> 'd') as base, pg_catalog.bool_or(up.typtype = 'd' and up.typdefault is not null) as def from up
  ) dom
  join pg_catalog.pg_type b on b.oid::pg_catalog.int8 = dom.base
  left join pg_catalog.pg_type e on e.oid = b.typelem and b.typcategory = 'A'
  left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = rel.oid and a.attnum > 0 and not a.attisdropped`

const keysSQL = `
  select pg_catalog.json_agg(pg_catalog.json_build_object(
    'Name', ic.relname, 'Primary', i.indisprimary, 'Deferrable', not i.indimmediate, 'Partial', i.indpred is not null,
    'Invalid', not (i.indisvalid and i.indisready and i.indislive),
    'Expression', k.expr, 'Columns', k.cols, 'NotNull', k.notnull, 'UserOperators', k.userops) order by ic.relname)
  from pg_catalog.pg_index i join pg_catalog.pg_class ic on ic.oid = i.indexrelid
  cross join lateral (
    select pg_catalog.bool_or(i.indkey[g.p] = 0) as expr,
      coalesce(pg_catalog.json_agg(ka.attname order by g.p) filter (where ka.attname is not null), '[]') as cols,
      coalesce(pg_catalog.bool_and(ka.attnotnull), false) as notnull,
      pg_catalog.bool_or(oc.oid >= 16384 or i.indcollation[g.p] <> coalesce(ka.attcollation, i.indcollation[g.p])) as userops
    from pg_catalog.generate_series(0, i.indnkeyatts - 1) g(p)
    left join pg_catalog.pg_attribute ka on ka.attrelid = i.indrelid and ka.attnum = i.indkey[g.p] and ka.attnum > 0
    left join pg_catalog.pg_opclass oc on oc.oid = i.indclass[g.p]
  ) k
  where i.indrelid = rel.oid and i.indisunique`

// foreignSQL lists foreign keys whose side self is the table.
func foreignSQL(self, other string) string {
	return `
  select pg_catalog.json_agg(pg_catalog.json_build_object(
    'Name', x.conname, 'Schema', xn.nspname, 'Table', xc.relname, 'Deferrable', x.condeferrable,
    'OnUpdate', x.confupdtype, 'OnDelete', x.confdeltype,
    'Columns', (select pg_catalog.json_agg(fa.attname order by u.o) from pg_catalog.unnest(x.conkey) with ordinality u(n, o)
                join pg_catalog.pg_attribute fa on fa.attrelid = x.conrelid and fa.attnum = u.n),
    'KeyColumns', (select pg_catalog.json_agg(fa.attname order by u.o) from pg_catalog.unnest(x.confkey) with ordinality u(n, o)
                join pg_catalog.pg_attribute fa on fa.attrelid = x.confrelid and fa.attnum = u.n)
    ) order by xn.nspname, xc.relname, x.conname)
  from pg_catalog.pg_constraint x join pg_catalog.pg_class xc on xc.oid = ` + other + `
  join pg_catalog.pg_namespace xn on xn.oid = xc.relnamespace
  where x.contype = 'f' and ` + self + ` = rel.oid and (x.conparentid = 0 or rel.relispartition)`
}

// lookup asks q for one relation.
func lookup(ctx context.Context, q Querier, schemas []string, name string) (*Table, error) {
	rows, err := q.Query(ctx, tableSQL, ArrayLiteral(schemas), name)
	if err != nil {
		return nil, fmt.Errorf("look up relation %s: %w", name, err)
	}
	if len(rows) == 0 {
		return nil, ErrNotFound
	}
	t, err := decodeTable(rows[0])
	if err != nil {
		return nil, err
	}
	if err := t.lookOffsets(ctx, q); err != nil {
		return nil, err
	}
	if err := t.lookHashed(ctx, q); err != nil {
		return nil, err
	}
	if err := t.lookElsewhere(ctx, q); err != nil {
		return nil, err
	}
	return t, t.lookSought(ctx, q)
}

func decodeTable(row []event.Value) (*Table, error) {
	t := &Table{}
	if len(row) != 7 {
		return nil, fmt.Errorf("look up relation: 7 columns expected, got %d", len(row))
	}
	if _, err := fmt.Sscan(string(row[0].Text), &t.OID); err != nil {
		return nil, fmt.Errorf("look up relation: OID %q: %w", row[0].Text, err)
	}
	if err := json.Unmarshal(row[1].Text, t); err != nil {
		return nil, fmt.Errorf("look up relation: %w", err)
	}
	t.fingerprint = string(row[1].Text)
	if err := json.Unmarshal(row[3].Text, &t.Definition); err != nil {
		return nil, fmt.Errorf("look up relation: its definition: %w", err)
	}
	if !row[4].Null {
		if err := json.Unmarshal(row[4].Text, &t.Labels); err != nil {
			return nil, fmt.Errorf("look up relation: labels of its enums: %w", err)
		}
	}
	t.Bounds = string(row[6].Text)
	if err := t.readDefaults(row[2], row[5]); err != nil {
		return nil, fmt.Errorf("look up relation: its defaults: %w", err)
	}
	return t, nil
}

func (t *Table) readDefaults(printed, own event.Value) error {
	if printed.Null {
		return nil
	}
	defaults := map[string]string{}
	if err := json.Unmarshal(printed.Text, &defaults); err != nil {
		return err
	}
	for name, expr := range defaults {
		if c := t.Column(name); c != nil {
			c.Default = expr
		}
	}
	if own.Null {
		return nil
	}
	var names []string
	if err := json.Unmarshal(own.Text, &names); err != nil {
		return err
	}
	for _, name := range names {
		if c := t.Column(name); c != nil {
			c.OwnDefault = true
		}
	}
	return nil
}

// Fingerprint is equal for two look-ups of a table that classification cannot
// tell apart.
func (t *Table) Fingerprint() string { return t.fingerprint }

// ArrayLiteral writes a text[] literal.
func ArrayLiteral(items []string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, s := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// QuoteIdent quotes an identifier.
func QuoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// QuoteLiteral quotes a string constant, whatever standard_conforming_strings says.
func QuoteLiteral(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return "E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}
