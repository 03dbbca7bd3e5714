package session

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strconv"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// leftRows are rows that have left partitions, by what was computed of them. An UPDATE that moves a
// row inserts it where it belongs; PostgreSQL (ExecComputeStoredGenerated) computes its
// generated columns there as it would for a row of that partition that it had changed before
// in the same statement, and so leaves out those whose columns the UPDATE does not set. If a
// BEFORE INSERT trigger has changed one of these since, the value is that of the row as it was.
// A target computes it of the row as it is.
type leftRows struct {
	// alike are the rows by their generated columns and what these are computed of,
	// computed by the generated columns alone.
	alike, computed map[uint64]bool
	many            bool
}

// stale says whether a row has come into its partition with generated columns that may
// not be what is computed of it, and notes those that leave one.
func (l *leftRows) stale(table *tracedTable, row *taken, before, after []event.Value) bool {
	if !table.self.Partition || table.self == table.root || !insertChanges(table.root) {
		return false
	}
	switch row.what {
	case catalog.TakenDelete:
		l.leave(table, before)
	case catalog.TakenInsert:
		if len(l.computed) == 0 {
			return false
		}
		computed, alike := computedHashes(table, after)
		return computed != 0 && !l.alike[alike] && (l.computed[computed] || l.many)
	}
	return false
}

func (l *leftRows) leave(table *tracedTable, row []event.Value) {
	computed, alike := computedHashes(table, row)
	switch {
	case computed == 0 || l.alike[alike]:
		return
	case len(l.alike) >= maxHolders:
		l.many = true
		return
	case l.alike == nil:
		l.alike, l.computed = map[uint64]bool{}, map[uint64]bool{}
	}
	l.alike[alike], l.computed[computed] = true, true
}

// insertChanges says that a trigger, of a partition too, may change a row before it is inserted.
func insertChanges(t *catalog.Table) bool {
	const before = catalog.TriggerRow | catalog.TriggerBefore | catalog.TriggerInsert
	return slices.ContainsFunc(t.Triggers, func(tr catalog.Trigger) bool { return tr.Events&before == before })
}

// computedHashes are hashes of a row's generated columns, 0 for none, and of these with the columns
// that they are computed of. Columns may be at other places in each partition.
func computedHashes(table *tracedTable, row []event.Value) (computed, alike uint64) {
	var generated, of []int
	for i := range table.self.Columns {
		if c := &table.self.Columns[i]; c.Generated {
			generated = append(generated, i)
			for _, name := range c.From {
				of = append(of, slices.IndexFunc(table.self.Columns, func(c catalog.Column) bool { return c.Name == name }))
			}
		}
	}
	if len(generated) == 0 {
		return 0, 0
	}
	names := func(a, b int) int {
		return cmp.Compare(table.self.Columns[a].Name, table.self.Columns[b].Name)
	}
	slices.SortFunc(generated, names)
	slices.SortFunc(of, names)
	text := table.root.Qualified() + "\x00"
	for _, v := range at(row, generated) {
		text += strconv.FormatBool(v.Null) + keyText([]event.Value{v})
	}
	computed = maphash.String(holderSeed, text) | 1
	for _, v := range at(row, of) {
		text += strconv.FormatBool(v.Null) + keyText([]event.Value{v})
	}
	return computed, maphash.String(holderSeed, text)
}
