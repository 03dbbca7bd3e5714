package classify

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/shape"
)

// Shape says what a statement does to one row, if it does no more than that. sql
// is the statement as it came and lifted what became of it without its literals,
// which are compared: the literals must be the parser's constants. It fails with
// the reason why a statement has no shape.
func Shape(sql string, params int, lifted *shape.Lifted) (*shape.Statement, error) {
	template, err := single(string(lifted.Template))
	if err != nil {
		return nil, err
	}
	if len(lifted.Literals) > 0 {
		if err := sameTree(sql, template, params, lifted.Literals); err != nil {
			return nil, err
		}
	}
	b := shaper{grammar: template.Version, uses: map[int]int{}}
	var s *shape.Statement
	switch n := template.Stmts[0].Stmt.Node.(type) {
	case *pg.Node_InsertStmt:
		s, err = b.insert(n.InsertStmt)
	case *pg.Node_UpdateStmt:
		s, err = b.update(n.UpdateStmt)
	case *pg.Node_DeleteStmt:
		s, err = b.delete(n.DeleteStmt)
	default:
		return nil, errors.New("it is no INSERT, UPDATE or DELETE")
	}
	if err != nil {
		return nil, err
	}
	s.Reads, s.Uses = b.reads, b.uses
	return s, nil
}

func single(sql string) (*pg.ParseResult, error) {
	tree, err := parse(sql)
	if err != nil {
		return nil, err
	}
	if len(tree.Stmts) != 1 {
		return nil, errors.New("it is not one statement")
	}
	return tree, nil
}

// sameTree checks that a statement is its template with the literals put back.
func sameTree(sql string, template *pg.ParseResult, params int, literals []shape.Literal) error {
	original, err := single(sql)
	if err != nil {
		return err
	}
	want, got := original.Stmts[0].Stmt, proto.Clone(template.Stmts[0].Stmt).(*pg.Node)
	found := 0
	_ = walk(got, func(m proto.Message) (bool, error) { // visit makes no errors
		if n, ok := m.(*pg.Node); ok {
			if i := int(n.GetParamRef().GetNumber()) - params - 1; i >= 0 && i < len(literals) {
				n.Node = &pg.Node_AConst{AConst: constant(literals[i])}
				found++
			}
		}
		return true, nil
	})
	clearLocations(want.ProtoReflect())
	clearLocations(got.ProtoReflect())
	if found != len(literals) || !proto.Equal(want, got) {
		return errors.New("its literals stand where they are no plain constants")
	}
	return nil
}

// constant is the parser's node for a literal.
func constant(l shape.Literal) *pg.A_Const {
	text := string(l.Value)
	switch l.Class.Unsigned() {
	case shape.Int:
		n, _ := strconv.ParseInt(text, 10, 32) // the class says that it is one
		return &pg.A_Const{Val: &pg.A_Const_Ival{Ival: &pg.Integer{Ival: int32(n)}}}
	case shape.Text:
		return &pg.A_Const{Val: &pg.A_Const_Sval{Sval: &pg.String{Sval: text}}}
	}
	return &pg.A_Const{Val: &pg.A_Const_Fval{Fval: &pg.Float{Fval: text}}}
}

// shaper makes one shape.
type shaper struct {
	grammar int32
	name    string // by which columns of the table are qualified
	reads   []string
	uses    map[int]int
}

// relation begins a shape with its table.
func (b *shaper) relation(action event.Action, rv *pg.RangeVar) (*shape.Statement, error) {
	if rv.Catalogname != "" {
		return nil, errors.New("it names a database")
	}
	if rv.Alias != nil && len(rv.Alias.Colnames) > 0 {
		return nil, errors.New("it renames columns")
	}
	s := &shape.Statement{Action: action, Relation: quoteIdent(rv.Relname)}
	if rv.Schemaname != "" {
		s.Relation = quoteIdent(rv.Schemaname) + "." + s.Relation
	}
	b.name = relName(rv)
	s.Name, s.Target = quoteIdent(b.name), s.Relation
	if !rv.Inh {
		s.Target = "ONLY " + s.Target
	}
	if rv.Alias != nil {
		s.Target += " AS " + s.Name
	}
	return s, nil
}

func quoteIdent(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func (b *shaper) insert(st *pg.InsertStmt) (*shape.Statement, error) {
	s, err := b.relation(event.ActionInsert, st.Relation)
	if err != nil {
		return nil, err
	}
	sel := st.SelectStmt.GetSelectStmt()
	if st.OnConflictClause != nil || st.WithClause != nil || len(sel.GetValuesLists()) != 1 || plainValues(sel) != nil {
		return nil, errors.New("it is no INSERT of one row of values")
	}
	if err := b.returning(st.ReturningList); err != nil {
		return nil, err
	}
	values := sel.ValuesLists[0].GetList().GetItems()
	if len(st.Cols) > 0 && len(st.Cols) != len(values) {
		return nil, errors.New("it has not one value for each column")
	}
	var columns []string
	for i, v := range values {
		item, err := b.item("", v)
		if err != nil {
			return nil, err
		}
		if len(st.Cols) > 0 {
			target := st.Cols[i].GetResTarget()
			if len(target.GetIndirection()) > 0 {
				return nil, errors.New("it sets a part of a column")
			}
			item.Column = target.GetName()
			columns = append(columns, quoteIdent(item.Column))
		}
		s.Set = append(s.Set, item)
	}
	if len(columns) > 0 {
		s.Target += " (" + strings.Join(columns, ", ") + ")"
	}
	switch st.Override {
	case pg.OverridingKind_OVERRIDING_SYSTEM_VALUE:
		s.Target += " OVERRIDING SYSTEM VALUE"
	case pg.OverridingKind_OVERRIDING_USER_VALUE:
		return nil, errors.New("it overrides values")
	}
	return s, nil
}

// plainValues says why a SELECT is more than VALUES.
func plainValues(sel *pg.SelectStmt) error {
	rest := proto.Clone(sel).(*pg.SelectStmt)
	rest.ValuesLists = nil
	if !proto.Equal(rest, &pg.SelectStmt{LimitOption: rest.LimitOption, Op: rest.Op}) {
		return errors.New("more than VALUES")
	}
	return nil
}

func (b *shaper) update(st *pg.UpdateStmt) (*shape.Statement, error) {
	s, err := b.relation(event.ActionUpdate, st.Relation)
	if err != nil {
		return nil, err
	}
	if len(st.FromClause) > 0 || st.WithClause != nil {
		return nil, errors.New("it reads other tables")
	}
	if err := b.returning(st.ReturningList); err != nil {
		return nil, err
	}
	for _, n := range st.TargetList {
		target := n.GetResTarget()
		if target == nil || len(target.Indirection) > 0 {
			return nil, errors.New("it sets a part of a column")
		}
		item, err := b.item(target.Name, target.Val)
		if err != nil {
			return nil, err
		}
		s.Set = append(s.Set, item)
	}
	return s, b.where(s, st.WhereClause)
}

func (b *shaper) delete(st *pg.DeleteStmt) (*shape.Statement, error) {
	s, err := b.relation(event.ActionDelete, st.Relation)
	if err != nil {
		return nil, err
	}
	if len(st.UsingClause) > 0 || st.WithClause != nil {
		return nil, errors.New("it reads other tables")
	}
	if err := b.returning(st.ReturningList); err != nil {
		return nil, err
	}
	return s, b.where(s, st.WhereClause)
}

// returning allows a RETURNING of plain columns, which is left out: nobody reads it.
func (b *shaper) returning(list []*pg.Node) error {
	for _, n := range list {
		c := n.GetResTarget().GetVal().GetColumnRef()
		if c == nil {
			return errors.New("it returns more than columns")
		}
		star := len(c.Fields) > 0 && c.Fields[len(c.Fields)-1].GetAStar() != nil
		if !star && b.column(c) == "" {
			return errors.New("it returns more than columns")
		}
	}
	return nil
}

// where takes a condition of columns that equal parameters.
func (b *shaper) where(s *shape.Statement, where *pg.Node) error {
	if where == nil {
		return errors.New("it names no row")
	}
	for _, n := range conjuncts(where) {
		e := n.GetAExpr()
		if e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP || !operator(e, "=") {
			return errors.New("its condition is not that columns equal values")
		}
		left, right := e.Lexpr, e.Rexpr
		if left.GetColumnRef() == nil {
			left, right = right, left
		}
		column := b.column(left.GetColumnRef())
		if column == "" || slices.ContainsFunc(s.Where, func(i shape.Item) bool { return i.Column == column }) {
			return errors.New("its condition is not that columns equal values")
		}
		item, err := b.item(column, right)
		if err != nil {
			return err
		}
		if item.Kind != shape.Value {
			return errors.New("its condition compares with more than a parameter")
		}
		s.Where = append(s.Where, item)
	}
	return nil
}
