package catalog

// callsSQL is what runs unseen when a row of the relation is written: kinds are the
// types of users whose values are made then, expressions the checks, index expressions
// and generated columns with their names, calls the functions that these call. It is
// read off the expressions as the server keeps them, with every function by its number:
// printing them would lock the relation, and dependencies name neither the function of
// an operator nor those of a domain that is cast to.
var callsSQL = `own as (
  select k.tableoid as class, k.oid, 'constraint ' || k.conname as name, k.conbin::pg_catalog.text as expr
  from pg_catalog.pg_constraint k where k.contype = 'c' and k.conrelid in (select oid from tree)
  union all
  select ic.tableoid, ic.oid, 'index ' || ic.relname, coalesce(k.indexprs::pg_catalog.text, '') || coalesce(k.indpred::pg_catalog.text, '')
  from pg_catalog.pg_index k join pg_catalog.pg_class ic on ic.oid = k.indexrelid where k.indrelid in (select oid from tree) and (k.indexprs is not null or k.indpred is not null)
  union all
  select k.tableoid, k.oid, 'generated column ' || ka.attname, k.adbin::pg_catalog.text
  from pg_catalog.pg_attrdef k join pg_catalog.pg_attribute ka on ka.attrelid = k.adrelid and ka.attnum = k.adnum
  where k.adrelid in (select oid from rel) and ka.attgenerated <> ''
), kinds as (
  select a.atttypid as oid from pg_catalog.pg_attribute a
  where a.attrelid in (select oid from rel) and a.attnum > 0 and not a.attisdropped and a.atttypid >= 16384
  union
  select d.refobjid from own join pg_catalog.pg_depend d on d.classid = own.class and d.objid = own.oid and d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
  union
  select p.part from kinds join (` + partsSQL + `) p on p.whole = kinds.oid
), expressions as (
  select name, expr from own
  union all
  select 'constraint ' || k.conname, k.conbin::pg_catalog.text from pg_catalog.pg_constraint k where k.contypid <> 0 and k.contypid in (select oid from kinds)
), calls as (
  select x.name, p.* from expressions x cross join lateral (` + functionsIn("x.expr") + `) f (oid) join pg_catalog.pg_proc p on p.oid = f.oid
)`

// functionsIn lists the functions that an expression, as the server keeps it, calls,
// by operators too. A domain's check is none of it.
func functionsIn(expr string) string {
	return `select m.found[1]::pg_catalog.oid from pg_catalog.regexp_matches(` + expr + `, 'funcid (\d+) ', 'g') m (found)`
}

// partsSQL lists what values of types are made of, and what their checks cast to.
const partsSQL = `
  select t.oid as whole, t.typbasetype as part from pg_catalog.pg_type t where t.typbasetype >= 16384
  union all select t.oid, t.typelem from pg_catalog.pg_type t where t.typelem >= 16384
  union all select c.reltype, a.atttypid from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
    where a.atttypid >= 16384 and a.attnum > 0 and c.reltype <> 0
  union all select r.rngtypid, r.rngsubtype from pg_catalog.pg_range r where r.rngsubtype >= 16384
  union all select k.contypid, d.refobjid from pg_catalog.pg_constraint k join pg_catalog.pg_depend d on d.classid = k.tableoid and d.objid = k.oid
    and d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass where k.contypid <> 0`

// unsafeTypesSQL is the types of which making a value may call a function that must not
// be called unseen.
var unsafeTypesSQL = `with recursive ` + writersSQL + `, parts as (` + partsSQL + `), unsafe (oid) as (
  select k.contypid from pg_catalog.pg_constraint k
  where k.contypid <> 0 and exists (
    select from (` + functionsIn("k.conbin::pg_catalog.text") + `) e (oid) join pg_catalog.pg_proc f on f.oid = e.oid where ` + unrepeatable("f") + `)
  union
  select p.whole from unsafe join parts p on p.part = unsafe.oid
)`

// unsafePolicy is the condition that the row security policy o calls such a function;
// it stands behind unsafeTypesSQL.
var unsafePolicy = `(exists (select from (` + functionsIn("coalesce(o.polqual::pg_catalog.text, '') || coalesce(o.polwithcheck::pg_catalog.text, '')") + `) e (oid)
    join pg_catalog.pg_proc f on f.oid = e.oid where ` + unrepeatable("f") + `)
  or exists (select from pg_catalog.pg_depend d join unsafe u on u.oid = d.refobjid
    where d.classid = o.tableoid and d.objid = o.oid and d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass))`

// unrepeatable is the condition that running a function once more, on a backup, is of
// effect, as far as its being volatile tells. Of the server's own, other volatile ones
// only give other values, which a check that fails tells. It stands behind writersSQL.
func unrepeatable(p string) string {
	return `(case when ` + p + `.oid >= 16384 then ` + acts(p) + ` else ` + p + `.proname in ('nextval', 'setval') end)`
}

// acts is the condition that a function may change something, whatever it is declared as.
// It stands behind writersSQL.
func acts(p string) string {
	return `(` + p + `.provolatile = 'v' or ` + actsDeclaredCalm(p) + `)`
}

// actsDeclaredCalm is the condition that a function of the user's makes a setting or calls
// one that writes: the server lets functions do that which are declared to change nothing.
func actsDeclaredCalm(p string) string {
	return `(` + p + `.oid >= 16384 and (` + makesSetting(p) + ` or ` + p + `.oid in (select w.oid from writers w)))`
}

// volatileSQL lists the volatile functions that run unseen, those that read a type's
// values among them.
var volatileSQL = `
  select pg_catalog.json_agg(distinct f.fn) from (
    select p.proname::pg_catalog.text as fn from calls p where ` + unrepeatable("p") + `
    union all
    select p.proname::pg_catalog.text
    from kinds join pg_catalog.pg_type t on t.oid = kinds.oid join pg_catalog.pg_proc p on p.oid = t.typinput
    where p.oid >= 16384 and ` + acts("p") + `) f`

// writingSQL finds one of them that may write. Many that only look are volatile because
// nobody has said otherwise, so a function in SQL or PL/pgSQL whose text has no word of
// a write, and names no other volatile function, is taken for one of those.
var writingSQL = `
  select pg_catalog.min(p.proname::pg_catalog.text) from calls p join pg_catalog.pg_language l on l.oid = p.prolang
  where ` + unrepeatable("p") + ` and (l.lanname not in ('sql', 'plpgsql')
    or ` + saysWrite("p") + ` or ` + actsDeclaredCalm("p") + `
    or exists (select from pg_catalog.pg_proc o where o.oid >= 16384 and o.oid <> p.oid and o.provolatile = 'v'
      and (p.prosrc ~* ('\m' || pg_catalog.regexp_replace(o.proname::pg_catalog.text, '\W', '.', 'g') || '\M')
        or ` + bodyOf("p") + ` like '%funcid ' || o.oid::pg_catalog.text || ' %')))`

// saysWrite is the condition that the text of a function has a word of a write.
func saysWrite(p string) string {
	return `(` + p + `.prosrc ~* '\m(insert|update|delete|merge|truncate|execute|call|copy|create|alter|drop|nextval|setval|set_config|notify|lo_\w+)\M'
    or ` + bodyOf(p) + ` ~ ':commandType [^1]')`
}

// writersSQL is the functions in SQL and PL/pgSQL that write, as far as their texts tell:
// volatile ones that say so, and what calls one, whatever it is declared as. The server keeps
// one that is declared STABLE from writing by itself, and not from calling one that does.
var writersSQL = `spoken as materialized (
  select p.oid, p.proname::pg_catalog.text as name, p.prosrc, ` + bodyOf("p") + ` as body, p.provolatile = 'v' and ` + saysWrite("p") + ` as writes
  from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang where p.oid >= 16384 and l.lanname in ('sql', 'plpgsql')
), called as materialized (
  select s.oid, s.name, pg_catalog.lower(m.found[1]) as callee
  from spoken s cross join lateral pg_catalog.regexp_matches(s.prosrc, '([[:alpha:]_][\w$]*)"?\s*\(', 'g') m (found) where not s.writes
  union
  select s.oid, s.name, f.proname from spoken s cross join lateral (` + functionsIn("s.body") + `) e (oid) join pg_catalog.pg_proc f on f.oid = e.oid where not s.writes
), writers (oid, name) as (
  select s.oid, s.name from spoken s where s.writes
  union
  select c.oid, c.name from writers w join called c on c.callee = pg_catalog.lower(w.name)
)`

// settingSQL finds a check, or what an index or a generated column is computed by, that
// reads a setting, and generated columns that are computed of an object's number: of the
// table's own, or of a constant that names an object.
var settingSQL = `select pg_catalog.min(x.name) from (
    select p.name from calls p where ` + looksAtSetting("p") + `
    union all
    select o.name from own o where o.class = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
      and o.expr ~ ':varattno -6 |:consttype (24|2202|2203|2204|2205|2206|4089|4096|4191) ') x`

// looksAtSetting is the condition that a function reads a setting, or is a user's that
// calls one that does.
func looksAtSetting(p string) string {
	return `(` + p + `.oid in (810, 2077, 3294) or ` + p + `.oid >= 16384 and (` + p + `.prosrc ~* '` + readsSettings + `' or ` + bodyOf(p) + ` ~ '` + settingCalls + `'))`
}

// makesSetting is the condition that a function calls set_config, but for settings of the
// application's own (which have a dot in their names, and change no statement's meaning).
// SET is refused by the server in one that is not volatile; a function's own SET clause is
// undone behind it.
func makesSetting(p string) string {
	return `(pg_catalog.regexp_replace(` + p + `.prosrc, '\mset_config\s*\(\s*''(?!opmux\.)\w+\.[\w.]+''', '', 'gi') ~* '\mset_config\M' or ` +
		bodyOf(p) + ` ~ ':funcid 2078 ')`
}

// bodyOf is the body of a function in SQL that was parsed when it was made, and whose
// source is empty. Servers before version 14 have no such column.
func bodyOf(p string) string {
	return `coalesce(pg_catalog.to_jsonb(` + p + `) ->> 'prosqlbody', '')`
}
