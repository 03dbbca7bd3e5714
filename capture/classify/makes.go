package classify

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// Makes is about a statement that makes a table of what a query returns. The table is
// looked at behind the statement, in its transaction: its columns travel as CREATE
// TABLE, and its rows as images. The query runs on the primary alone.
type Makes struct {
	Schema, Name string
	// options is what stands behind the columns.
	options string
}

// SQL is the CREATE TABLE of a table with these columns.
func (m *Makes) SQL(columns []string) string {
	return "CREATE TABLE " + catalog.QuoteIdent(m.Schema) + "." + catalog.QuoteIdent(m.Name) + " (" + strings.Join(columns, ", ") + ")" + m.options
}

// Exact refuses a table whose values would not be read back as they were printed under
// the plan's settings.
func (p *Plan) Exact(t *catalog.Table) error { return p.ExactIn(t, allColumns(t)) }

// ExactIn is Exact for some of the columns.
func (p *Plan) ExactIn(t *catalog.Table, columns []string) error {
	j := &job{plan: p, in: &p.in, context: meaningOf(p.in.Settings)}
	if err := j.checked(t, -1); err != nil {
		return err
	}
	return j.exact(t, columns)
}

// With is the plan of a statement whose query is what was prepared.
func (p *Plan) With(inner *Plan) *Plan {
	both := *p
	both.Inner = inner
	return &both
}

// intoClause finds the INTO of a SELECT, which may stand in the first of several that
// are combined.
func intoClause(st *pg.SelectStmt) **pg.IntoClause {
	for st.Larg != nil {
		st = st.Larg
	}
	return &st.IntoClause
}

// makesTable says that a statement makes a permanent table of a query's rows, or, where
// the backups do not know the query, of its columns.
func makesTable(st *pg.CreateTableAsStmt) bool {
	return st.Objtype == pg.ObjectType_OBJECT_TABLE && (!st.Into.SkipData || st.Query.GetExecuteStmt() != nil) && !isTempName(st.Into.Rel)
}

// makesOf plans a statement that makes a table of a query's rows.
func (j *job) makesOf(into *pg.IntoClause, query *pg.Node) error {
	rel := into.Rel
	if err := j.spares(rel.Schemaname, ""); err != nil {
		return err
	}
	if rel.Relpersistence == "u" {
		return j.refuse(j.plan.Construct+" of an unlogged table", rel.Location, "what is in it does not survive a crash", "Make an ordinary table.")
	}
	j.plan.CatalogChanges = true
	m := &Makes{Name: rel.Relname}
	if err := j.scanQuery(query); err != nil {
		return err
	}
	switch {
	case len(j.eff.setval) > 0:
		return j.refuse("setval in "+j.plan.Construct, j.eff.setval[0].Location, "it is not undone with the statement", "SELECT setval(…) on its own.")
	case j.eff.context:
		return j.refuse("set_config in "+j.plan.Construct, -1, "the rows are read back under other settings than before it", "SELECT set_config(…) on its own.")
	}
	if err := j.makeOptions(m, into); err != nil {
		return err
	}
	name := qualify(rel, j.path)
	m.Schema = strings.TrimSuffix(name, "."+rel.Relname)
	p := j.plan
	p.Kind, p.Class, p.Reason, p.Barrier, p.ClientColumns = DDL, event.ClassRows, "it inserts what it reads", true, -1
	p.Tables, p.Sequences, p.Makes, p.frozen.kind = []string{name}, sequences(j.eff.draws), m, freezeMade
	return nil
}

// scanQuery scans what a table is made of, which may be what was prepared before.
func (j *job) scanQuery(query *pg.Node) error {
	run := query.GetExecuteStmt()
	if run == nil {
		return j.scan(query)
	}
	j.plan.Runs = run.Name
	return j.scan(nodes(run.Params)...)
}

// makeOptions writes what a table is made with beside its columns.
func (j *job) makeOptions(m *Makes, into *pg.IntoClause) error {
	const empty = "CREATE TABLE x ()"
	bare := &pg.CreateStmt{Relation: &pg.RangeVar{Relname: "x", Inh: true, Relpersistence: "p"}, Options: into.Options,
		Oncommit: into.OnCommit, Tablespacename: into.TableSpaceName, AccessMethod: into.AccessMethod}
	text, err := deparse(j.grammar, &pg.Node{Node: &pg.Node_CreateStmt{CreateStmt: bare}})
	if err != nil || !strings.HasPrefix(text, empty) {
		return j.refuse(j.plan.Construct, into.Rel.Location, "its options cannot be written for the backups", "Use CREATE TABLE and INSERT … SELECT.")
	}
	m.options = text[len(empty):]
	return nil
}
