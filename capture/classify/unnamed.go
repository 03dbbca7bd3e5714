package classify

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// A DELETE needs no key: the whole of each row that it took away comes back by
// RETURNING, and a target takes away one that is the same in every column. Which of
// several equal ones that is makes no difference, so long as no two transactions choose
// beside one another (event.BehindAll).

// oidTextArray is the type of the parameters: a column's values as texts.
const oidTextArray = 1009

// deleteUnnamed plans a DELETE of a table without a usable key.
func (j *job) deleteUnnamed(t *catalog.Table, st *pg.DeleteStmt, why string) error {
	columns := stored(t)
	if len(columns) == 0 {
		return j.noKey("DELETE", t)
	}
	if j.context.arrayNulls == "off" {
		return j.refuse("DELETE on "+t.Qualified()+", which has no usable key", -1, "under array_nulls = off a NULL in an array would be read back as a word", "SET array_nulls = on.")
	}
	facts, err := j.facts()
	if err != nil {
		return err
	}
	if facts.UserCasts {
		return j.refuse("DELETE on "+t.Qualified()+", which has no usable key", -1, "the database has a cast of the user's, by which the rows' values might be read as others", "Add a primary key.")
	}
	if err := j.rows(t, st.Relation, event.ActionDelete, columns, nil, st.ReturningList, why); err != nil {
		return err
	}
	j.plan.Unnamed = true
	j.plan.frozen.kind, j.plan.frozen.text = freezeUnnamed, removal(t, columns)
	return nil
}

// unnamed fills in the rows that were taken away, column by column.
func (p *Plan) unnamed(op *event.Operation, e Execution) error {
	im := &p.frozen.images
	if e.First && !e.More && int64(len(e.Rows)) != e.Affected {
		return fmt.Errorf("%d rows were hit and %d came back by RETURNING", e.Affected, len(e.Rows))
	}
	for _, at := range im.keyAt {
		var list []byte
		for n, row := range e.Rows {
			if len(row) != p.Hidden {
				return fmt.Errorf("RETURNING gave %d columns, %d were asked for", len(row), p.Hidden)
			}
			if n > 0 {
				list = append(list, ',')
			}
			list = appendElement(list, row[at])
		}
		op.Params = append(op.Params, event.Param{OID: oidTextArray, Value: fmt.Appendf(nil, "{%s}", list)})
	}
	op.Text, op.Digest.Affected = p.frozen.text, int64(len(e.Rows))
	return nil
}

// appendElement appends a value as an element of an array's text.
func appendElement(list []byte, v event.Value) []byte {
	if v.Null {
		return append(list, "NULL"...)
	}
	list = append(list, '"')
	for _, c := range v.Text {
		if c == '"' || c == '\\' {
			list = append(list, '\\')
		}
		list = append(list, c)
	}
	return append(list, '"')
}

// removal takes away, for each row of its parameters, one row that is the same in every
// column, in one reading of the table. They are compared as text, in which a NULL and an
// empty text differ: not every type has an equality, and some have one that is not the
// same as being the same. The values go through their types, which print them as they
// print the table's.
func removal(t *catalog.Table, columns []string) string {
	from := catalog.QuoteIdent(t.Schema) + "." + catalog.QuoteIdent(t.Name)
	if t.Kind == catalog.Ordinary {
		from = "ONLY " + from
	}
	var here, given, arrays, names []string
	for i, name := range columns {
		c := t.Column(name)
		typ := c.Type
		if c.BaseType != "" {
			typ = c.BaseType // the values that a domain allows may have changed since
		}
		here = append(here, catalog.QuoteIdent(name))
		given = append(given, fmt.Sprintf("p%d::%s", i+1, typ))
		arrays = append(arrays, fmt.Sprintf("pg_catalog.unnest($%d::pg_catalog.text[])", i+1))
		names = append(names, fmt.Sprintf("p%d", i+1))
	}
	return fmt.Sprintf(`DELETE FROM %[1]s AS d USING (SELECT o.at_table, o.at_row, g.n, pg_catalog.row_number() OVER (PARTITION BY o.k) AS i
FROM (SELECT tableoid AS at_table, ctid AS at_row, %[2]s AS k FROM %[1]s) AS o
JOIN (SELECT v.k, pg_catalog.count(*) AS n FROM (SELECT %[3]s AS k FROM ROWS FROM (%[4]s) AS p (%[5]s)) AS v GROUP BY v.k) AS g ON g.k OPERATOR(pg_catalog.=) o.k) AS x
WHERE x.i OPERATOR(pg_catalog.<=) x.n AND d.tableoid OPERATOR(pg_catalog.=) x.at_table AND d.ctid OPERATOR(pg_catalog.=) x.at_row`,
		from, AsOne(here), AsOne(given), strings.Join(arrays, ", "), strings.Join(names, ", "))
}

// AsOne is a row as one text, as the types of its values print them.
func AsOne(values []string) string {
	return `ROW(` + strings.Join(values, ", ") + `)::pg_catalog.text COLLATE "C"`
}
