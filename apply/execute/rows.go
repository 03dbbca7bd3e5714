package execute

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opmux/opmux/event"
)

func placeholder(n int) string { return "$" + strconv.Itoa(n) }

func quoteIdent(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func quoteAll(names []string) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoteIdent(n))
	}
	return b.String()
}

// rowStatement is the statement for one row.
type rowStatement struct {
	sql    string
	params [][]byte
}

// rowPlan turns row images into statements of one row each. Parameters have no
// type, so that the server gives them the type of their column.
type rowPlan struct {
	images *event.RowImages
	table  string
	// columns and values of inserted rows: those set, and keys that are not
	// among them.
	columns   []string
	keyExtra  []int // indexes in Key of those that follow the set ones
	returning string
	insertSQL string // once it is needed
}

func newRowPlan(images *event.RowImages) (*rowPlan, error) {
	if err := checkImages(images); err != nil {
		return nil, err
	}
	p := &rowPlan{images: images}
	p.table = quoteIdent(images.Schema) + "." + quoteIdent(images.Table)
	p.columns = slices.Clone(images.Columns)
	for i, key := range images.Key {
		if !slices.Contains(images.Columns, key) {
			p.columns = append(p.columns, key)
			p.keyExtra = append(p.keyExtra, i)
		}
	}
	if len(images.Returning) > 0 {
		p.returning = " RETURNING " + quoteAll(images.Returning)
	}
	return p, nil
}

// checkImages refuses images that would hit other rows than those they name.
func checkImages(images *event.RowImages) error {
	if images == nil {
		return errors.New("an operation of kind rows has no rows")
	}
	if images.Action != event.ActionInsert && len(images.Key) == 0 {
		return fmt.Errorf("row images of %s.%s for %s have no key", images.Schema, images.Table, images.Action)
	}
	for i := range images.Rows {
		row := &images.Rows[i]
		if len(row.Key) != len(images.Key) || len(row.Values) != len(images.Columns) {
			return fmt.Errorf("row %d of %s.%s has %d key values and %d values, expected %d and %d",
				i, images.Schema, images.Table, len(row.Key), len(row.Values), len(images.Key), len(images.Columns))
		}
	}
	return nil
}

// single returns the statement for the row at index i.
func (p *rowPlan) single(i int) rowStatement {
	row := &p.images.Rows[i]
	switch p.images.Action {
	case event.ActionUpdate:
		return p.update(row)
	case event.ActionDelete:
		return p.remove(row)
	}
	return p.insert(row)
}

func (p *rowPlan) insert(row *event.RowImage) rowStatement {
	if p.insertSQL == "" {
		marks := make([]string, len(p.columns))
		for i := range marks {
			marks[i] = placeholder(i + 1)
		}
		p.insertSQL = p.insertFrom("VALUES (" + strings.Join(marks, ", ") + ")")
	}
	params := make([][]byte, 0, len(p.columns))
	for _, v := range row.Values {
		params = append(params, param(v))
	}
	for _, k := range p.keyExtra {
		params = append(params, param(row.Key[k]))
	}
	return rowStatement{sql: p.insertSQL, params: params}
}

// insertFrom is the INSERT, or upsert, of what a clause yields.
func (p *rowPlan) insertFrom(source string) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + p.table)
	if len(p.columns) == 0 {
		b.WriteString(" DEFAULT VALUES" + p.returning)
		return b.String()
	}
	if p.images.Action == event.ActionUpsert && p.images.Table == "excluded" {
		b.WriteString(` AS "the table"`) // its own name means the row that was not inserted
	}
	b.WriteString(" (" + quoteAll(p.columns) + ") OVERRIDING SYSTEM VALUE " + source)
	if p.images.Action == event.ActionUpsert {
		b.WriteString(p.onConflict())
	}
	b.WriteString(p.returning)
	return b.String()
}

func (p *rowPlan) onConflict() string {
	var b strings.Builder
	b.WriteString(" ON CONFLICT (" + quoteAll(p.images.Key) + ") DO UPDATE SET ")
	set := 0
	for _, c := range p.images.Columns {
		if slices.Contains(p.images.Key, c) {
			continue
		}
		if set > 0 {
			b.WriteString(", ")
		}
		set++
		b.WriteString(quoteIdent(c) + " = EXCLUDED." + quoteIdent(c))
	}
	if set == 0 {
		c := quoteIdent(p.images.Key[0])
		b.WriteString(c + " = EXCLUDED." + c)
	}
	return b.String()
}

func (p *rowPlan) update(row *event.RowImage) rowStatement {
	var b strings.Builder
	var params [][]byte
	b.WriteString("UPDATE " + p.table + " SET ")
	for i, c := range p.images.Columns {
		if i > 0 {
			b.WriteString(", ")
		}
		params = append(params, param(row.Values[i]))
		b.WriteString(quoteIdent(c) + " = " + placeholder(len(params)))
	}
	if len(p.images.Columns) == 0 {
		// Nothing changed: the row is named all the same, to be counted and hashed.
		c := quoteIdent(p.images.Key[0])
		b.WriteString(c + " = " + c)
	}
	params = p.where(&b, row, params)
	return rowStatement{sql: b.String(), params: params}
}

func (p *rowPlan) remove(row *event.RowImage) rowStatement {
	var b strings.Builder
	b.WriteString("DELETE FROM " + p.table)
	params := p.where(&b, row, nil)
	return rowStatement{sql: b.String(), params: params}
}

func (p *rowPlan) where(b *strings.Builder, row *event.RowImage, params [][]byte) [][]byte {
	for i, key := range p.images.Key {
		word := " AND "
		if i == 0 {
			word = " WHERE "
		}
		b.WriteString(word + quoteIdent(key))
		if row.Key[i].Null {
			b.WriteString(" IS NULL")
			continue
		}
		params = append(params, param(row.Key[i]))
		b.WriteString(" = " + compared(key, row.Key[i], placeholder(len(params))))
	}
	b.WriteString(p.returning)
	return params
}

// compared gives the parameter that a key is compared with the key's type. The server does
// so by itself, but for composite types, all of which are compared by one operator; their
// texts begin with a parenthesis. It makes a CASE whose condition is known a plain parameter.
func compared(key string, v event.Value, parameter string) string {
	if len(v.Text) == 0 || v.Text[0] != '(' {
		return parameter
	}
	return "CASE WHEN true THEN " + parameter + " ELSE " + quoteIdent(key) + " END"
}

func param(v event.Value) []byte {
	if v.Null {
		return nil
	}
	if v.Text == nil {
		return []byte{}
	}
	return v.Text
}
