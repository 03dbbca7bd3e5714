package catalog

import (
	"context"
	"fmt"
	"strconv"
)

const descendantsSQL = `
with recursive tree as (
  select inhrelid from pg_catalog.pg_inherits where inhparent = $1::pg_catalog.oid
  union
  select h.inhrelid from tree join pg_catalog.pg_inherits h on h.inhparent = tree.inhrelid
)
select n.nspname, c.relname from tree join pg_catalog.pg_class c on c.oid = tree.inhrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace order by 1, 2`

// RelationName is a relation's qualified name.
type RelationName struct{ Schema, Name string }

// Descendants lists a table's partitions and inheritance children, and theirs. It
// asks the server each time, on q or, where that is nil, on the agent's connection.
func (c *Catalog) Descendants(ctx context.Context, q Querier, t *Table) ([]RelationName, error) {
	if q == nil {
		q = c.lookups
	}
	rows, err := q.Query(ctx, descendantsSQL, strconv.FormatUint(uint64(t.OID), 10))
	if err != nil {
		return nil, fmt.Errorf("look up what inherits from %s: %w", t.Qualified(), err)
	}
	names := make([]RelationName, len(rows))
	for i, row := range rows {
		names[i] = RelationName{string(row[0].Text), string(row[1].Text)}
	}
	return names, nil
}

// Holds lists those of names that a relation or type of a schema has. It asks the
// server each time, on q or, where that is nil, on the agent's connection.
func (c *Catalog) Holds(ctx context.Context, q Querier, schema string, names []string) ([]string, error) {
	if q == nil {
		q = c.lookups
	}
	rows, err := q.Query(ctx, holdsSQL, schema, ArrayLiteral(names))
	if err != nil {
		return nil, fmt.Errorf("look up what schema %s holds: %w", schema, err)
	}
	found := make([]string, len(rows))
	for i, row := range rows {
		found[i] = string(row[0].Text)
	}
	return found, nil
}

const holdsSQL = `
select c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1::pg_catalog.text and c.relname = any ($2::pg_catalog.text[])
union
select t.typname from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where n.nspname = $1::pg_catalog.text and t.typname = any ($2::pg_catalog.text[])`
