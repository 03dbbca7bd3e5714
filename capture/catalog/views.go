package catalog

import "context"

// plainViewSQL tells whether a view, with those behind it, calls only built-in
// functions that are not volatile. It locks nothing, unlike what prints a view.
// Parameters: schema, name.
var plainViewSQL = unsafeTypesSQL + `, seen (oid) as (
  select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = $1::pg_catalog.text and c.relname = $2::pg_catalog.text
  union
  select c.oid
  from seen join pg_catalog.pg_rewrite r on r.ev_class = seen.oid and r.rulename = '_RETURN'
    join pg_catalog.pg_depend d on d.classid = r.tableoid and d.objid = r.oid and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    join pg_catalog.pg_class c on c.oid = d.refobjid and c.relkind = 'v'
)
select (not exists (
  select from seen join pg_catalog.pg_rewrite r on r.ev_class = seen.oid and r.rulename = '_RETURN'
  where exists (select from (` + functionsIn("r.ev_action::pg_catalog.text") + `) f (oid) join pg_catalog.pg_proc p on p.oid = f.oid where p.provolatile = 'v')
    or exists (select from pg_catalog.pg_depend d where d.classid = r.tableoid and d.objid = r.oid and (
      d.refclassid in ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
      or d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.refobjid in (select oid from unsafe)
      or d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and exists (
        select from pg_catalog.pg_policy o where o.polrelid = d.refobjid and ` + unsafePolicy + `)))
))::pg_catalog.text`

// PlainView tells whether reading a view runs nothing that its definition must be read
// for: no functions or operators of users, no volatile ones. q as in Table; not cached.
func (c *Catalog) PlainView(ctx context.Context, q Querier, schema, name string) (bool, error) {
	if q == nil {
		q = c.lookups
	}
	plain, err := one(ctx, q, plainViewSQL, schema, name)
	return plain == "true", err
}

// Definition is a view's query. Printing it waits for who holds the view, or a table that
// it reads, exclusively. q as in Table; not cached.
func (c *Catalog) Definition(ctx context.Context, q Querier, schema, name string) (string, error) {
	if q == nil {
		q = c.lookups
	}
	return one(ctx, q, "select pg_catalog.pg_get_viewdef($1::pg_catalog.regclass)", QuoteIdent(schema)+"."+QuoteIdent(name))
}
