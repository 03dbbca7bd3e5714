package catalog

import (
	"context"
	"fmt"
	"slices"
	"strconv"
)

// holdsOffsetSQL are the columns of a table whose types are made of time with time zone,
// however deep. It is a query of its own, since most tables need none. Parameter: the
// table's OID.
const holdsOffsetSQL = `
with recursive part (attname, oid) as (
  select a.attname, a.atttypid from pg_catalog.pg_attribute a where a.attrelid = $1::pg_catalog.oid and a.attnum > 0 and a.atttypid >= 16384
  union
  select part.attname, m.oid from part join pg_catalog.pg_type t on t.oid = part.oid cross join lateral (
    select u.oid from (values (t.typbasetype), (t.typelem)) u(oid) where u.oid <> 0
    union all select f.atttypid from pg_catalog.pg_attribute f where f.attrelid = t.typrelid and f.attnum > 0 and not f.attisdropped
    union all select g.rngsubtype from pg_catalog.pg_range g where g.rngtypid = t.oid
    union all select g.rngsubtype from pg_catalog.pg_range g where g.rngmultitypid = t.oid) m(oid))
select part.attname::pg_catalog.text from part where part.oid = 1266 order by 1`

// lookOffsets finds the columns that hold times with time zone in a type of the user's.
func (t *Table) lookOffsets(ctx context.Context, q Querier) error {
	if !slices.ContainsFunc(t.Columns, func(c Column) bool { return c.UserType && c.TypeKind != "e" }) {
		return nil
	}
	rows, err := q.Query(ctx, holdsOffsetSQL, strconv.FormatUint(uint64(t.OID), 10))
	if err != nil {
		return fmt.Errorf("look up the types of relation %s: %w", t.Qualified(), err)
	}
	for _, row := range rows {
		if c := t.Column(string(row[0].Text)); c != nil {
			c.HoldsOffset = true
			t.fingerprint += " " + c.Name
		}
	}
	return nil
}

// offsetConstantsSQL looks whether what the open transaction has defined has constants of
// time with time zone, or of types that hold such, in it: expressions are kept as trees,
// in which every constant has the type that the server took it for. The rows of
// transactions that began later may be among them.
const offsetConstantsSQL = `
with recursive holds (oid) as (
  select 1266::pg_catalog.oid union select m.made from holds join (
    select t.oid, t.typbasetype from pg_catalog.pg_type t where t.typbasetype <> 0
    union all select t.oid, t.typelem from pg_catalog.pg_type t where t.typelem <> 0
    union all select c.reltype, f.atttypid from pg_catalog.pg_attribute f join pg_catalog.pg_class c on c.oid = f.attrelid
      where c.reltype <> 0 and f.attnum > 0 and not f.attisdropped
    union all select g.rngtypid, g.rngsubtype from pg_catalog.pg_range g
    union all select g.rngmultitypid, g.rngsubtype from pg_catalog.pg_range g) m(made, oid) on m.oid = holds.oid
), trees (made, tree) as (
  select d.xmin, d.adbin from pg_catalog.pg_attrdef d
  union all select k.xmin, k.conbin from pg_catalog.pg_constraint k
  union all select i.xmin, e.tree from pg_catalog.pg_index i cross join lateral (values (i.indexprs), (i.indpred)) e(tree)
  union all select r.xmin, e.tree from pg_catalog.pg_rewrite r cross join lateral (values (r.ev_action), (r.ev_qual)) e(tree)
  union all select g.xmin, g.tgqual from pg_catalog.pg_trigger g
  union all select o.xmin, e.tree from pg_catalog.pg_policy o cross join lateral (values (o.polqual), (o.polwithcheck)) e(tree)
  union all select t.xmin, t.typdefaultbin from pg_catalog.pg_type t
  union all select p.xmin, e.tree from pg_catalog.pg_proc p cross join lateral (values (p.proargdefaults), (p.prosqlbody)) e(tree)
  union all select x.xmin, x.stxexprs from pg_catalog.pg_statistic_ext x
  union all select c.xmin, c.relpartbound from pg_catalog.pg_class c
  union all select b.xmin, b.partexprs from pg_catalog.pg_partitioned_table b
), mine as materialized (
  select trees.tree::pg_catalog.text as tree from trees where trees.tree is not null and pg_catalog.age(trees.made) <= 0
)
select exists (select from mine cross join lateral pg_catalog.regexp_matches(mine.tree, ':consttype ([0-9]+) :consttypmod -?[0-9]+ :constcollid [0-9]+ :constlen -?[0-9]+ :constbyval [a-z]+ :constisnull false', 'g') m
  join holds on holds.oid::pg_catalog.text = m[1])::pg_catalog.text`

// OffsetConstants tells whether what the open transaction of a session has defined so far
// has constants that are times with time zone.
func (c *Catalog) OffsetConstants(ctx context.Context, q Querier) (bool, error) {
	found, err := one(ctx, q, offsetConstantsSQL)
	if err != nil {
		return false, fmt.Errorf("look for times with time zone in what was defined: %w", err)
	}
	return found == "true", nil
}
