package catalog

import (
	"context"

	"github.com/opmux/opmux/event"
)

// Numbered is a sequence or an index of the transaction's own for which the server has
// chosen a name with a number, having found a name without it, or with a lower one, taken. Free is
// the name that it would choose now.
type Numbered struct {
	// Kind is SEQUENCE or INDEX.
	Kind, Schema, Name, Free string
	// Table is what it is of, qualified.
	Table string
}

// numberedNamesSQL asks for what the transaction has made with such a name: the row is of
// a transaction that is under way, and seen. Its ids are between its own and $1, which is
// younger: frozen rows may have ids of an earlier round of the 32 bits, which only look like
// that. to_regclass looks as the server does when it chooses, whatever snapshot the transaction
// has, and fails where the role that it has by now may not look into the schema. Numbers
// above 99 are not the server's, but for tables that nobody has. A long name has more room
// for the table's and the column's where the number is missing: what is longer is cut first.
// The array has the planner expect few rows, and the server not compile the query (jit),
// which took seconds.
var numberedNamesSQL = `
select x.kind, x.nspname, x.relname, f.name, t.nspname || '.' || t.relname
from (
  select c.oid, n.oid as nsp, n.nspname, c.relname::pg_catalog.text, case c.relkind when 'S' then 'SEQUENCE' else 'INDEX' end as kind, m[1] as base, m[2] as label, m[3]::pg_catalog.int4 as number
  from pg_catalog.unnest(array(
    select c.oid from pg_catalog.pg_class c, pg_catalog.int8(pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text) mine,
      lateral (select (c.xmin::pg_catalog.text::pg_catalog.int8 - mine) & 4294967295 as since) s
    where c.relkind in ('S', 'i', 'I') and c.relpersistence <> 't' and case when since < $1::pg_catalog.int8 - mine
      then pg_catalog.pg_xact_status((mine + since)::pg_catalog.text::pg_catalog.xid8) = 'in progress' else false end
  )) made join pg_catalog.pg_class c on c.oid = made join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
    lateral pg_catalog.regexp_match(c.relname::pg_catalog.text, '^(.*_)(seq|idx|pkey|key|excl)([1-9][0-9]?)$') m
  where m is not null
) x join lateral (
  select n.nspname, t.relname::pg_catalog.text, o.of
  from (
    select i.indrelid as relid, case when x.label <> 'pkey' then (select pg_catalog.string_agg(a.attname, '_' order by a.attnum) from pg_catalog.pg_attribute a where a.attrelid = x.oid) end as of
    from pg_catalog.pg_index i where i.indexrelid = x.oid
    union all select a.attrelid, a.attname::pg_catalog.text
    from pg_catalog.pg_depend d join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where x.kind = 'SEQUENCE' and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = x.oid
      and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
  ) o join pg_catalog.pg_class t on t.oid = o.relid join pg_catalog.pg_namespace n on n.oid = t.relnamespace
) t on true join lateral (
  select w.name from (
    select k, case when pg_catalog.octet_length(x.relname) < 60 then x.base || x.label || l.digits
      else ` + clipSQL("t.relname", "greatest(l.room - l.bytes, (l.room + 1) / 2)") + ` || coalesce('_' || ` + clipSQL("t.of", "greatest(l.room - pg_catalog.octet_length(t.relname), l.room / 2)") + `, '') || '_' || x.label || l.digits end as name
    from pg_catalog.generate_series(0, x.number - 1) k, lateral (select case k when 0 then '' else k::pg_catalog.text end as digits) g,
      lateral (select g.digits, 62 - pg_catalog.octet_length(x.label || g.digits) - case when t.of is null then 0 else 1 end as room, coalesce(pg_catalog.octet_length(t.of), 0) as bytes) l) w
  where case when pg_catalog.has_schema_privilege(x.nsp, 'usage') then pg_catalog.to_regclass(pg_catalog.quote_ident(x.nspname) || '.' || pg_catalog.quote_ident(w.name)) is null
    else not exists (select from pg_catalog.pg_class o where o.relnamespace = x.nsp and o.relname = w.name) end order by k limit 1
) f on true
order by 2, 3`

// clipSQL is the beginning of a name that has room in so many bytes.
func clipSQL(name, room string) string {
	return "(select pg_catalog.left(" + name + ", j) from pg_catalog.generate_series(pg_catalog.length(" + name + "), 0, -1) j where pg_catalog.octet_length(pg_catalog.left(" + name + ", j)) <= " + room + " limit 1)"
}

// Numbered lists what the transaction behind q, not committed yet, has made under a name
// that the backups, where another transaction's DROP is done by then, would not choose.
func (c *Catalog) Numbered(ctx context.Context, q Querier) ([]Numbered, error) {
	next, err := c.nextID(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, numberedNamesSQL, next)
	if err != nil {
		return nil, err
	}
	list := make([]Numbered, len(rows))
	for i, r := range rows {
		list[i] = Numbered{Kind: string(r[0].Text), Schema: string(r[1].Text), Name: string(r[2].Text), Free: string(r[3].Text), Table: string(r[4].Text)}
	}
	return list, nil
}

// Operation has a backup that has chosen the free name take the one of the primary. One
// that has chosen the same, since it has what took the name (a table, perhaps, that another
// transaction has made in between), is left as it is.
func (n Numbered) Operation() event.Operation {
	body := "BEGIN ALTER " + n.Kind + " IF EXISTS " + QuoteIdent(n.Schema) + "." + QuoteIdent(n.Free) + " RENAME TO " + QuoteIdent(n.Name) +
		"; EXCEPTION WHEN duplicate_table OR wrong_object_type THEN NULL; END"
	return event.Operation{Kind: event.OpStatement, Class: event.ClassText, Reason: "DDL", Text: "DO " + QuoteLiteral(body),
		Tables: []string{n.Table}, Digest: event.Digest{SQLState: "00000", Affected: -1}}
}
