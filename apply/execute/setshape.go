package execute

import (
	"slices"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/shape"
)

// setShape is what operations have in common that can become one statement: their
// text without literals, the types and forms of their parameters, and the session
// settings under which they run.
type setShape struct {
	*shape.Statement
	why      string // why there are no sets of it; "": there are
	seen     int
	template string
	context  string   // of settings
	declared []uint32 // types of parameters as the operation says them
	formats  []int16
	types    []uint32 // as the server infers them
	arrays   []uint32 // of these
	table    *facts
	keys     []setKey // of an UPDATE or DELETE one, of an INSERT all that are known
	sum      []uint32 // type of the column that a parameter is added to, 0 for others
	foldable bool
	sql      string
	sumSQL   string
}

// setKey says which parameters name a row by a unique index.
type setKey struct {
	index    string
	params   []int // from 0
	families []family
}

// binaryOf says whether parameter n, from 0, is in binary form.
func (s *setShape) binaryOf(n int) bool { return s.formats[n] == 1 }

// settle decides whether there are sets of a shape, once everything about it is
// known. Whatever is not known to be safe has none.
func (s *setShape) settle(t *facts) {
	s.table = t
	if s.why = s.unfit(); s.why != "" {
		return
	}
	s.foldable = s.mayFold()
	s.compose()
}

func (s *setShape) unfit() string {
	t := s.table
	if t == nil || !t.plain {
		return "the table is not one on which nothing but constraints acts"
	}
	s.nameColumns()
	for _, list := range [][]shape.Item{s.Set, s.Where} {
		for _, i := range list {
			if why := unknownColumn(t.column(i.Column)); why != "" {
				return "column " + i.Column + why
			}
		}
	}
	if slices.ContainsFunc(s.Reads, func(name string) bool { return unknownColumn(t.column(name)) != "" }) {
		return "it reads what is no column of a built-in type"
	}
	switch s.Action {
	case event.ActionInsert:
		return s.unfitInsert()
	case event.ActionDelete:
		if t.ofItself() || slices.ContainsFunc(t.children, func(k factKey) bool { return k.acts }) {
			return "deleting acts on other rows"
		}
	default:
		for _, i := range s.Set {
			c := t.column(i.Column)
			if c.special || t.indexed(c.number, true) {
				return "it sets column " + i.Column + ", which is of a unique key, or generated"
			}
		}
		if slices.ContainsFunc(t.indexes, func(i factIndex) bool { return i.unique && i.partial }) ||
			slices.ContainsFunc(t.columns, func(c factColumn) bool { return c.generated && (t.indexed(c.number, true) || t.foreign(c.number)) }) {
			return "a key depends on more than columns"
		}
	}
	for _, i := range t.indexes {
		if key, ok := s.keyOf(i, s.Where); ok {
			s.keys = []setKey{key}
			return ""
		}
	}
	return "it does not name one row by a unique key whose values can be compared here"
}

// unknownColumn says why a column may do more with a value than PostgreSQL's own types
// do, or something else with a literal than with a parameter.
func unknownColumn(c *factColumn) string {
	switch {
	case c == nil || !c.base:
		return " is not known or has a domain"
	case c.oid >= firstNormalOID:
		return " has a type of users"
	case c.oid == oidInterval && c.typmod >= 0:
		return " is of intervals whose fields decide what a literal says"
	}
	return ""
}

// nameColumns gives the values of an INSERT without a column list their columns.
func (s *setShape) nameColumns() {
	if s.Action != event.ActionInsert || len(s.Set) > len(s.table.columns) {
		return
	}
	for i := range s.Set {
		if s.Set[i].Column == "" {
			s.Set[i].Column = s.table.columns[i].name
		}
	}
}

func (s *setShape) unfitInsert() string {
	t := s.table
	if t.ofItself() {
		return "rows name rows of the same table"
	}
	for i := range t.columns {
		c := &t.columns[i]
		given := slices.ContainsFunc(s.Set, func(i shape.Item) bool { return i.Column == c.name })
		if !c.base || !given && (c.draws || c.special) {
			return "column " + c.name + " has a domain or a default that may draw values"
		}
	}
	for _, i := range t.indexes {
		if key, ok := s.keyOf(i, s.Set); ok && s.storedAsGiven(i) {
			s.keys = append(s.keys, key)
		}
	}
	return ""
}

// storedAsGiven says that the columns of an index take a value without changing it.
func (s *setShape) storedAsGiven(i factIndex) bool {
	for _, c := range s.table.columns {
		if slices.Contains(i.numbers, c.number) && c.typmod >= 0 {
			return false
		}
	}
	return true
}

// keyOf returns the parameters that name a row by an index.
func (s *setShape) keyOf(i factIndex, items []shape.Item) (setKey, bool) {
	key := setKey{index: i.oid}
	for _, number := range i.numbers {
		at := slices.IndexFunc(items, func(item shape.Item) bool { return s.table.column(item.Column).number == number })
		if at < 0 || items[at].Kind != shape.Value {
			return key, false
		}
		column, param := s.table.column(items[at].Column), items[at].Param-1
		f := familyOf(column.oid)
		if f == noFamily || f != familyOf(s.types[param]) {
			return key, false
		}
		key.params, key.families = append(key.params, param), append(key.families, f)
	}
	return key, i.key && len(key.params) > 0
}

// mayFold says whether two operations on one row can be folded where their values
// allow it, so that nothing that could be refused in between is left out.
func (s *setShape) mayFold() bool {
	s.sum = make([]uint32, len(s.types))
	if s.Action != event.ActionUpdate || s.table.strict || len(s.Where) != len(s.keys[0].params) {
		return false
	}
	for _, n := range s.Uses {
		if n != 1 {
			return false
		}
	}
	for _, i := range s.Set {
		c := s.table.column(i.Column)
		if s.table.foreign(c.number) {
			return false
		}
		switch i.Kind {
		case shape.Plus, shape.Minus:
			exact := familyOf(c.oid) == integers && familyOf(s.types[i.Param-1]) == integers ||
				c.oid == oidNumeric && !s.binaryOf(i.Param-1) && (s.types[i.Param-1] == oidNumeric || familyOf(s.types[i.Param-1]) == integers)
			if !exact {
				return false
			}
			s.sum[i.Param-1] = c.oid
		case shape.Value:
			if !s.takesAll(c, s.types[i.Param-1]) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// takesAll says whether a column takes every value of a type, so that none that a
// later one replaces could have been refused. Integers are checked one by one.
func (s *setShape) takesAll(c *factColumn, param uint32) bool {
	switch c.oid {
	case oidInt2, oidInt4, oidInt8:
		return familyOf(param) == integers
	case oidText, oidVarchar:
		// An index refuses what is too long for it.
		return c.typmod < 0 && familyOf(param) == texts && !s.table.indexed(c.number, false)
	}
	return c.oid == oidBool && param == oidBool
}

// refers says that an operation of a shape may need a row of a table to be there,
// or not to be there.
func (s *setShape) refers(table string) bool {
	for _, k := range s.table.parents {
		if k.table != table {
			continue
		}
		if s.Action != event.ActionUpdate {
			return true
		}
		for _, i := range s.Set {
			if slices.Contains(k.numbers, s.table.column(i.Column).number) {
				return true
			}
		}
	}
	return false
}

// awaits says that foreign keys may want an operation of one table behind one of
// another that came before it. An UPDATE of a set leaves what foreign keys name as it
// is. A row may always be inserted before one that refers to its table: that one's
// own parent was there before, or this is it and the check is deferred; and a parent
// that was deleted in between is in a bucket that the new one does not pass.
func (s *setShape) awaits(before *setShape) bool {
	return s.Action == event.ActionDelete && before.refers(s.table.oid) ||
		before.Action != event.ActionUpdate && s.refers(before.table.oid)
}
