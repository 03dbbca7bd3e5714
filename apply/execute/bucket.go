package execute

import (
	"slices"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/shape"
)

// bucket is rows of one shape that go to the target together. Buckets are sent one
// after the other.
type bucket struct {
	*setShape
	rows   int
	values [][][]byte // of each parameter, by row
	// keys are the rows by the unique index that names them and its values; unknown
	// are indexes for which that is not known of all rows.
	keys    map[string]map[string]int
	unknown map[string]bool
	sums    map[int][]running // by row, of rows that were added up; as setShape.Set
	next    []running         // see fold
	ops     int
}

func newBucket(s *setShape) *bucket {
	return &bucket{setShape: s, values: make([][][]byte, len(s.types)), keys: map[string]map[string]int{}, unknown: map[string]bool{}, sums: map[int][]running{}}
}

// member is one row of an operation: its parameters, and the values of its keys
// beside setShape.keys, "" where they are not known.
type member struct {
	values [][]byte
	keys   []string
}

func (b *bucket) add(m *member) {
	for i, v := range m.values {
		b.values[i] = append(b.values[i], v)
	}
	for i, key := range b.setShape.keys {
		if m.keys[i] == "" {
			b.unknown[key.index] = true
			continue
		}
		rows := b.keys[key.index]
		if rows == nil {
			rows = map[string]int{}
			b.keys[key.index] = rows
		}
		rows[m.keys[i]] = b.rows
	}
	b.rows++
}

// join adds a row of the bucket's own shape; false where the row is there already
// and the two cannot be folded.
func (b *bucket) join(m *member) bool {
	if b.Action != event.ActionInsert {
		if row, ok := b.keys[b.setShape.keys[0].index][m.keys[0]]; ok {
			return b.fold(row, m)
		}
	}
	b.add(m)
	return true
}

// commutes says that a row of another shape may be written before the bucket
// although it came after: the two share no row, no unique value and no row that a
// foreign key names.
func (b *bucket) commutes(s *setShape, m *member) bool {
	if b.table.oid != s.table.oid {
		return !s.awaits(b.setShape)
	}
	if b.Action == event.ActionInsert && s.Action == event.ActionInsert {
		// Both went in on the primary, and nothing between them took a value away.
		return true
	}
	if (b.Action == event.ActionInsert || s.Action == event.ActionInsert) && (b.Action == event.ActionDelete || s.Action == event.ActionDelete) && b.uniques() > 1 {
		return false // a value of another unique index may be free only afterwards
	}
	for i, key := range s.keys {
		rows, ok := b.keys[key.index]
		if ok && !b.unknown[key.index] && m.keys[i] != "" {
			_, same := rows[m.keys[i]]
			return !same
		}
	}
	return false
}

// uniques counts what makes values of the table unique.
func (s *setShape) uniques() int {
	n := 0
	for _, i := range s.table.indexes {
		if i.unique {
			n++
		}
	}
	return n
}

// fold makes a row what it is after one more operation on it, false where that is
// not provably the same as the operations one after the other; then it is as before.
func (b *bucket) fold(row int, m *member) bool {
	if !b.foldable {
		return false
	}
	have := b.sums[row]
	if b.next == nil {
		b.next = make([]running, len(b.Set))
	}
	for i := range b.Set {
		item := &b.Set[i]
		at := item.Param - 1
		if item.Kind == shape.Value {
			if !b.replaceable(item, b.values[at][row]) || !b.replaceable(item, m.values[at]) {
				return false
			}
			continue
		}
		ok := true
		if have != nil {
			b.next[i] = have[i]
		} else {
			b.next[i], ok = b.begin(item, b.values[at][row])
		}
		if !ok || !b.advance(&b.next[i], item, m.values[at]) {
			return false
		}
	}
	if have == nil {
		have = make([]running, len(b.Set))
		b.sums[row] = have
	}
	copy(have, b.next)
	for _, item := range b.Set {
		if item.Kind == shape.Value {
			b.values[item.Param-1][row] = m.values[item.Param-1]
		}
	}
	return true
}

// params returns the statement over the bucket's rows with its arrays.
func (b *bucket) params() (sql string, params [][]byte, oids []uint32, formats []int16) {
	added := len(b.sums) > 0 && slices.ContainsFunc(b.sum, func(oid uint32) bool { return oid != 0 })
	add := func(p []byte, oid uint32, format int16) {
		params, oids, formats = append(params, p), append(oids, oid), append(formats, format)
	}
	for i, values := range b.values {
		switch {
		case added && b.sum[i] != 0:
			for _, part := range b.parts(i) {
				add(appendArray(nil, part), arrayOf(b.sum[i]), 0)
			}
		case b.binaryOf(i):
			add(binaryArray(b.types[i], values), b.arrays[i], 1)
		default:
			add(appendArray(make([]byte, 0, 16*len(values)), values), b.arrays[i], 0)
		}
	}
	if added {
		return b.sumSQL, params, oids, formats
	}
	return b.sql, params, oids, formats
}

// parts are the three arrays of a parameter that is added up.
func (b *bucket) parts(param int) [3][][]byte {
	set := slices.IndexFunc(b.Set, func(i shape.Item) bool { return i.Param-1 == param })
	var parts [3][][]byte
	for i := range parts {
		parts[i] = make([][]byte, b.rows)
	}
	zero := []byte("0")
	for row := range b.rows {
		sums := b.sums[row]
		if sums == nil {
			parts[0][row], parts[1][row], parts[2][row] = b.signed(&b.Set[set], b.values[param][row]), zero, zero
			continue
		}
		numbers, _ := sums[set].parts() // they fit, or it would not have been added up
		for i, n := range numbers {
			parts[i][row] = sums[set].text(n)
		}
	}
	return parts
}

// signed is the text of what one operation adds, or of what it takes away.
func (b *bucket) signed(i *shape.Item, value []byte) []byte {
	if value == nil || i.Kind == shape.Plus && !b.binaryOf(i.Param-1) {
		return value
	}
	if r, ok := b.begin(i, value); ok {
		return r.text(r.sum)
	}
	return value // unreachable by sets.take, which refuses such values
}

func arrayOf(oid uint32) uint32 {
	switch oid {
	case oidInt2:
		return 1005
	case oidInt4:
		return 1007
	case oidInt8:
		return 1016
	}
	return 1231 // of numeric
}
