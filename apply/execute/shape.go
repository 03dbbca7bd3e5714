package execute

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/definition"
)

// lackingSQL lists the columns, a JSON array, that a table does not have, all of them
// where there is no table. It asks the catalogue, which takes no rights.
const lackingSQL = `SELECT c FROM pg_catalog.json_array_elements_text($3::pg_catalog.text::pg_catalog.json) c WHERE NOT EXISTS (
	SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class r ON r.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
	WHERE n.nspname = $1 AND r.relname = $2 AND a.attname = c AND a.attnum > 0 AND NOT a.attisdropped)`

// definitionSQL says how a table is defined.
var definitionSQL = `SELECT (` + definition.PartsSQL + `)::pg_catalog.text
	FROM (SELECT r.oid FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace WHERE n.nspname = $1 AND r.relname = $2) rel`

// checkShapes looks whether the tables that a transaction writes have, on the target,
// the columns that they have on the primary. One that lacks a column would differ
// in silence: what the primary puts there without being told, a default, goes
// nowhere. Columns that only the target has are its own affair. What else is defined otherwise
// is told of and stops nothing: a larger type, say, may be what the target is for.
func (r *replay) checkShapes() error {
	for i := range r.tx.Transaction.Shapes {
		shape := &r.tx.Transaction.Shapes[i]
		name := shape.Schema + "." + shape.Table
		if r.diverged(name) || r.cfg.Shared.has(anyTable) {
			continue
		}
		if err := r.checkShape(shape, name); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) checkShape(shape *event.TableShape, name string) error {
	var lacking []string
	fail := func(err error) error { return r.failure(r.tx.Offset, 0, "", []string{name}, err) }
	columns, err := json.Marshal(shape.Columns)
	if err != nil {
		return err
	}
	params := [][]byte{[]byte(shape.Schema), []byte(shape.Table), columns}
	err = r.pipe.query(lackingSQL, params, []uint32{oidText, oidText, oidText}, nil, request{fail: fail, rows: len(shape.Columns),
		row: func(v []event.Value) { lacking = append(lacking, string(v[0].Text)) }})
	if err == nil && len(shape.Definition) > 0 {
		err = r.compareDefinition(shape, name, fail)
	}
	if err == nil {
		err = r.pipe.drain() // the answer is wanted before more is sent, a COMMIT at last
	}
	if err != nil || len(lacking) == 0 {
		return err
	}
	return fail(fmt.Errorf("table %s has no column %s, which it has on the primary: somebody changed its definition there past the agent; "+
		"run the same DDL on the target, and start the worker again", name, strings.Join(lacking, ", ")))
}

func (r *replay) compareDefinition(shape *event.TableShape, name string, fail func(error) error) error {
	params := [][]byte{[]byte(shape.Schema), []byte(shape.Table)}
	return r.pipe.query(definitionSQL, params, []uint32{oidText, oidText}, nil, request{fail: fail, row: func(v []event.Value) {
		var here []event.DefinitionPart
		err := json.Unmarshal(v[0].Text, &here)
		where := definition.Compare(shape.Definition, here)
		if err != nil {
			where = "its definition cannot be read: " + err.Error()
		}
		if where != "" {
			r.cfg.Differs(r.tx.Offset, name, where)
		}
	}})
}
