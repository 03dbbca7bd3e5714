// Package ddl says which relations a statement that defines objects has to do with, for
// workers whose target lacks some of what the primary has (on_unsafe: flag). The
// classifier, which owns the parser, fills it in; apply uses it.
package ddl

import (
	"cmp"
	"strings"
)

// Relation is a relation as a statement names it; without a schema the search path
// finds it.
type Relation struct{ Schema, Name string }

// Quoted is the relation as SQL names it.
func (r Relation) Quoted() string {
	if r.Schema == "" {
		return quote(r.Name)
	}
	return quote(r.Schema) + "." + quote(r.Name)
}

// May says whether the relation may be the one of a qualified, unquoted name.
func (r Relation) May(qualified string) bool {
	if r.Schema != "" {
		return qualified == r.Schema+"."+r.Name
	}
	return strings.HasSuffix(qualified, "."+r.Name)
}

// Definition is what a statement does with relations besides the tables of its
// operation, which it defines or changes.
type Definition struct {
	// Drop is the kind of relation (TABLE, VIEW) that the statement drops, where it
	// does nothing else, and Dropped are their names.
	Drop    string
	Dropped []Relation
	Cascade bool
	// From are relations of which it takes columns, or which it takes for parts or
	// wholes: what LIKE copies, parents, partitions, tables whose rows are a type.
	From []Relation
	// Joined are those of From that have other rows by it: a partition that is attached.
	Joined []Relation
	// Subject is what it gives another name or schema, and Renamed the new name (in the
	// table's own schema where it names none).
	Subject Relation
	Renamed *Relation
	// Moved are a schema's old name and its new one.
	Moved [2]string
	// Names are all relations that it names.
	Names []Relation
}

// DropIfThere is the statement for a target that may lack what it drops. The relations
// are those of the primary, by the qualified names of tables; ok is false where these
// are not the statement's.
func (d *Definition) DropIfThere(tables []string) (sql string, ok bool) {
	if d.Drop == "" || len(d.Dropped) != len(tables) {
		return "", false
	}
	list := make([]string, len(tables))
	for i, r := range d.Dropped {
		schema, found := strings.CutSuffix(tables[i], "."+r.Name)
		if !found {
			return "", false
		}
		list[i] = Relation{schema, r.Name}.Quoted()
	}
	sql = "DROP " + d.Drop + " IF EXISTS " + strings.Join(list, ", ")
	if d.Cascade {
		sql += " CASCADE"
	}
	return sql, true
}

// Becomes is the qualified name that a table has behind the statement, "" where it keeps
// the one that it has. Schemas and tables may have dots in their names.
func (d *Definition) Becomes(table string) string {
	if d.Renamed == nil {
		return ""
	}
	schema, ok := strings.CutSuffix(table, "."+d.Subject.Name)
	if !ok {
		return "" // another table's
	}
	return cmp.Or(d.Renamed.Schema, schema) + "." + cmp.Or(d.Renamed.Name, d.Subject.Name)
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
