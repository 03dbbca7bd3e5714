package execute

import (
	"encoding/binary"
	"strings"

	"github.com/opmux/opmux/event"
)

// Bounds of the rows of one statement (I7): about what an agent puts into one
// part of an operation, so that most operations are one statement.
const (
	maxBatchRows  = 20_000
	maxBatchBytes = 1 << 20
	// valueBytes is what a value counts for besides its text.
	valueBytes = 16
)

// oidTextArray is the OID of text[].
const oidTextArray = 1009

// batch turns many row images of one operation into one statement, as one
// statement wrote them on the primary: rows that the action of a foreign key takes
// away or changes are counted and returned as they were, and foreign keys are
// checked when all rows are there. Each column is an array of text whose elements
// the statement casts: an array of the column's own type could not hold arrays.
type batch struct {
	plan   *rowPlan
	images *event.RowImages
	values []place  // of each array
	casts  []string // what each of them gives a row
	sql    string
	types  []uint32
}

// place is where a column's value is in a row image.
type place struct {
	key bool
	at  int
}

func (p place) of(row *event.RowImage) *event.Value {
	if p.key {
		return &row.Key[p.at]
	}
	return &row.Values[p.at]
}

// newBatch returns nil where some column has none of the types. Types are by column.
func newBatch(p *rowPlan, types map[string]string) *batch {
	b := &batch{plan: p, images: p.images}
	known := true
	add := func(column string, at place) {
		b.values = append(b.values, at)
		b.types = append(b.types, oidTextArray)
		b.casts = append(b.casts, "v."+arrayName(len(b.values))+"::"+types[column])
		known = known && types[column] != ""
	}
	for i, c := range p.images.Columns {
		add(c, place{at: i})
	}
	switch p.images.Action {
	case event.ActionInsert, event.ActionUpsert:
		for _, i := range p.keyExtra {
			add(p.images.Key[i], place{key: true, at: i})
		}
	default:
		for i, c := range p.images.Key {
			add(c, place{key: true, at: i})
		}
	}
	if !known || len(b.values) == 0 {
		return nil
	}
	b.sql = p.together(b.casts, b.arrays()+" AS v ("+strings.Join(b.names(), ", ")+")")
	return b
}

// names are those of the arrays' elements.
func (b *batch) names() []string {
	names := make([]string, len(b.values))
	for i := range names {
		names[i] = arrayName(i + 1)
	}
	return names
}

// arrays is the parameters as rows.
func (b *batch) arrays() string {
	arrays := make([]string, len(b.values))
	for i := range arrays {
		arrays[i] = "pg_catalog.unnest(" + placeholder(i+1) + ")"
	}
	return "ROWS FROM (" + strings.Join(arrays, ", ") + ")"
}

func arrayName(n int) string { return "c" + placeholder(n)[1:] }

// together is the statement for many rows, which come from v and whose values are the
// casts: those of the columns, then those of the key.
func (p *rowPlan) together(casts []string, from string) string {
	var b strings.Builder
	switch p.images.Action {
	case event.ActionUpdate:
		b.WriteString("UPDATE " + p.table + " AS o SET ")
		for i, c := range p.images.Columns {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quoteIdent(c) + " = " + casts[i])
		}
		if len(p.images.Columns) == 0 {
			c := quoteIdent(p.images.Key[0])
			b.WriteString(c + " = o." + c)
		}
		b.WriteString(" FROM " + from)
	case event.ActionDelete:
		b.WriteString("DELETE FROM " + p.table + " AS o USING " + from)
	default:
		return p.insertFrom("SELECT " + strings.Join(casts, ", ") + " FROM " + from)
	}
	for i, key := range p.images.Key {
		word := " AND "
		if i == 0 {
			word = " WHERE "
		}
		b.WriteString(word + "o." + quoteIdent(key) + " = " + casts[len(p.images.Columns)+i])
	}
	for i, c := range p.images.Returning {
		word := ", "
		if i == 0 {
			word = " RETURNING "
		}
		b.WriteString(word + "o." + quoteIdent(c))
	}
	return b.String()
}

// take returns how many rows from index i on go into one statement, at least 1.
// A key that comes again is left to the next one, which could not write a row
// twice; so is one with a NULL, which equals nothing.
func (b *batch) take(i int) int {
	rows := b.images.Rows[i:]
	seen := map[string]bool{}
	var key []byte
	bytes := 0
	for n := range rows {
		bytes += rowSize(&rows[n])
		if n == maxBatchRows || n > 0 && bytes > maxBatchBytes {
			return n
		}
		if len(b.images.Key) == 0 {
			continue
		}
		var null bool
		key, null = appendKey(key[:0], rows[n].Key)
		if null || seen[string(key)] {
			return max(n, 1)
		}
		seen[string(key)] = true
	}
	return len(rows)
}

// exceeds says that the rows are too many for one statement.
func (b *batch) exceeds() bool {
	rows, bytes := b.images.Rows, 0
	for i := range rows {
		bytes += rowSize(&rows[i])
	}
	return len(rows) > maxBatchRows || len(rows) > 1 && bytes > maxBatchBytes
}

func rowSize(row *event.RowImage) int {
	size := valueBytes * (len(row.Key) + len(row.Values))
	for _, list := range [][]event.Value{row.Key, row.Values} {
		for i := range list {
			size += len(list[i].Text)
		}
	}
	return size
}

// appendKey appends a form of a key that no other key has.
func appendKey(b []byte, key []event.Value) (form []byte, null bool) {
	for i := range key {
		null = null || key[i].Null
		b = binary.AppendUvarint(b, uint64(len(key[i].Text)))
		b = append(b, key[i].Text...)
	}
	return b, null
}

// params returns the arrays of n rows from index i on, in binary form.
func (b *batch) params(i, n int) [][]byte {
	rows := b.images.Rows[i : i+n]
	params := make([][]byte, len(b.values))
	for c, at := range b.values {
		params[c] = textArray(rows, at)
	}
	return params
}

// textArray is a text[] in binary form.
func textArray(rows []event.RowImage, at place) []byte {
	size, nulls := 20, false
	for i := range rows {
		v := at.of(&rows[i])
		size += 4 + len(v.Text)
		nulls = nulls || v.Null
	}
	out := appendHead(make([]byte, 0, size), nulls, oidText, len(rows))
	for i := range rows {
		out = appendBinary(out, param(*at.of(&rows[i])))
	}
	return out
}
