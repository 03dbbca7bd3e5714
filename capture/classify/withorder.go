package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// Two parts never write one row: what one of them has changed is passed over by the others. What
// one does matters to another by unique keys, which the server looks at as rows come,
// and by foreign keys, which it looks at, and whose actions it takes, behind all parts. A backup does both
// for each part, so their order must be one in which that comes to the same.

// The kinds of writes, in the order in which those of one table are made: what gives a
// unique value up comes before what takes it.
const (
	kindDelete = iota
	kindUpdate
	kindInsert // ON CONFLICT DO UPDATE too
)

// wrote is what a part does, as far as others depend on it.
type wrote struct {
	*writing
	kind     int
	table    *catalog.Table
	family   []*catalog.Table // with its partitions
	assigned []string         // by UPDATE and DO UPDATE
}

func (j *job) wrote(w *writing) (wrote, error) {
	o := wrote{writing: w, table: w.plan.TableRefs[0]}
	var set []*pg.Node
	switch s := w.stmt.Node.(type) {
	case *pg.Node_InsertStmt:
		o.kind, set = kindInsert, s.InsertStmt.OnConflictClause.GetTargetList()
	case *pg.Node_UpdateStmt:
		o.kind, set = kindUpdate, s.UpdateStmt.TargetList
	}
	o.assigned = recomputed(o.table, assignedNames(set))
	o.family = []*catalog.Table{o.table}
	if o.table.Kind != catalog.Partitioned {
		return o, nil
	}
	below, err := j.c.catalog.Descendants(j.ctx, j.in.Querier, o.table)
	if err != nil {
		return o, err
	}
	for _, name := range below {
		t, err := j.lookup(name.Schema, name.Name)
		if err != nil {
			return o, err
		}
		o.family = append(o.family, t)
	}
	return o, nil
}

// inOrder lists what is carried of a statement's parts in an order in which a backup can
// write them one after the other; where there may be none, it refuses.
func (j *job) inOrder(list []*writing) ([]*writing, error) {
	var all []wrote
	for _, w := range list {
		if !w.carried() {
			continue
		}
		o, err := j.wrote(w)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	waits := make([]map[int]bool, len(all)) // for which others
	for i := range all {
		waits[i] = map[int]bool{}
	}
	for i := range all {
		for k := range i {
			why := all[i].entangled(&all[k])
			if why == "" {
				why = all[k].entangled(&all[i])
			}
			if why != "" {
				return nil, j.notApart(why)
			}
			if all[i].precedes(&all[k]) {
				waits[k][i] = true
			}
			if all[k].precedes(&all[i]) {
				waits[i][k] = true
			}
		}
	}
	var order []*writing
	for len(order) < len(all) {
		next := slices.IndexFunc(waits, func(w map[int]bool) bool { return w != nil && len(w) == 0 })
		if next < 0 {
			return nil, j.notApart("by foreign keys and unique keys each of what it writes would have to come before the rest")
		}
		order = append(order, all[next].writing)
		waits[next] = nil
		for _, w := range waits {
			delete(w, next)
		}
	}
	return order, nil
}

// entangled says why no order of a and b comes to the same as both at once, "" where one may.
func (a *wrote) entangled(b *wrote) string {
	if a.table.OID != b.table.OID {
		return a.crossed(b)
	}
	switch {
	case slices.ContainsFunc(a.family, func(t *catalog.Table) bool { return len(a.references(t)) > 0 }):
		return "it writes " + a.table.Qualified() + ", whose rows refer to one another, in several parts"
	case touchesUnique(a.modified()) && (touchesUnique(b.modified()) || a.kind == kindInsert && b.kind == kindInsert):
		// DO UPDATE may give up what an INSERT takes.
		return "several parts change what a unique key of " + a.table.Qualified() + " is of"
	}
	for _, t := range a.family {
		for _, fk := range t.ReferencedBy {
			if a.mayLeave(fk) && (b.kind == kindInsert || overlap(fk.KeyColumns, b.assigned)) {
				return "it may take away a row of " + a.table.Qualified() + " and put in one that rows of " + fk.Schema + "." + fk.Table + " refer to"
			}
		}
	}
	return ""
}

// mayLeave says that it takes keys away for which the server looks, behind all parts, whether
// somebody has put them there again, or whether what a default refers to is there.
func (a *wrote) mayLeave(fk catalog.ForeignKey) bool {
	looked := func(action string) bool { return action == "a" || action == "d" }
	return a.kind == kindDelete && looked(fk.OnDelete) || overlap(fk.KeyColumns, a.assigned) && looked(fk.OnUpdate)
}

// crossed is entangled of parts that write different tables.
func (a *wrote) crossed(b *wrote) string {
	if a.table.Partition {
		return "it writes partition " + a.table.Qualified() + " by its own name, and other tables"
	}
	if a.kind != kindDelete && len(a.along) > 0 {
		return "foreign keys change other tables with " + a.table.Qualified()
	}
	for _, t := range a.family {
		for _, fk := range b.references(t) {
			if overlap(fk.KeyColumns, a.assigned) {
				return "it changes keys of " + a.table.Qualified() + " that rows of " + b.table.Qualified() + " refer to"
			}
		}
	}
	for _, t := range a.along {
		if slices.ContainsFunc(t.ForeignKeys, func(fk catalog.ForeignKey) bool { return b.disturbs(t, fk) }) {
			return "foreign keys take rows of " + t.Qualified() + " away that refer to rows of " + b.table.Qualified() + ", or change them"
		}
		if b.changesAlong(t) && overlapping(t.ForeignKeys) {
			return "foreign keys that share columns change " + t.Qualified() + " with several of the tables that it writes"
		}
	}
	return ""
}

// disturbs says that rows of t, which foreign keys change with another part, matter to what a
// does to those that fk refers to: the server looks when both have been done.
func (a *wrote) disturbs(t *catalog.Table, fk catalog.ForeignKey) bool {
	owns := a.owns(fk)
	if a.kind != kindDelete {
		return owns && overlap(fk.KeyColumns, a.assigned)
	}
	if !owns && !slices.ContainsFunc(a.along, func(o *catalog.Table) bool { return o.Schema == fk.Schema && o.Name == fk.Table }) {
		return false
	}
	switch fk.OnDelete {
	case "c":
		return false
	case "n":
		return slices.ContainsFunc(fk.Columns, func(c string) bool { return t.Column(c).NotNull })
	}
	return true
}

// changesAlong says that foreign keys change a table with those that it writes.
func (a *wrote) changesAlong(t *catalog.Table) bool {
	return slices.ContainsFunc(a.along, func(o *catalog.Table) bool { return o.OID == t.OID })
}

// overlapping tells whether one of a table's foreign keys, as what it refers to goes, sets
// columns of another's: which of them comes first decides what a row ends as.
func overlapping(list []catalog.ForeignKey) bool {
	for i, fk := range list {
		if (fk.OnDelete == "n" || fk.OnDelete == "d") && slices.ContainsFunc(slices.Delete(slices.Clone(list), i, i+1),
			func(o catalog.ForeignKey) bool { return overlap(fk.Columns, o.Columns) }) {
			return true
		}
	}
	return false
}

// precedes tells whether a must be written before b.
func (a *wrote) precedes(b *wrote) bool {
	if a.table.OID == b.table.OID {
		return a.kind < b.kind
	}
	for _, t := range a.family {
		for _, fk := range b.references(t) { // b's rows need a's
			if a.kind == kindInsert && (b.kind == kindInsert || overlap(fk.Columns, b.assigned)) {
				return true
			}
		}
	}
	if b.kind != kindDelete {
		return false
	}
	// What refers to rows that go is looked at, and goes too, as a leaves it.
	for _, t := range append(slices.Clone(b.family), b.along...) {
		if len(a.references(t)) > 0 || slices.ContainsFunc(a.family, func(f *catalog.Table) bool { return f.OID == t.OID }) {
			return true
		}
	}
	// What a puts there may be what a default refers to.
	return a.kind != kindDelete && slices.ContainsFunc(b.along, func(t *catalog.Table) bool { return slices.ContainsFunc(t.ForeignKeys, a.owns) })
}

// references are the foreign keys by which its rows refer to those of a table.
func (a *wrote) references(t *catalog.Table) []catalog.ForeignKey {
	var list []catalog.ForeignKey
	for _, fk := range t.ReferencedBy {
		if a.owns(fk) {
			list = append(list, fk)
		}
	}
	return list
}

// owns says that the other side of a foreign key is one of its tables.
func (a *wrote) owns(fk catalog.ForeignKey) bool {
	return slices.ContainsFunc(a.family, func(t *catalog.Table) bool { return t.Schema == fk.Schema && t.Name == fk.Table })
}

func (a *wrote) modified() *modified { return &modified{table: a.table, assigned: a.assigned} }
