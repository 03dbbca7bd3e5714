package session

import (
	"context"
	"fmt"
	"slices"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// tracedTable is a table that capture triggers kept images of: self is the one whose
// columns they have, root the one that targets are told of, which differ for
// partitions.
type tracedTable struct {
	self, root *catalog.Table
	key        *catalog.Key
	keyAt      []int // places of the key's columns in an image
	stored     []int // places of the columns that can be given
	always     []int // places of columns that only an INSERT can set
}

// of returns the table that a row is of. q as in catalog.Table.
func (t *take) of(ctx context.Context, q catalog.Querier, row *taken) (*tracedTable, error) {
	name := [2]string{row.schema, row.table}
	if known := t.tables[name]; known != nil {
		return known, nil
	}
	self, err := t.s.deps.Catalog.Table(ctx, q, nil, row.schema, row.table)
	if err != nil {
		return nil, fmt.Errorf("looking for table %s.%s, which a statement has written: %w", row.schema, row.table, err)
	}
	root := self
	if row.rootSchema != row.schema || row.root != row.table {
		if root, err = t.s.deps.Catalog.Table(ctx, q, nil, row.rootSchema, row.root); err != nil {
			return nil, fmt.Errorf("looking for table %s.%s, which a statement has written: %w", row.rootSchema, row.root, err)
		}
	}
	table := newTracedTable(self, root)
	t.tables[name] = table
	return table, nil
}

func newTracedTable(self, root *catalog.Table) *tracedTable {
	t := &tracedTable{self: self, root: root}
	if root.Children == 0 { // else a row of a child may have the same key
		t.key = root.Identity(nil)
	}
	for i := range self.Columns {
		c := &self.Columns[i]
		if !c.Generated {
			t.stored = append(t.stored, i)
		}
		if c.Identity == "a" || root.Column(c.Name) != nil && root.Column(c.Name).Identity == "a" {
			t.always = append(t.always, i)
		}
	}
	if t.key != nil {
		for _, name := range t.key.Columns {
			t.keyAt = append(t.keyAt, slices.IndexFunc(self.Columns, func(c catalog.Column) bool { return c.Name == name }))
		}
	}
	return t
}

// names lists columns by their places, and their types.
func (t *tracedTable) names(at []int) (names, types []string) {
	for _, i := range at {
		names = append(names, t.self.Columns[i].Name)
		types = append(types, t.self.Columns[i].Type)
	}
	return names, types
}

func at(values []event.Value, places []int) []event.Value {
	out := make([]event.Value, len(places))
	for i, p := range places {
		out[i] = values[p]
	}
	return out
}

// values reads an image.
func (t *tracedTable) values(image []byte) ([]event.Value, error) {
	list, err := recordValues(image)
	if err != nil {
		return nil, err
	}
	if len(t.self.Columns) == 0 && len(list) == 1 && list[0].Null {
		return nil, nil // a row of no column prints as one of a NULL does
	}
	if len(list) != len(t.self.Columns) {
		return nil, fmt.Errorf("an image of %s has %d columns, and the table %d", t.self.Qualified(), len(list), len(t.self.Columns))
	}
	return list, nil
}

// imageGroup is images that become one operation: of one table and kind, none of
// them of a row that another one made.
type imageGroup struct {
	table  *tracedTable
	action event.Action
	set    []int // places of the columns that are set
	rows   []event.RowImage
	keys   map[string]bool
	bytes  int
}

// image makes one of what a trigger kept. An UPDATE sets what has changed; one of the
// key, or of a column that only an INSERT can set, is a DELETE and an INSERT, which is
// the same where neither triggers nor foreign keys act.
func (t *take) image(row *taken, table *tracedTable) error {
	var before, after []event.Value
	var err error
	if row.what != catalog.TakenInsert {
		if before, err = table.values(row.before); err != nil {
			return err
		}
	}
	if row.what != catalog.TakenDelete {
		if after, err = table.values(row.after); err != nil {
			return err
		}
	}
	if !t.follows(table, row, before, after) {
		return t.cannot(table.root.Qualified(), "writing "+table.root.Qualified()+" in "+t.construct(), "two of its rows had one key, one behind the other, and a trigger or function wrote one of them: which of these came first is not known", oneAtATime)
	}
	if t.stale(table, row, before, after) {
		return t.cannot(table.root.Qualified(), "writing "+table.root.Qualified()+" in "+t.construct(), "a row has moved to a partition whose trigger changed it as it came, and its generated columns may be computed of what it was before: a backup computes them of what it is",
			"Set the columns that they are computed of in the UPDATE, or move one row at a time.")
	}
	switch row.what {
	case catalog.TakenInsert:
		t.join(table, event.ActionInsert, table.stored, event.RowImage{Values: at(after, table.stored)})
	case catalog.TakenDelete:
		t.remove(table, before)
	case catalog.TakenUpdate:
		t.update(table, before, after)
	default:
		return errTaken
	}
	return nil
}

func (t *take) update(table *tracedTable, before, after []event.Value) {
	var changed []int
	apart := table.key == nil
	for _, i := range table.stored {
		if before[i].Null == after[i].Null && string(before[i].Text) == string(after[i].Text) {
			continue
		}
		changed = append(changed, i)
		apart = apart || slices.Contains(table.keyAt, i) || slices.Contains(table.always, i)
	}
	switch {
	case len(changed) == 0:
	case apart:
		t.remove(table, before)
		t.join(table, event.ActionInsert, table.stored, event.RowImage{Values: at(after, table.stored)})
	default:
		t.join(table, event.ActionUpdate, changed, event.RowImage{Key: at(before, table.keyAt), Values: at(after, changed)})
	}
}

// remove takes a row away by its key or, where there is none, one of those that are
// the same in every column: which of them is the same, too.
func (t *take) remove(table *tracedTable, row []event.Value) {
	if table.key != nil {
		t.join(table, event.ActionDelete, nil, event.RowImage{Key: at(row, table.keyAt)})
		return
	}
	t.flush()
	if t.err != nil || t.tx.broken != nil {
		return
	}
	t.tx.unnamed = true
	op := event.Operation{Kind: event.OpStatement, Class: event.ClassRows, Reason: t.reason, Text: table.removal(),
		Tables: []string{table.root.Qualified()}, Digest: event.Digest{SQLState: "00000", Affected: 1}}
	for _, v := range at(row, table.stored) {
		op.Params = append(op.Params, event.Param{Null: v.Null, Value: v.Text})
	}
	t.asleep(op)
}

// removal deletes one row that has all the values of its parameters. They are compared
// as text: not every type has an equality, and some have one that is not the same as
// being the same. The text is a row's, in which the types print themselves: a cast to
// text may be the user's, and give one text for several values.
func (t *tracedTable) removal() string {
	from := catalog.QuoteIdent(t.root.Schema) + "." + catalog.QuoteIdent(t.root.Name)
	if t.root.Kind == catalog.Ordinary {
		from = "ONLY " + from // children have images of their own
	}
	var here, given []string
	narrowed := ""
	for n, i := range t.stored {
		c := &t.self.Columns[i]
		typ := c.Type
		if c.BaseType != "" {
			typ = c.BaseType // the values that a domain allows may have changed since
		}
		here = append(here, "o."+catalog.QuoteIdent(c.Name))
		given = append(given, fmt.Sprintf("$%d::%s", n+1, typ))
		if key := t.root.Identity(nil); key != nil && slices.Contains(key.Columns, c.Name) && !c.UserType {
			narrowed += here[n] + " OPERATOR(pg_catalog.=) " + given[n] + " AND " // found by the index
		}
	}
	return "DELETE FROM " + from + " WHERE (tableoid, ctid) = (SELECT o.tableoid, o.ctid FROM " + from + " AS o WHERE " + narrowed +
		classify.AsOne(here) + " OPERATOR(pg_catalog.=) " + classify.AsOne(given) + " LIMIT 1)"
}

// join puts an image into the group under way, or begins another one.
func (t *take) join(table *tracedTable, action event.Action, set []int, row event.RowImage) {
	key := keyText(row.Key)
	g := t.group
	if g == nil || g.table != table || g.action != action || !slices.Equal(g.set, set) || action == event.ActionUpdate && g.keys[key] || g.bytes >= t.s.piece() {
		t.flush()
		g = &imageGroup{table: table, action: action, set: set, keys: map[string]bool{}}
		t.group = g
	}
	if action == event.ActionUpdate {
		g.keys[key] = true
	}
	g.rows = append(g.rows, row)
	for _, list := range [][]event.Value{row.Key, row.Values} {
		for _, v := range list {
			g.bytes += 16 + len(v.Text)
		}
	}
}

func keyText(key []event.Value) string {
	var b []byte
	for _, v := range key {
		b = fmt.Appendf(b, "%d:%s,", len(v.Text), v.Text)
	}
	return string(b)
}

// operation is the group as it is published.
func (g *imageGroup) operation(reason string, plan *classify.Plan) event.Operation {
	im := &event.RowImages{Action: g.action, Schema: g.table.root.Schema, Table: g.table.root.Name, Rows: g.rows}
	im.Columns, im.ColumnTypes = g.table.names(g.set)
	if g.action != event.ActionInsert {
		im.Key, im.KeyTypes = g.table.names(g.table.keyAt)
	}
	op := event.Operation{Kind: event.OpRows, Class: event.ClassRows, Reason: reason, Rows: im, Tables: []string{g.table.root.Qualified()},
		Digest: event.Digest{SQLState: "00000", Affected: int64(len(g.rows))}}
	if plan != nil {
		op.Text = plan.Info()
	}
	return op
}
