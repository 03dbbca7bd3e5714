package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opmux/opmux/event"
)

// InvalidIndex is an index that a CREATE INDEX CONCURRENTLY, under way or failed,
// has made and not finished. The backups do not have it.
type InvalidIndex struct {
	oid, Schema, Name, Table, state string
	numbered                        []string
}

// String names the index and its table.
func (i InvalidIndex) String() string { return i.Schema + "." + i.Name + " of table " + i.Table }

const (
	// stateSQL is what DDL that means the index x by its name, or by what it is over, may
	// change without making it valid: what it belongs to, and how it is kept.
	stateSQL = `pg_catalog.json_build_array(
    (select pg_catalog.json_agg(h.inhparent) from pg_catalog.pg_inherits h where h.inhrelid = x.oid), x.relname, x.relnamespace, x.reloptions, x.reltablespace,
    pg_catalog.obj_description(x.oid, 'pg_class'), (select pg_catalog.json_agg(a.attstattarget order by a.attnum) from pg_catalog.pg_attribute a where a.attrelid = x.oid)
  )::pg_catalog.text`
	// numberedSQL lists the indexes of its table that may have a number in their name
	// since the server has found the name without one taken.
	numberedSQL = `(select pg_catalog.json_agg(y.relname) from pg_catalog.pg_index s join pg_catalog.pg_class y on y.oid = s.indexrelid
    join pg_catalog.pg_class b on b.relnamespace = y.relnamespace and b.relname::pg_catalog.text = pg_catalog.rtrim(y.relname::pg_catalog.text, '0123456789')
    where s.indrelid = i.indrelid and y.oid <> b.oid and b.relname::pg_catalog.text = pg_catalog.rtrim(x.relname::pg_catalog.text, '0123456789'))::pg_catalog.text`
)

const (
	// Parameters: names of the index and of the table, also of ones that they are
	// partitions of; empty: any.
	invalidSQL = `
select x.oid::pg_catalog.text, n.nspname, x.relname, t.relname, ` + stateSQL + `, ` + numberedSQL + `
from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid join pg_catalog.pg_class t on t.oid = i.indrelid
  join pg_catalog.pg_namespace n on n.oid = x.relnamespace
where not i.indisvalid and x.relkind = 'i' and x.relpersistence = 'p' and n.nspname <> 'pg_toast'
  and ($1::pg_catalog.text = '' or x.relname = $1::pg_catalog.text or exists (
    select from pg_catalog.pg_partition_ancestors(x.oid) a join pg_catalog.pg_class c on c.oid = a.relid where c.relname = $1::pg_catalog.text))
  and ($2::pg_catalog.text = '' or t.relname = $2::pg_catalog.text or exists (
    select from pg_catalog.pg_partition_ancestors(t.oid) a join pg_catalog.pg_class c on c.oid = a.relid where c.relname = $2::pg_catalog.text))
order by 2, 3`
	// touchedSQL lists the indexes of some OIDs, and the valid ones of some names: a
	// change of a column's type makes an index anew under its name. Parameters: array
	// literals of OIDs and of schema.name.
	touchedSQL = `
select x.oid::pg_catalog.text, n.nspname, x.relname, i.indisvalid::pg_catalog.text, ` + stateSQL + `, ` + numberedSQL + `
from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid join pg_catalog.pg_namespace n on n.oid = x.relnamespace
where x.oid = any ($1::pg_catalog.oid[]) or i.indisvalid and n.nspname || '.' || x.relname = any ($2::pg_catalog.text[])`
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
		numbered, err := names(r[5])
		if err != nil {
			return nil, err
		}
		out[i] = InvalidIndex{oid: string(r[0].Text), Schema: string(r[1].Text), Name: string(r[2].Text), Table: string(r[3].Text), state: string(r[4].Text), numbered: numbered}
	}
	return out, nil
}

// Invalidated tells whether an index of that name is invalid that was not among those
// before.
func (c *Catalog) Invalidated(ctx context.Context, before []InvalidIndex, index string) (bool, error) {
	now, err := c.InvalidIndexes(ctx, index, "")
	return slices.ContainsFunc(now, func(x InvalidIndex) bool {
		return !slices.ContainsFunc(before, func(was InvalidIndex) bool { return was.oid == x.oid })
	}), err
}

// Touched lists the invalid indexes that the transaction behind q, not committed yet,
// has made valid or otherwise changed: TRUNCATE and what writes a table anew build all of
// its indexes, an index of a partitioned table takes those of its partitions for its own.
// One that its CREATE INDEX CONCURRENTLY has finished meanwhile is not among them.
func (c *Catalog) Touched(ctx context.Context, q Querier) ([]InvalidIndex, error) {
	was, err := c.InvalidIndexes(ctx, "", "")
	if err != nil || len(was) == 0 {
		return nil, err
	}
	oids, names := make([]string, len(was)), make([]string, len(was))
	for i, x := range was {
		oids[i], names[i] = x.oid, x.Schema+"."+x.Name
	}
	is, err := q.Query(ctx, touchedSQL, ArrayLiteral(oids), ArrayLiteral(names))
	if err != nil || len(is) == 0 {
		return nil, err
	}
	still, err := c.InvalidIndexes(ctx, "", "")
	if err != nil {
		return nil, err
	}
	var touched []InvalidIndex
	for _, x := range still {
		for _, row := range is {
			differs, err := x.differs(row)
			if err != nil {
				return nil, err
			}
			if differs {
				touched = append(touched, x)
				break
			}
		}
	}
	return touched, nil
}

// differs tells whether a row of touchedSQL has the index otherwise than it is committed.
func (i InvalidIndex) differs(is []event.Value) (bool, error) {
	valid := string(is[3].Text) == "true"
	if i.oid != string(is[0].Text) {
		return valid && i.Schema == string(is[1].Text) && i.Name == string(is[2].Text), nil
	}
	numbered, err := names(is[5])
	added := func(name string) bool { return !slices.Contains(i.numbered, name) }
	return valid || i.state != string(is[4].Text) || slices.ContainsFunc(numbered, added), err
}

// names reads a list of names, NULL for none.
func names(v event.Value) (list []string, err error) {
	if v.Null {
		return nil, nil
	}
	if err = json.Unmarshal(v.Text, &list); err != nil {
		err = fmt.Errorf("reading names of indexes (%.100s): %w", v.Text, err)
	}
	return list, err
}
