package session

import (
	"hash/maphash"
	"slices"
	"strconv"

	"github.com/opmux/opmux/event"
)

// The server runs the triggers behind the rows of a statement when it has written all of
// them, row by row. So what the trigger of one row writes is kept before another row of
// the same statement, though it came after it. That matters where it wrote that row: a
// target would be left with what the statement wrote. Such is told by rows that do not go
// on from what was kept of them before.

// maxNested bounds the rows written by triggers that are remembered (I7): of tables in
// which others are not, it is not known whether their statement wrote them, too.
const maxNested = 1 << 17

// nested is what a trigger made of a row: sums of what it was and is, 0 where it is none.
type nested struct {
	was, is uint64
	depth   int
}

var nestedSeed = maphash.MakeSeed()

// overtaken says that a row was written by a trigger of the statement which wrote what is
// kept only now. A row that such a statement has as it was before the trigger's write is
// taken for one, too: which of them came last is not known.
func (t *take) overtaken(table *tracedTable, note string, before, after []event.Value) bool {
	depth := 1
	if note != "" {
		depth, _ = strconv.Atoi(note) // the trigger's own
	}
	was, is := sumOf(before), sumOf(after)
	switch {
	case table.key == nil: // the row itself names it
		name := func(sum uint64) string { return strconv.FormatUint(sum, 36) }
		known, ok := t.nested[nestedKey(table, name(is))]
		if was != 0 && depth > 1 {
			t.remember(table, name(was), nested{was, is, depth})
		}
		return is != 0 && t.before(table, known, ok, depth)
	case before == nil:
		return t.goesOn(table, after, nested{was, is, depth})
	case after == nil || slices.EqualFunc(at(before, table.keyAt), at(after, table.keyAt), sameValue):
		return t.goesOn(table, before, nested{was, is, depth})
	}
	gone, come := t.goesOn(table, before, nested{was, 0, depth}), t.goesOn(table, after, nested{0, is, depth})
	return gone || come
}

func (t *take) goesOn(table *tracedTable, row []event.Value, now nested) (overtaken bool) {
	name := keyText(at(row, table.keyAt))
	known, ok := t.nested[nestedKey(table, name)]
	if t.before(table, known, ok, now.depth) && (!ok || known.is != now.was || known.was == now.is) {
		return true
	}
	if ok || now.depth > 1 {
		now.depth = max(now.depth, known.depth)
		t.remember(table, name, now)
	}
	return false
}

// before says that a row of a depth may have been written before one that is known.
func (t *take) before(table *tracedTable, known nested, ok bool, depth int) bool {
	if !ok {
		known.depth = t.unremembered[table.root.Qualified()]
	}
	return depth < known.depth
}

// remember keeps what a trigger made of a row.
func (t *take) remember(table *tracedTable, name string, now nested) {
	key, of := nestedKey(table, name), table.root.Qualified()
	if _, ok := t.nested[key]; !ok && len(t.nested) >= maxNested {
		t.unremembered[of] = max(t.unremembered[of], now.depth)
		return
	}
	if t.nested == nil {
		t.nested, t.unremembered = map[uint64]nested{}, map[string]int{}
	}
	t.nested[key] = now
}

func nestedKey(table *tracedTable, name string) uint64 {
	return maphash.String(nestedSeed, table.root.Qualified()+"\x00"+name)
}

func sameValue(a, b event.Value) bool { return a.Null == b.Null && string(a.Text) == string(b.Text) }

func sumOf(row []event.Value) uint64 {
	if row == nil {
		return 0
	}
	var b []byte
	for _, v := range row {
		b = strconv.AppendBool(b, v.Null)
		b = strconv.AppendInt(b, int64(len(v.Text)), 10)
		b = append(b, v.Text...)
	}
	return maphash.Bytes(nestedSeed, b) | 1
}
