package execute

import (
	"strconv"
	"strings"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/shape"
)

// compose writes the shape's statements over arrays: one array for each parameter,
// and where operations on one row were added up, three for each that is added.
func (s *setShape) compose() {
	s.sql = s.statementOver(false)
	if s.foldable {
		s.sumSQL = s.statementOver(true)
	}
}

// Arrays are in sub-selects so that the planner does not see how long they are: it
// would rather read the whole table than look up some thousand rows by their key.
func (s *setShape) statementOver(sums bool) string {
	var names, arrays []string
	add := func(name string) {
		names = append(names, name)
		arrays = append(arrays, "pg_catalog.unnest((SELECT "+placeholder(len(names))+"))")
	}
	for i := range s.types {
		name := shape.Column(i + 1)
		add(name)
		if sums && s.sum[i] != 0 {
			add(name + "b")
			add(name + "c")
		}
	}
	from := "ROWS FROM (" + strings.Join(arrays, ", ") + ") AS " + shape.Source + " (" + strings.Join(names, ", ") + ")"
	var b strings.Builder
	switch s.Action {
	case event.ActionInsert:
		values := make([]string, len(s.Set))
		for i := range s.Set {
			values[i] = s.Set[i].Expr
		}
		return "INSERT INTO " + s.Target + " SELECT " + strings.Join(values, ", ") + " FROM " + from
	case event.ActionDelete:
		b.WriteString("DELETE FROM " + s.Target + " USING " + from)
	default:
		b.WriteString("UPDATE " + s.Target + " SET ")
		for i := range s.Set {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quoteIdent(s.Set[i].Column) + " = " + s.assigned(&s.Set[i], sums))
		}
		b.WriteString(" FROM " + from)
	}
	for i, item := range s.Where {
		word := " AND "
		if i == 0 {
			word = " WHERE "
		}
		b.WriteString(word + s.Name + "." + quoteIdent(item.Column) + " = " + item.Expr)
	}
	return b.String()
}

// assigned is what an UPDATE assigns. A sum goes by the highest and the lowest
// value that the operations, one after the other, would have given the column, in
// the column's own type: it fails where one of them would have failed.
func (s *setShape) assigned(i *shape.Item, sums bool) string {
	if !sums || i.Kind == shape.Value {
		return i.Expr
	}
	cast := ""
	if c := s.table.column(i.Column); c.oid == oidNumeric && c.typmod >= 0 {
		precision, scale := numericTypmod(c.typmod)
		cast = "::pg_catalog.numeric(" + strconv.Itoa(precision) + "," + strconv.Itoa(scale) + ")"
	}
	part := shape.Source + "." + shape.Column(i.Param)
	return "((" + s.Name + "." + quoteIdent(i.Column) + " + " + part + ")" + cast + " + " + part + "b)" + cast + " + " + part + "c"
}

// numericTypmod takes a numeric's type modifier apart.
func numericTypmod(typmod int) (precision, scale int) {
	typmod -= 4
	return typmod >> 16 & 0xffff, (typmod&0x7ff ^ 1024) - 1024
}
