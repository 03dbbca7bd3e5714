package execute

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/ddl"
)

// DefinitionFunc says which relations a statement has to do with.
type DefinitionFunc func(sql string) (*ddl.Definition, error)

// defines tells DDL from what has rows to count.
func (r *replay) defines(op *event.Operation) bool {
	return op.Kind == event.OpStatement && op.Digest.Affected < 0 && r.tx.Transaction.Barrier && r.cfg.Definition != nil
}

// checkDefinition looks what DDL has to do with tables that have diverged, where there are
// any. What is dropped on the primary goes here, too, and what has another name there gets it. What takes over from a table that has
// diverged is left out, since it would be made otherwise, or get rows that others miss; so
// is DDL of such a table, and what would follow it by itself has diverged with it.
func (r *replay) checkDefinition(o *operation) error {
	all := r.allDiverged()
	if len(all) == 0 {
		return nil
	}
	d, err := r.cfg.Definition(o.text)
	if err != nil {
		return fmt.Errorf("transaction at offset %d, operation %d: reading the definition %s: %w", r.tx.Offset, o.index, r.normalise(o.text), err)
	}
	if r.job.unfit[spot{r.tx.Offset, int(o.index)}] == "" && o.skip != "" {
		if sql, ok := d.DropIfThere(o.tables); ok {
			o.skip, o.instead, o.leaves = "", sql, o.tables
			return nil
		}
		if done, err := r.renames(o, d); done || err != nil {
			return err
		}
	}
	if o.skip == "" {
		if err := r.takesOver(o, d); err != nil {
			return err
		}
	}
	if o.skip == "" {
		return r.moves(o, d, all)
	}
	return r.leaveOut(o, d)
}

// renames lets a table that has diverged have its new name, where it is here: the old one
// may be another table's next.
func (r *replay) renames(o *operation, d *ddl.Definition) (bool, error) {
	if d.Renamed == nil || len(o.tables) != 1 {
		return false, nil
	}
	here, err := r.onTarget([]ddl.Relation{d.Subject})
	if err != nil || len(here) != 1 || here[0] != o.tables[0] {
		return false, err
	}
	if err := r.note(r.along(o, d.Becomes(o.tables[0]))); err != nil {
		return false, err
	}
	o.skip, o.leaves = "", o.tables
	return true, nil
}

// leaveOut declares what a definition that is left out would have changed.
func (r *replay) leaveOut(o *operation, d *ddl.Definition) error {
	tables := slices.Clone(o.tables)
	joined, err := r.onTarget(d.Joined)
	if err != nil {
		return err
	}
	tables = append(tables, joined...)
	if len(o.tables) > 0 {
		if name := d.Becomes(o.tables[0]); name != "" {
			tables = append(tables, name)
		}
	}
	for _, table := range tables {
		if err := r.declareWith(r.along(o, table), "all"); err != nil {
			return err
		}
	}
	return nil
}

// takesOver leaves a definition out that takes over from a table that has diverged, or
// from a view or a type that is made of one here.
func (r *replay) takesOver(o *operation, d *ddl.Definition) error {
	from, err := r.find(madeOfSQL, d.From)
	if err != nil {
		return err
	}
	for _, table := range from {
		if r.diverged(table) {
			o.skip = "diverged: " + table
		}
	}
	return nil
}

func mayBe(table string) func(ddl.Relation) bool {
	return func(r ddl.Relation) bool { return r.May(table) }
}

// moves declares the tables of a schema that is renamed by their new names.
func (r *replay) moves(o *operation, d *ddl.Definition, all []string) error {
	if d.Moved[0] == "" {
		return nil
	}
	for _, table := range all {
		name, ok := strings.CutPrefix(table, d.Moved[0]+".")
		if !ok {
			continue
		}
		was := *o
		was.skip = "diverged: " + table
		if err := r.note(r.along(&was, d.Moved[1]+"."+name)); err != nil {
			return err
		}
	}
	return nil
}

// onTargetSQL finds relations as the session names them.
const onTargetSQL = `SELECT n.nspname || '.' || c.relname FROM pg_catalog.json_array_elements_text($1::pg_catalog.text::pg_catalog.json) r
	JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(r) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`

// madeOfSQL finds them with what their columns may come from: what views read, and
// relations whose rows are a column.
const madeOfSQL = `WITH RECURSIVE source(oid) AS (
	SELECT pg_catalog.to_regclass(r)::pg_catalog.oid FROM pg_catalog.json_array_elements_text($1::pg_catalog.text::pg_catalog.json) r
	UNION SELECT x.oid FROM source s, LATERAL (
		SELECT d.refobjid FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
			AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass WHERE w.ev_class = s.oid
		UNION SELECT e.typrelid FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
			JOIN pg_catalog.pg_type e ON e.oid IN (t.oid, t.typelem, t.typbasetype) WHERE a.attrelid = s.oid) x(oid))
SELECT n.nspname || '.' || c.relname FROM source s JOIN pg_catalog.pg_class c ON c.oid = s.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`

// onTarget are the qualified names of relations, of those that the target has.
func (r *replay) onTarget(list []ddl.Relation) ([]string, error) { return r.find(onTargetSQL, list) }

// find are the qualified names that a query finds for relations.
func (r *replay) find(sql string, list []ddl.Relation) ([]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	if err := r.enter(); err != nil { // its search path
		return nil, err
	}
	quoted := make([]string, len(list))
	for i, relation := range list {
		quoted[i] = relation.Quoted()
	}
	names, err := json.Marshal(quoted)
	if err != nil {
		return nil, err
	}
	var found []string
	err = r.pipe.query(sql, [][]byte{names}, []uint32{oidText}, nil, request{fail: r.failed(), rows: len(list),
		row: func(v []event.Value) { found = append(found, string(v[0].Text)) }})
	if err == nil {
		err = r.pipe.drain()
	}
	return found, err
}
