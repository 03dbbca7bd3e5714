package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/event"
)

// Statements that write in WITH, and what they stand before, are one statement to the
// server: one snapshot, and foreign keys are looked at behind all of them. Each travels as its own rows,
// which all come back in one result (withtext.go), and backups write them one
// after the other, in an order that comes to the same (withorder.go).

// constructWith names a statement with writes in its WITH.
const constructWith = "WITH"

// Part is one of the statements of a text that writes in WITH.
type Part struct {
	// Plan says how its rows travel; Hidden are its own columns.
	*Plan
	// At is where they begin among the hidden columns of the whole, behind a mark that is
	// NULL in rows of others, which the rows of the main statement do not have.
	At     int
	marked bool
}

// PartOf tells which part a row is of, -1 for none that is carried, with that part's hidden
// columns; main says that the row is the client's.
func (p *Plan) PartOf(hidden []event.Value) (at int, own []event.Value, main bool) {
	at = -1
	for k := range p.Parts {
		q := &p.Parts[k]
		if q.marked && !hidden[q.At-1].Null {
			return k, hidden[q.At : q.At+q.Hidden], false
		}
		if !q.marked {
			at, own = k, hidden[q.At:q.At+q.Hidden]
		}
	}
	return at, own, true
}

// OfClient is PartOf where only a row's NULLs are known: it tells whether the row is the client's.
func (p *Plan) OfClient(null func(hidden int) bool) bool {
	return !slices.ContainsFunc(p.Parts, func(q Part) bool { return q.marked && !null(q.At-1) })
}

// modifying is the WITH of a statement, nil where nothing in it writes.
func modifying(n *pg.Node) *pg.WithClause {
	with := *withOf(n)
	for _, c := range with.GetCtes() {
		if c.GetCommonTableExpr().GetCtequery().GetSelectStmt() == nil {
			return with
		}
	}
	return nil
}

// withOf is where a statement has its WITH.
func withOf(n *pg.Node) **pg.WithClause {
	var none *pg.WithClause
	switch s := n.Node.(type) {
	case *pg.Node_SelectStmt:
		return &s.SelectStmt.WithClause
	case *pg.Node_InsertStmt:
		return &s.InsertStmt.WithClause
	case *pg.Node_UpdateStmt:
		return &s.UpdateStmt.WithClause
	case *pg.Node_DeleteStmt:
		return &s.DeleteStmt.WithClause
	}
	return &none
}

// writing is a statement in WITH, or the main one, on its way to a plan.
type writing struct {
	*job
	// cte is its place in WITH, -1 for the main statement, name its name there.
	cte  int
	name string
	// columns are the names of what the other parts see of it, nil where they see nothing.
	columns []string
	// tag begins the command tag of a main statement.
	tag string
}

// carried says that its rows travel: it does not write a temporary table.
func (w *writing) carried() bool { return w.plan.Kind == Write }

// notApart refuses a statement whose parts cannot be told from one another.
func (j *job) notApart(reason string) *Refusal {
	return j.refuse("a data-modifying statement in WITH", -1, reason, "Run the statements one after the other in one transaction.")
}

// with plans a statement that writes in its WITH.
func (j *job) with(n *pg.Node, with *pg.WithClause) error {
	if j.c.catalog.Triggers() {
		return j.notApart("capture triggers keep its rows, however many") // not in memory, as here
	}
	text, err := readWith(j.body, with)
	if err != nil {
		return j.notApart(err.Error())
	}
	names := namesBefore(with, len(with.Ctes))
	var list []*writing
	for i, c := range with.Ctes {
		query := c.GetCommonTableExpr().Ctequery
		if query.GetSelectStmt() != nil {
			continue
		}
		w := &writing{job: j.within(query, j.body[text.items[i].from:text.items[i].to], namesBefore(with, i)), cte: i, name: c.GetCommonTableExpr().Ctename}
		if err := w.modifies(n, c.GetCommonTableExpr()); err != nil {
			return err
		}
		list = append(list, w)
	}
	main, err := j.mainOf(n, j.body[text.main:], names)
	if err != nil {
		return err
	}
	list = append(list, main)
	if err := j.join(list); err != nil {
		return err
	}
	order, err := j.inOrder(list)
	if err != nil {
		return err
	}
	j.plan.Construct = constructWith
	if len(order) == 0 {
		return j.temporary()
	}
	j.write(event.ClassRows, becauseWith)
	j.splice(text, list, order)
	return nil
}

// namesBefore are the names that the i-th in WITH sees, from its length on all of them.
func namesBefore(with *pg.WithClause, i int) map[string]bool {
	names := map[string]bool{}
	for k, c := range with.Ctes {
		if k < i || with.Recursive {
			names[c.GetCommonTableExpr().Ctename] = true
		}
	}
	return names
}

// within is the job of one of a statement's parts.
func (j *job) within(stmt *pg.Node, body string, names map[string]bool) *job {
	p := &job{ctx: j.ctx, c: j.c, in: j.in, stmt: stmt, located: j.located, grammar: j.grammar, body: body, path: j.path,
		context: j.context, loaded: j.loaded, views: j.views, outer: names, imagesFor: becauseWith}
	p.plan = &Plan{Kind: Pass, Class: event.ClassNone, SQL: body, Construct: construct(stmt), CatalogVersion: j.plan.CatalogVersion, InHex: j.in.InHex, in: j.plan.in}
	return p
}

// modifies plans a statement that writes in WITH.
func (w *writing) modifies(whole *pg.Node, cte *pg.CommonTableExpr) error {
	if cte.Ctequery.GetMergeStmt() != nil || modifying(cte.Ctequery) != nil {
		return w.notApart("it is of a kind whose rows cannot be told apart")
	}
	if err := w.statement(cte.Ctequery); err != nil {
		return err
	}
	returning := *returningOf(cte.Ctequery)
	if len(returning) == 0 {
		if reads(whole, cte.Ctename) {
			return w.notApart("it has no RETURNING, and what has its name cannot be told from it")
		}
		return nil
	}
	if !w.carried() {
		return nil // it stays as it is
	}
	var ok bool
	if w.columns, ok = w.outputs(returning, cte); !ok {
		return w.notApart("the names of what it returns are not told by its text")
	}
	return nil
}

// returningOf is where a statement that writes has its RETURNING.
func returningOf(n *pg.Node) *[]*pg.Node {
	switch s := n.Node.(type) {
	case *pg.Node_InsertStmt:
		return &s.InsertStmt.ReturningList
	case *pg.Node_UpdateStmt:
		return &s.UpdateStmt.ReturningList
	case *pg.Node_DeleteStmt:
		return &s.DeleteStmt.ReturningList
	}
	return new([]*pg.Node)
}

// reads tells whether a statement reads something of a name.
func reads(stmt *pg.Node, name string) (found bool) {
	_ = walk(stmt, func(m proto.Message) (bool, error) { // visit makes no errors
		rv, ok := m.(*pg.RangeVar)
		found = found || ok && rv.Schemaname == "" && rv.Relname == name
		return !found, nil
	})
	return found
}

// mainOf plans the statement behind WITH, less what writes in that.
func (j *job) mainOf(n *pg.Node, body string, names map[string]bool) (*writing, error) {
	main := proto.Clone(n).(*pg.Node)
	with := *withOf(main)
	var reading []*pg.Node
	for _, c := range with.Ctes {
		if c.GetCommonTableExpr().Ctequery.GetSelectStmt() != nil {
			reading = append(reading, c)
		}
	}
	if with.Ctes = reading; len(reading) == 0 {
		*withOf(main) = nil
	}
	w := &writing{job: j.within(main, body, names), cte: -1}
	if st := main.GetSelectStmt(); st != nil {
		w.tag = "SELECT"
		if err := w.scan(st); err != nil {
			return nil, err
		}
		if len(w.eff.setval) > 0 {
			return nil, w.notApart("it calls setval, which is not undone with it")
		}
		return w, w.finishRead()
	}
	switch main.Node.(type) {
	case *pg.Node_InsertStmt:
		w.tag = "INSERT 0"
	case *pg.Node_UpdateStmt:
		w.tag = "UPDATE"
	case *pg.Node_DeleteStmt:
		w.tag = "DELETE"
	}
	return w, w.statement(main)
}

// join adds to the plan of the whole what those of its parts say.
func (j *job) join(list []*writing) error {
	p := j.plan
	for _, w := range list {
		q := w.plan
		j.saw(q.CatalogVersion)
		j.uncacheable, j.valued = j.uncacheable || w.uncacheable, j.valued || w.valued
		p.ContextChanges = p.ContextChanges || q.ContextChanges
		p.Deferrable, p.Unnamed = p.Deferrable || q.Deferrable, p.Unnamed || q.Unnamed
		p.TableRefs = append(p.TableRefs, q.TableRefs...)
		p.Sequences = sequences(append(p.Sequences, q.Sequences...))
		for _, t := range q.Tables {
			j.touch(t)
		}
		if q.Kind == Write && q.frozen.kind != freezeRows && q.frozen.kind != freezeUnnamed {
			return w.notApart("its rows do not come back")
		}
	}
	return nil
}

// TagOf is the command tag that the client expects of a result with so many rows of its own.
func (p *Plan) TagOf(rows string) string { return p.tag + " " + rows }

// ofParts is what is to be published of one execution of several parts, in their order.
func (p *Plan) ofParts(e Execution) ([]event.Operation, error) {
	var list []event.Operation
	for k := range p.Parts {
		q := &p.Parts[k]
		var rows PartRows
		if len(e.Parts) > 0 { // no row of any came
			rows = e.Parts[k]
		}
		ops, err := q.Operations(Execution{TxTime: e.TxTime, Rows: rows.Rows, Affected: int64(len(rows.Rows)), First: true})
		if err != nil {
			return nil, err
		}
		Hash(ops, rows.Hash)
		list = append(list, ops...)
	}
	if len(list) == 0 {
		return p.marks(event.Operation{Sequences: e.Sequences, Digest: event.Digest{SQLState: "00000"}}), nil
	}
	for i := range list {
		if list[i].Kind != event.OpSet {
			list[i].Sequences = e.Sequences
			break
		}
	}
	return list, nil
}

// Hash puts the hash of its rows on the operation that ends an execution.
func Hash(ops []event.Operation, hash []byte) {
	for i := len(ops) - 1; i >= 0; i-- {
		if ops[i].Kind != event.OpSet {
			ops[i].Digest.Hash = hash
			return
		}
	}
}

// PartRows are the rows of one of Plan.Parts.
type PartRows struct {
	Rows [][]event.Value
	// Hash is their digest, nil for none.
	Hash []byte
}
