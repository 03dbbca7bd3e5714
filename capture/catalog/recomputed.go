package catalog

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/opmux/opmux/event"
)

// Sources is what a materialized view is computed of.
type Sources struct {
	// Problem is why a backup could compute something else of the same tables, "" where
	// it could not.
	Problem string
	// Named are the tables and views that its own query names, quoted. Unlocked are
	// tables that others could write meanwhile, those behind views and partitions included.
	Named, Unlocked []string
}

// treesSQL are the queries of a materialized view and of the views behind it, as the
// server keeps them: with every name and type resolved. Parameters: schema, name.
const treesSQL = `
with recursive tree as (
  select c.oid, true as own, r.ev_action::pg_catalog.text as query
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace join pg_catalog.pg_rewrite r on r.ev_class = c.oid and r.rulename = '_RETURN'
  where n.nspname = $1::pg_catalog.text and c.relname = $2::pg_catalog.text and c.relkind = 'm'
  union
  select c.oid, false, r.ev_action::pg_catalog.text
  from tree cross join lateral pg_catalog.regexp_matches(tree.query, ':relid ([0-9]+)', 'g') m
    join pg_catalog.pg_class c on c.oid = m[1]::pg_catalog.oid and c.relkind = 'v' join pg_catalog.pg_rewrite r on r.ev_class = c.oid and r.rulename = '_RETURN'
)
select oid::pg_catalog.text, query, own::pg_catalog.text from tree`

var (
	treeNode = regexp.MustCompile(`\{([A-Z_]+)`)
	treeFlag = regexp.MustCompile(`:(hasWindowFuncs true|hasDistinctOn true|limitCount \{|limitOffset \{|subLinkType 6|varattno -\d+)`)
	treeOID  = regexp.MustCompile(`:(relid|funcid|aggfnoid|opno|eqop|consttype|[A-Za-z]*(?:collid|collOid)) (\d+)`)
)

// sameNodes are the parts of a query whose result depends on the rows alone that it
// reads, not on their order or on anything beside them, under the names that the
// server's versions have for them. What is not listed is not known to be such.
var sameNodes = setOf(`QUERY RANGETBLENTRY RTE RTEPERMISSIONINFO ALIAS EREF RANGETBLREF RANGETBLFUNCTION FROMEXPR JOINEXPR TARGETENTRY
	SORTGROUPCLAUSE SETOPERATIONSTMT COMMONTABLEEXPR SUBLINK VAR CONST FUNCEXPR OPEXPR DISTINCTEXPR NULLIFEXPR SCALARARRAYOPEXPR BOOLEXPR
	NULLTEST BOOLEANTEST CASE CASEEXPR WHEN CASEWHEN CASETESTEXPR COALESCE COALESCEEXPR MINMAX MINMAXEXPR ARRAY ARRAYEXPR RELABELTYPE
	COLLATE COLLATEEXPR AGGREF PARAM`)

// flagged says what a flag of a query means for its result.
var flagged = map[string]string{
	"hasWindowFuncs true": "window functions depend on the order of rows", "hasDistinctOn true": "DISTINCT ON depends on the order of rows",
	"subLinkType 6": "the array of a subquery depends on the order of rows", "limitCount {": "LIMIT depends on the order of rows", "limitOffset {": "OFFSET depends on the order of rows",
}

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// sourcesSQL judges what a query tree refers to. Of functions only such are known
// that are built in, and give the same everywhere: of those that give floats the
// casts and the operators alone that do not call the C library. Rows that are equal must be the same where they are put
// together (1.0 and 1.00 are not), so the equalities are listed, and so are the
// aggregates that do not depend on the order of their input. Parameters: arrays of
// OIDs of relations, functions, aggregates, operators, equalities, constants' types,
// collations, and the relations that the view itself names.
const sourcesSQL = `
with recursive rel as (
  select unnest as oid from pg_catalog.unnest($1::pg_catalog.oid[])
  union
  select i.inhrelid from rel join pg_catalog.pg_inherits i on i.inhparent = rel.oid
), called as (
  select p.*, false as operator from pg_catalog.unnest($2::pg_catalog.oid[]) f(oid) join pg_catalog.pg_proc p on p.oid = f.oid
  union all
  select p.*, true from pg_catalog.unnest($4::pg_catalog.oid[]) o(oid) join pg_catalog.pg_operator x on x.oid = o.oid join pg_catalog.pg_proc p on p.oid = x.oprcode
)
select 'problem', 'it reads ' || c.oid::pg_catalog.regclass::pg_catalog.text || ', ' || case
    when n.nspname in ('pg_catalog', 'information_schema', 'pg_toast', 'opmux') then 'which is each server''s own'
    when c.relkind not in ('r', 'p') then 'which is no table' when c.relpersistence <> 'p' then 'which is unlogged' else 'which has row level security' end
  from rel join pg_catalog.pg_class c on c.oid = rel.oid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname in ('pg_catalog', 'information_schema', 'pg_toast', 'opmux') or c.relkind not in ('r', 'p') or c.relpersistence <> 'p' or c.relrowsecurity
union all
select 'problem', 'function ' || proname || ' may give something else on another server' from called
  where oid >= 16384 or provolatile <> 'i'
    or prorettype in ('pg_catalog.float4'::pg_catalog.regtype, 'pg_catalog.float8'::pg_catalog.regtype)
      and case when operator then proname in ('dpow', 'dcbrt') else proname not in ('float4', 'float8') end
union all
select 'problem', 'aggregate ' || p.proname || '(' || pg_catalog.oidvectortypes(p.proargtypes) || ') may depend on the order of rows'
  from pg_catalog.unnest($3::pg_catalog.oid[]) a(oid) join pg_catalog.pg_proc p on p.oid = a.oid
  where not (p.oid < 16384 and (p.proname = 'count' or p.proname in ('bool_and', 'bool_or', 'every')
    or p.proname in ('sum', 'avg', 'min', 'max', 'bit_and', 'bit_or') and pg_catalog.oidvectortypes(p.proargtypes) in ('smallint', 'integer', 'bigint')
    or p.proname in ('sum', 'avg') and pg_catalog.oidvectortypes(p.proargtypes) = 'numeric'
    or p.proname in ('min', 'max') and pg_catalog.oidvectortypes(p.proargtypes) in ('text', 'date', 'oid', 'anyenum', 'timestamp without time zone', 'timestamp with time zone', 'time without time zone')))
union all
select 'problem', 'equal values of type ' || pg_catalog.format_type(o.oprleft, null) || ' need not be the same'
  from pg_catalog.unnest($5::pg_catalog.oid[]) e(oid) join pg_catalog.pg_operator o on o.oid = e.oid
  where not (o.oid < 16384 and o.oprname = '=' and o.oprleft = o.oprright and pg_catalog.format_type(o.oprleft, null) in ('smallint', 'integer', 'bigint', 'boolean', 'text', 'name', '"char"', 'date',
    'uuid', 'bytea', 'oid', 'anyenum', 'timestamp without time zone', 'timestamp with time zone', 'time without time zone'))
union all
select 'problem', 'a constant of type ' || t.typname || ' is a number of this server''s' from pg_catalog.unnest($6::pg_catalog.oid[]) k(oid) join pg_catalog.pg_type t on t.oid = k.oid
  where t.typname like 'reg%' and t.oid < 16384
union all
select 'problem', 'it uses the collation ' || l.collname from pg_catalog.unnest($7::pg_catalog.oid[]) k(oid) join pg_catalog.pg_collation l on l.oid = k.oid
  where l.oid >= 16384
union all
select 'unlocked', c.oid::pg_catalog.regclass::pg_catalog.text
  from rel join pg_catalog.pg_class c on c.oid = rel.oid
  where not exists (select from pg_catalog.pg_locks l where l.locktype = 'relation' and l.relation = c.oid and l.pid = pg_catalog.pg_backend_pid() and l.granted
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
      and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
union all
select 'named', pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = any ($8::pg_catalog.oid[]) and c.relkind in ('r', 'p', 'v')
order by 1, 2`

// Sources tells what a materialized view is computed of; ErrNotFound: there is none of
// that name. q as in Table; not cached.
func (c *Catalog) Sources(ctx context.Context, q Querier, schema, name string) (*Sources, error) {
	if q == nil {
		q = c.lookups
	}
	rows, err := q.Query(ctx, treesSQL, schema, name)
	if err != nil {
		return nil, fmt.Errorf("look up materialized view %s.%s: %w", schema, name, err)
	}
	if len(rows) == 0 {
		return nil, ErrNotFound
	}
	refers, problem := refersTo(rows)
	if problem != "" {
		return &Sources{Problem: problem}, nil
	}
	args := make([]string, 0, 8)
	for _, field := range []string{"relid", "funcid", "aggfnoid", "opno", "eqop", "consttype", "coll", "named"} {
		args = append(args, "{"+strings.Join(slices.Sorted(maps.Keys(refers[field])), ",")+"}")
	}
	if rows, err = q.Query(ctx, sourcesSQL, args...); err != nil {
		return nil, fmt.Errorf("look up what materialized view %s.%s reads: %w", schema, name, err)
	}
	return readSources(rows), nil
}

// references are the OIDs of objects by the field that refers to them.
type references map[string]map[string]bool

func (r references) add(field, oid string) {
	if r[field] == nil {
		r[field] = map[string]bool{}
	}
	r[field][oid] = true
}

// refersTo collects what query trees refer to, without the views that they are the
// queries of.
func refersTo(trees [][]event.Value) (refers references, problem string) {
	refers = references{}
	for _, tree := range trees {
		query := string(tree[1].Text)
		for _, m := range treeNode.FindAllStringSubmatch(query, -1) {
			if !sameNodes[m[1]] {
				return nil, "opmux does not know " + m[1] + " in its query to give the same on another server"
			}
		}
		if m := treeFlag.FindStringSubmatch(query); m != nil {
			if why := flagged[m[1]]; why != "" {
				return nil, why
			}
			return nil, "it reads a system column"
		}
		for _, m := range treeOID.FindAllStringSubmatch(query, -1) {
			field := m[1]
			if strings.HasSuffix(field, "collid") || strings.HasSuffix(field, "collOid") {
				field = "coll"
			}
			refers.add(field, m[2])
			if field == "relid" && string(tree[2].Text) == "true" {
				refers.add("named", m[2])
			}
		}
	}
	for _, tree := range trees {
		delete(refers["relid"], string(tree[0].Text))
	}
	delete(refers["relid"], "0")
	return refers, ""
}

func readSources(rows [][]event.Value) *Sources {
	s := &Sources{}
	for _, r := range rows {
		switch what, text := string(r[0].Text), string(r[1].Text); what {
		case "problem":
			if s.Problem == "" {
				s.Problem = text
			}
		case "unlocked":
			s.Unlocked = append(s.Unlocked, text)
		case "named":
			s.Named = append(s.Named, text)
		}
	}
	return s
}
