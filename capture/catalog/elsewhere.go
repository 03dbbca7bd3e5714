package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
)

// What a function reads beside its arguments the server takes its author's word for: one
// that is declared IMMUTABLE may stand in a CHECK, an index or a generated column, which a
// backup computes anew, in a session of its own. What is read is looked for in the text of
// functions, by the names of what reads it.
const (
	// readsSettings: settings do not all travel, and the encoding of the client does not.
	readsSettings = `\m(current_setting|pg_client_encoding)\s*\(`
	// readsMoments: the clock, chance, and who is asking. Where a CHECK reads such (or a table), a row that
	// a backup refuses stops its worker; a generated column differs in silence.
	readsMoments = `\m(now|(clock|statement|transaction)_timestamp|timeofday|random|gen_random_uuid|nextval|currval|pg_backend_pid|inet_(client|server)_(addr|port))\s*\(` +
		`|\m(current_(date|time|timestamp|user|role)|localtime|localtimestamp|session_user)\M|\mage\s*\([^,()]*\)`
	// settingCalls and momentCalls are the same of functions whose bodies are kept as trees.
	settingCalls = `:funcid (810|2077|3294) `
	momentCalls  = `:funcid (274|1299|1598|2647|2648|2649|3432) |\{SQLVALUEFUNCTION `
)

// readsTables is the condition that a function reads a relation, whose rows a backup may have
// at another moment: one stands behind FROM, JOIN and their like, or behind a comma beside a
// FROM, in its text, or in the tree that it is kept as. What EXECUTE runs is not known.
func readsTables(p string) string {
	const name, schema = `pg_catalog.regexp_replace(r.relname, '\W', '.', 'g')`, `pg_catalog.regexp_replace(n.nspname, '\W', '.', 'g')`
	return `(` + p + `.prosrc ~* '\mexecute\M' or ` + bodyOf(p) + ` ~ ':rtekind 0 ' or ` + p + `.prosrc ~* '\m(from|table)\M' and exists (
    select from pg_catalog.pg_class r join pg_catalog.pg_namespace n on n.oid = r.relnamespace
    where r.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname <> 'information_schema' and pg_catalog.strpos(pg_catalog.lower(` + p + `.prosrc), pg_catalog.lower(r.relname)) > 0
      and ` + p + `.prosrc ~* ('(\m(from|join|only|table)[\s(]*|,\s*)("?' || ` + schema + ` || '"?\s*\.\s*)?(\m|")' || ` + name + ` || '(\M|")(?!\s*\()')))`
}

// checksSQL are the checks that a row of a table has to pass, those of its columns' domains
// and of its partitions among them.
const checksSQL = `
  select k.oid from pg_catalog.pg_constraint k
  where k.contype = 'c' and (k.conrelid in (select oid from tree) or k.contypid <> 0 and exists (
    select from pg_catalog.pg_attribute ka where ka.attrelid = rel.oid and ka.atttypid = k.contypid))`

// calledSQL names what of a table calls a function of the user's that reads such, itself or
// in one that it calls: that the text of a function tells; and the versions of all these functions, which may be
// replaced without a lock under those who write the table. It is a query of its own, since
// most tables need none. A backslash in such a text is another thing to a session that has, or had when it called
// the function first, standard_conforming_strings off; any may where another function makes that setting. Parameter: the table's OID.
var calledSQL = `
  with recursive rel as (
    select c.* from pg_catalog.pg_class c where c.oid = $1::pg_catalog.oid
  ), tree as (
    select oid from rel union select h.inhrelid from tree join pg_catalog.pg_inherits h on h.inhparent = tree.oid join pg_catalog.pg_class p on p.oid = h.inhrelid and p.relispartition
  ), seeds (what, class, id, computed) as (
    select 'constraint ' || k.conname, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, false from pg_catalog.pg_constraint k, rel where k.oid in (` + checksSQL + `)
    union all
    select 'generated column ' || a.attname, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, f.oid, true
    from pg_catalog.pg_attribute a join pg_catalog.pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
    where a.attrelid in (select oid from tree) and a.attgenerated <> '' and not a.attisdropped
    union all
    select 'index ' || c.relname, 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, false from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
    where i.indrelid in (select oid from tree)
  ), calls (what, computed, fn) as (
    select s.what, s.computed, coalesce(o.oprcode::pg_catalog.oid, d.refobjid) from seeds s join pg_catalog.pg_depend d on d.classid = s.class and d.objid = s.id and d.refobjid >= 16384
    left join pg_catalog.pg_operator o on d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass and o.oid = d.refobjid
    where d.refclassid in ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
    union
    select c.what, c.computed, p.oid from calls c join pg_catalog.pg_proc f on f.oid = c.fn and f.prolang not in (12, 13)
    join pg_catalog.pg_proc p on p.oid >= 16384 and p.oid <> f.oid and p.prolang not in (12, 13) and (
      pg_catalog.strpos(pg_catalog.lower(f.prosrc), pg_catalog.lower(p.proname)) > 0
        and f.prosrc ~* ('\m' || pg_catalog.regexp_replace(p.proname, '\W', '.', 'g') || '"?\s*\(')
      or ` + bodyOf("f") + ` like '%:funcid ' || p.oid::pg_catalog.text || ' %')
  )
  select pg_catalog.json_build_object('What', pg_catalog.min(c.what) filter (where p.prosrc ~* '` + readsSettings + `' or ` + bodyOf("p") + ` ~ '` + settingCalls + `'
    or c.computed and (p.prosrc ~* '` + readsMoments + `' or ` + bodyOf("p") + ` ~ '` + momentCalls + `' or ` + readsTables("p") + `)),
    'Lenient', exists (select from pg_catalog.pg_proc o where o.oid >= 16384 and o.pronamespace <> coalesce(pg_catalog.to_regnamespace('opmux'), 0)::pg_catalog.oid
      and o.prosrc || coalesce(o.proconfig::pg_catalog.text, '') ~* 'standard_conforming_strings'),
    'Escaped', pg_catalog.min(c.what) filter (where pg_catalog.strpos(p.prosrc, pg_catalog.chr(92)) > 0),
    'Versions', pg_catalog.json_agg(distinct p.oid::pg_catalog.text || ' ' || p.xmin::pg_catalog.text))::pg_catalog.text
  from calls c join pg_catalog.pg_proc p on p.oid = c.fn and p.prolang not in (12, 13)`

// lookElsewhere asks what of a table's is called, where anything of the user's is.
func (t *Table) lookElsewhere(ctx context.Context, q Querier) error {
	if !t.Calls || t.Elsewhere != "" {
		return nil
	}
	text, err := one(ctx, q, calledSQL, strconv.FormatUint(uint64(t.OID), 10))
	var found struct {
		What, Escaped string
		Lenient       bool
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &found)
	}
	if err != nil {
		return fmt.Errorf("look up what relation %s calls: %w", t.Qualified(), err)
	}
	t.Elsewhere, t.Escaped, t.EscapedForAll = found.What, found.Escaped, found.Escaped != "" && found.Lenient
	t.fingerprint += text
	return nil
}
