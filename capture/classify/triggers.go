package classify

import (
	"errors"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/event"
)

// triggersHint is the other way out of what capture triggers would carry.
const triggersHint = "Or set capture.triggers to on, by which the agent carries the rows that it changes."

// byTriggers says that a refused statement may run and be carried as the rows that
// the capture triggers keep, where they are on: whatever it does to tables goes through them, or shows
// in the locks that it holds afterwards. What neither would show stays refused.
func (j *job) byTriggers(stmt *pg.Node, r *Refusal) bool {
	if r.Always || r.unseen || r.reach == reachNone {
		return false
	}
	if j.context.arrayNulls == "off" {
		return false // the images' arrays are read back under it, and a NULL as a word
	}
	switch s := stmt.Node.(type) {
	case *pg.Node_SelectStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt,
		*pg.Node_DoStmt, *pg.Node_CallStmt:
	case *pg.Node_DeclareCursorStmt:
		if holds(s.DeclareCursorStmt) {
			return false // its query runs in the COMMIT, unseen
		}
	case *pg.Node_TruncateStmt:
		if s.TruncateStmt.RestartSeqs {
			return false // a mark only moves forward
		}
	case *pg.Node_CopyStmt:
		if s.CopyStmt.IsProgram || !s.CopyStmt.IsFrom && s.CopyStmt.Filename != "" {
			return false
		}
	case *pg.Node_ExplainStmt:
		switch s.ExplainStmt.Query.Node.(type) {
		case *pg.Node_SelectStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		default:
			return false
		}
	default:
		return false
	}
	return walk(stmt, j.seenByTriggers) == nil
}

// runsSQL are built-in functions that run the text of a query: what that writes goes
// through triggers.
var runsSQL = words("ts_rewrite ts_stat query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema")

// errUnseen says that something in a statement acts past tables.
var errUnseen = errors.New("capture triggers do not see it")

// seenByTriggers looks for what acts past tables: the refusal was of the first thing
// that could not be carried, and others may follow.
func (j *job) seenByTriggers(m proto.Message) (bool, error) {
	switch n := m.(type) {
	case *pg.IntoClause:
		return false, errUnseen // its table has no triggers yet
	case *pg.FuncCall:
		schema, fn := name(n.Funcname)
		if fn == "setval" {
			return false, errUnseen // a mark only moves forward
		}
		if fn == "set_config" {
			return true, j.visitSetConfig(n)
		}
		if schema == "" || schema == "pg_catalog" {
			if j.builtin(fn) == callUnsafe && fn != "nextval" && !runsSQL[fn] {
				return false, errUnseen
			}
		}
		facts, err := j.facts()
		if err != nil {
			return false, err
		}
		for _, f := range facts.Functions[fn] {
			if (schema == f.Schema || schema == "" && slices.Contains(j.path, f.Schema)) && userFunction(f) == callUnsafe && f.Language == "c" {
				return false, errUnseen // dblink and its like write elsewhere
			}
		}
	}
	return true, nil
}

// awake is the plan of a statement that runs what others before it left, nil where
// nothing is carried by the triggers.
func (j *job) awake(reason string) *Plan {
	if !j.c.catalog.Triggers() {
		return nil
	}
	return j.traced(&Refusal{Construct: j.plan.Construct, Reason: reason})
}

// traced is the plan of a statement that the triggers carry.
func (j *job) traced(r *Refusal) *Plan {
	p := j.bare(Write, "captured by triggers: "+r.Construct+": "+r.Reason)
	p.Class, p.ByTriggers = event.ClassRows, true
	p.Tables, p.TableRefs = nil, nil // what it writes is known afterwards
	// What it calls may change settings. Objects that it makes are told with its images.
	p.ContextChanges, p.CatalogChanges, p.Barrier = true, false, false
	p.Deferrable, p.CopyIn = true, j.plan.CopyIn
	p.Explains = j.stmt.GetExplainStmt() != nil
	return p
}

// Info is the statement for people, cut to event.MaxInfoText bytes.
func (p *Plan) Info() string { return cut(p.SQL) }
