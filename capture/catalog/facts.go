package catalog

import (
	"context"
	"encoding/json"
	"fmt"
)

// Facts are what the whole database defines beside the built-in objects, as far
// as it can make an innocent expression do something.
type Facts struct {
	// Functions are all functions that are not built in, by name.
	Functions map[string][]Function
	// Operators are the operators that are not built in, by name.
	Operators map[string]Operator
	// Types maps the names of types that are not built in to their typtype; "D" is
	// a domain with a default.
	Types map[string]string
	// Plain are the names of base types of extensions that are read, and cast to, by what
	// the extension says is immutable.
	Plain map[string]bool
	// Views are schema.name of views that are not built in.
	Views map[string]bool
	// UnsafePolicies are schema.name of relations one of whose row security
	// policies calls a volatile user function.
	UnsafePolicies map[string]bool
	// VolatileCasts says that a cast runs a volatile user function.
	VolatileCasts bool
	// UserCasts says that there are casts, which the server may apply unasked, that run
	// a function of the user's or read a text as what it may take for a moment of the
	// clock. Immutable casts of extensions, and those that a range type brings with it
	// (their functions are the server's own), are not counted.
	UserCasts bool
	// UnsafeTypes are the names of types whose values are made or checked by a volatile
	// user function: domains, what is made of them, and targets of such casts.
	UnsafeTypes map[string]bool
	// Hashed says that a table is partitioned by hashes which differ between servers.
	Hashed bool
	// Conversions says that there are conversions of encodings which are not built in, and
	// are taken unasked.
	Conversions bool
	// EventTriggers are the enabled event triggers that are not opmux's.
	EventTriggers []string
	// Version is the DDL counter that the facts rely on, Unsettled beside open DDL.
	Version int64
}

// Operator is what all operators of one name that are not built in have in common.
type Operator struct {
	// Volatile says that one runs a volatile function.
	Volatile bool
	// Builtin says that one takes only types that travel as text: built-in ones, enums
	// and domains.
	Builtin bool
}

// Function is one function, or aggregate, that is not built in.
type Function struct {
	Schema string
	// Kind is prokind: f, p (procedure), a (aggregate), w (window).
	Kind string
	// Volatility is provolatile, for aggregates that of its worst part, and v where an
	// argument's default calls a volatile user function, or where it calls set_config, or
	// a function that writes: the server lets functions do that which are declared to change nothing.
	Volatility string
	// Language is "sql", "plpgsql", "c", "internal", …
	Language string
	// Extension that it belongs to, "" for none.
	Extension string
	// Setting says that it reads settings of the session.
	Setting bool
	// Attribute says that it can be called as if it were a column of its argument.
	Attribute bool
	// Set says that it returns a set.
	Set bool
}

var factsSQL = `
` + unsafeTypesSQL + `
select pg_catalog.json_build_object(
  'Conversions', exists (select from pg_catalog.pg_conversion c where c.condefault and c.connamespace <> 'pg_catalog'::pg_catalog.regnamespace),
  'Functions', (select pg_catalog.json_agg(pg_catalog.json_build_object('Name', p.proname, 'Schema', n.nspname, 'Kind', p.prokind,
      'Volatility', case when p.prokind = 'a' and exists (
          select from pg_catalog.pg_aggregate a join pg_catalog.pg_proc f on ` + acts("f") + `
            and f.oid in (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
          where a.aggfnoid = p.oid) then 'v'
        when exists (select from unsafe u where u.oid = p.prorettype or u.oid = any (p.proargtypes::pg_catalog.oid[])) then 'v'
        when p.pronargdefaults > 0 and exists (
          select from (` + functionsIn("p.proargdefaults::pg_catalog.text") + `) e (oid) join pg_catalog.pg_proc f on f.oid = e.oid
          where ` + unrepeatable("f") + `) then 'v'
        when ` + acts("p") + ` then 'v' else p.provolatile end,
      'Language', l.lanname, 'Extension', x.extname, 'Set', p.proretset,
      'Setting', ` + looksAtSetting("p") + `,
      'Attribute', p.pronargs >= 1 and exists (select from pg_catalog.pg_type t where t.oid = p.proargtypes[0] and t.typtype in ('c', 'p', 'd'))))
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace join pg_catalog.pg_language l on l.oid = p.prolang
    left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e'
      and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
    left join pg_catalog.pg_extension x on x.oid = d.refobjid
    where p.oid >= 16384),
  'Operators', (select pg_catalog.json_object_agg(o.name, pg_catalog.json_build_object('Volatile', o.vol, 'Builtin', o.bi)) from (
    select o.oprname::pg_catalog.text as name, pg_catalog.bool_or(` + acts("p") + `) as vol,
      pg_catalog.bool_or(not exists (select from pg_catalog.pg_type t
        where t.oid in (o.oprleft, o.oprright) and t.oid >= 16384 and t.typtype not in ('e', 'd'))) as bi
    from pg_catalog.pg_operator o join pg_catalog.pg_proc p on p.oid = o.oprcode where o.oid >= 16384 group by 1) o),
  'Types', (select pg_catalog.json_object_agg(t.typname::pg_catalog.text, case when t.typtype = 'd' and t.typdefault is not null then 'D' else t.typtype::pg_catalog.text end order by t.typtype) from pg_catalog.pg_type t
    where t.oid >= 16384 and t.typcategory <> 'A' and (t.typrelid = 0 or exists (select from pg_catalog.pg_class c where c.oid = t.typrelid and c.relkind = 'c'))),
  'Plain', (select pg_catalog.json_object_agg(x.name, true) from (
    select t.typname::pg_catalog.text as name from pg_catalog.pg_type t left join pg_catalog.pg_proc i on i.oid = t.typinput
    where t.oid >= 16384 and t.typcategory <> 'A' group by 1 having pg_catalog.bool_and(t.typtype = 'b' and i.provolatile = 'i'
      and exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.objid = t.oid and d.deptype = 'e')
      and not exists (select from pg_catalog.pg_cast k join pg_catalog.pg_proc f on f.oid = k.castfunc where k.casttarget = t.oid and f.provolatile <> 'i'))) x),
  'Views', (select pg_catalog.json_object_agg(n.nspname || '.' || c.relname, true) from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind = 'v' and c.oid >= 16384),
  'UnsafePolicies', (select pg_catalog.json_object_agg(n.nspname || '.' || c.relname, true) from pg_catalog.pg_policy o
    join pg_catalog.pg_class c on c.oid = o.polrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where ` + unsafePolicy + `),
  'VolatileCasts', exists (select from pg_catalog.pg_cast k join pg_catalog.pg_proc p on p.oid = k.castfunc
    where k.oid >= 16384 and ` + acts("p") + `),
  'UserCasts', exists (select from pg_catalog.pg_cast k join pg_catalog.pg_type t on t.oid = k.casttarget left join pg_catalog.pg_proc p on p.oid = k.castfunc
    where k.oid >= 16384 and case k.castmethod
      when 'f' then p.provolatile <> 'i' or p.oid >= 16384 and p.prolang <> 12 and not exists (select from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid and d.deptype = 'e')
      when 'i' then t.typtype <> 'e' and (t.oid >= 16384 or t.typtype <> 'b' or t.typcategory in ('D', 'A') or t.typname like 'reg%' or t.typname = 'oid') end),
  'UnsafeTypes', (select pg_catalog.json_object_agg(made.name, true) from (
      select t.typname::pg_catalog.text as name from unsafe u join pg_catalog.pg_type t on t.oid = u.oid
      union select t.typname::pg_catalog.text from pg_catalog.pg_cast k join pg_catalog.pg_proc p on p.oid = k.castfunc
        join pg_catalog.pg_type t on t.oid = k.casttarget or t.typelem = k.casttarget
      where k.oid >= 16384 and ` + acts("p") + `) made),
  'Hashed', exists (select from pg_catalog.pg_partitioned_table p where ` + byNumbersSQL + `),
  'EventTriggers', (select pg_catalog.json_agg(e.evtname) from pg_catalog.pg_event_trigger e
    where e.evtenabled <> 'D' and e.evtname not in ('opmux_ddl', 'opmux_ddl_start', 'opmux_names'))
)::pg_catalog.text`

func loadFacts(ctx context.Context, q Querier) (*Facts, error) {
	rows, err := q.Query(ctx, factsSQL)
	if err != nil {
		return nil, fmt.Errorf("look up functions: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return nil, fmt.Errorf("look up functions: one value expected")
	}
	var wire struct {
		Facts
		Functions []struct {
			Name string
			Function
		}
	}
	if err := json.Unmarshal(rows[0][0].Text, &wire); err != nil {
		return nil, fmt.Errorf("look up functions: %w", err)
	}
	f := wire.Facts
	f.Functions = make(map[string][]Function, len(wire.Functions))
	for _, fn := range wire.Functions {
		f.Functions[fn.Name] = append(f.Functions[fn.Name], fn.Function)
	}
	return &f, nil
}

// Builtins are the functions and types that the server brings with it.
type Builtins struct {
	// Volatility is the worst provolatile of the built-in functions of a name:
	// i, s or v.
	Volatility map[string]byte
	// Sets are the names of functions one of which returns a set.
	Sets map[string]bool
	// Types maps names of built-in types to their OIDs.
	Types map[string]uint32
}

const builtinsSQL = `
select pg_catalog.json_build_object(
  'Functions', (select pg_catalog.json_object_agg(f.name, f.vol) from (
    select p.proname::pg_catalog.text as name, case when pg_catalog.bool_or(p.provolatile = 'v') then 'v'
      when pg_catalog.bool_or(p.provolatile = 's') then 's' else 'i' end as vol
    from pg_catalog.pg_proc p where p.oid < 16384 group by 1) f),
  'Sets', (select pg_catalog.json_object_agg(f.name, true) from (
    select distinct p.proname::pg_catalog.text as name from pg_catalog.pg_proc p where p.oid < 16384 and p.proretset) f),
  'Types', (select pg_catalog.json_object_agg(t.typname::pg_catalog.text, t.oid::pg_catalog.int8) from pg_catalog.pg_type t
    where t.oid < 16384 and t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace)
)::pg_catalog.text`

func loadBuiltins(ctx context.Context, q Querier) (*Builtins, error) {
	rows, err := q.Query(ctx, builtinsSQL)
	if err != nil {
		return nil, fmt.Errorf("look up built-in functions: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return nil, fmt.Errorf("look up built-in functions: one value expected")
	}
	var wire struct {
		Functions map[string]string
		Sets      map[string]bool
		Types     map[string]uint32
	}
	if err := json.Unmarshal(rows[0][0].Text, &wire); err != nil {
		return nil, fmt.Errorf("look up built-in functions: %w", err)
	}
	b := &Builtins{Volatility: make(map[string]byte, len(wire.Functions)), Sets: wire.Sets, Types: wire.Types}
	for name, v := range wire.Functions {
		b.Volatility[name] = v[0]
	}
	return b, nil
}

// Access is what a role may do with a relation, as far as adding RETURNING
// depends on it.
type Access struct {
	// Known is false where there is no such role.
	Known bool
	// RowSecurity says that row security policies apply to the role.
	RowSecurity bool
	// Hidden are the columns that the role may not read.
	Hidden []string

	version int64
}

const accessSQL = `
select pg_catalog.json_build_object('Known', true,
  'RowSecurity', c.relrowsecurity and not (r.rolsuper or r.rolbypassrls
     or (not c.relforcerowsecurity and pg_catalog.pg_has_role(r.oid, c.relowner, 'usage'))),
  'Hidden', (select pg_catalog.json_agg(a.attname) from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0
     and not a.attisdropped and not pg_catalog.has_column_privilege(r.oid, c.oid, a.attnum, 'select')))::pg_catalog.text
from pg_catalog.pg_roles r, pg_catalog.pg_class c where r.rolname = $1::pg_catalog.text and c.oid = $2::pg_catalog.oid`

func loadAccess(ctx context.Context, q Querier, role string, oid uint32) (*Access, error) {
	rows, err := q.Query(ctx, accessSQL, role, fmt.Sprint(oid))
	if err != nil {
		return nil, fmt.Errorf("look up privileges: %w", err)
	}
	a := &Access{}
	if len(rows) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(rows[0][0].Text, a); err != nil {
		return nil, fmt.Errorf("look up privileges: %w", err)
	}
	return a, nil
}
