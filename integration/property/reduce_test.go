package property

import "slices"

// part is something of a schema that a plan may do without: a table, or what text
// says of it.
type part struct {
	table string
	what  partKind
	text  string
}

type partKind int

const (
	wholeTable partKind = iota
	index
	clause
	generated
	plainColumn
	defaultValue
)

// wholes are the tables.
func (s *schema) wholes() []part {
	var out []part
	for _, t := range s.tables {
		out = append(out, part{table: t.name})
	}
	return out
}

// details are what tables are made of, but for their keys.
func (s *schema) details() []part {
	var out []part
	for _, t := range s.tables {
		if t.name == "twin" {
			continue // the preamble makes it
		}
		for _, text := range t.indexes {
			out = append(out, part{t.name, index, text})
		}
		for _, text := range t.clauses {
			out = append(out, part{t.name, clause, text})
		}
		if t.generated != "" {
			out = append(out, part{t.name, generated, t.generated})
		}
		for _, c := range t.plain() {
			out = append(out, part{t.name, plainColumn, c.name})
			if c.def != "" {
				out = append(out, part{t.name, defaultValue, c.name})
			}
		}
	}
	return out
}

// only is the schema without those of the parts that are not kept. It may be one
// that no server takes.
func (s *schema) only(kept, of []part) *schema {
	dropped := func(p part) bool { return slices.Contains(of, p) && !slices.Contains(kept, p) }
	out := &schema{}
	for _, t := range s.tables {
		if dropped(part{table: t.name}) {
			continue
		}
		small := *t
		without := func(texts []string, what partKind) []string {
			return slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return dropped(part{t.name, what, text}) })
		}
		small.indexes, small.clauses = without(t.indexes, index), without(t.clauses, clause)
		if dropped(part{t.name, generated, t.generated}) {
			small.generated = ""
		}
		small.cols = nil
		for _, c := range t.cols {
			if dropped(part{t.name, plainColumn, c.name}) {
				continue
			}
			column := *c
			if dropped(part{t.name, defaultValue, c.name}) {
				column.def = ""
			}
			small.cols = append(small.cols, &column)
		}
		out.tables = append(out.tables, &small)
	}
	return out
}
