package catalog

import (
	"context"
	"slices"

	"github.com/opmux/opmux/event"
)

// InvalidIndex is an index that a CREATE INDEX CONCURRENTLY, under way or failed,
// has made and not finished. The backups do not have it.
type InvalidIndex struct{ oid, Schema, Name, Table string }

// String names the index and its table.
func (i InvalidIndex) String() string { return i.Schema + "." + i.Name + " of table " + i.Table }

const (
	// Parameters: names of the index and of the table, also of ones that they are
	// partitions of; empty: any.
	invalidSQL = `
select x.oid::pg_catalog.text, n.nspname, x.relname, t.relname
from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid join pg_catalog.pg_class t on t.oid = i.indrelid
  join pg_catalog.pg_namespace n on n.oid = x.relnamespace
where not i.indisvalid and x.relkind = 'i' and x.relpersistence = 'p' and n.nspname <> 'pg_toast'
  and ($1::pg_catalog.text = '' or x.relname = $1::pg_catalog.text or exists (
    select from pg_catalog.pg_partition_ancestors(x.oid) a join pg_catalog.pg_class c on c.oid = a.relid where c.relname = $1::pg_catalog.text))
  and ($2::pg_catalog.text = '' or t.relname = $2::pg_catalog.text or exists (
    select from pg_catalog.pg_partition_ancestors(t.oid) a join pg_catalog.pg_class c on c.oid = a.relid where c.relname = $2::pg_catalog.text))
order by 2, 3`
	// validSQL lists the valid indexes of some OIDs or names: a
	// change of a column's type makes an index anew under its name. Parameters: array
	// literals of OIDs and of schema.name.
	validSQL = `
select x.oid::pg_catalog.text, n.nspname, x.relname
from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid join pg_catalog.pg_namespace n on n.oid = x.relnamespace
where i.indisvalid and (x.oid = any ($1::pg_catalog.oid[]) or n.nspname || '.' || x.relname = any ($2::pg_catalog.text[]))`
)

// InvalidIndexes lists the invalid indexes that are committed, of an index name
// and a table name; empty: of any.
func (c *Catalog) InvalidIndexes(ctx context.Context, index, table string) ([]InvalidIndex, error) {
	rows, err := c.lookups.Query(ctx, invalidSQL, index, table)
	if err != nil {
		return nil, err
	}
	out := make([]InvalidIndex, len(rows))
	for i, r := range rows {
		out[i] = InvalidIndex{oid: string(r[0].Text), Schema: string(r[1].Text), Name: string(r[2].Text), Table: string(r[3].Text)}
	}
	return out, nil
}

// Revived lists the invalid indexes that the transaction behind q, not committed
// yet, has made valid: TRUNCATE and what writes a table anew build all of its
// indexes. One that its CREATE INDEX CONCURRENTLY has finished meanwhile is not
// among them.
func (c *Catalog) Revived(ctx context.Context, q Querier) ([]InvalidIndex, error) {
	was, err := c.InvalidIndexes(ctx, "", "")
	if err != nil || len(was) == 0 {
		return nil, err
	}
	oids, names := make([]string, len(was)), make([]string, len(was))
	for i, x := range was {
		oids[i], names[i] = x.oid, x.Schema+"."+x.Name
	}
	valid, err := q.Query(ctx, validSQL, ArrayLiteral(oids), ArrayLiteral(names))
	if err != nil || len(valid) == 0 {
		return nil, err
	}
	still, err := c.InvalidIndexes(ctx, "", "")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(still, func(x InvalidIndex) bool {
		return !slices.ContainsFunc(valid, func(v []event.Value) bool {
			return x.oid == string(v[0].Text) || x.Schema == string(v[1].Text) && x.Name == string(v[2].Text)
		})
	}), nil
}
