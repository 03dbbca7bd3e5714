package classify

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// outputs are the names of what a statement in WITH returns, as the server names them
// (parse_target.c, FigureColname); false where the text does not tell.
func (w *writing) outputs(returning []*pg.Node, cte *pg.CommonTableExpr) ([]string, bool) {
	t := w.plan.TableRefs[0]
	rel := relName(relationOf(w.stmt))
	var names []string
	for _, n := range returning {
		r := n.GetResTarget()
		if r.Name != "" {
			names = append(names, r.Name)
			continue
		}
		if fields := r.Val.GetColumnRef().GetFields(); len(fields) > 0 && fields[len(fields)-1].GetAStar() != nil {
			if !w.ownStar(rel, fields) {
				return nil, false
			}
			names = append(names, allColumns(t)...)
			continue
		}
		_, name, ok := outputName(r.Val)
		if !ok {
			return nil, false
		}
		names = append(names, name)
	}
	if len(cte.Aliascolnames) > len(names) {
		return nil, false
	}
	for i, n := range cte.Aliascolnames {
		names[i] = n.GetString_().GetSval()
	}
	return names, true
}

// ownStar says that a star stands for the columns of the table that is written: there is no
// other, or it has its name.
func (w *writing) ownStar(rel string, fields []*pg.Node) bool {
	if len(fields) == 1 {
		return len(w.stmt.GetUpdateStmt().GetFromClause())+len(w.stmt.GetDeleteStmt().GetUsingClause()) == 0
	}
	if len(fields) == 3 && (relationOf(w.stmt).Alias != nil || fields[0].GetString_().GetSval() != w.plan.TableRefs[0].Schema) {
		return false
	}
	return len(fields) < 4 && fields[len(fields)-2].GetString_().GetSval() == rel
}

// relationOf is the table that a statement writes.
func relationOf(n *pg.Node) *pg.RangeVar {
	switch s := n.Node.(type) {
	case *pg.Node_InsertStmt:
		return s.InsertStmt.Relation
	case *pg.Node_UpdateStmt:
		return s.UpdateStmt.Relation
	case *pg.Node_DeleteStmt:
		return s.DeleteStmt.Relation
	}
	return nil
}

// outputName is the name of a column that has none of its own; strong says that a cast
// around it does not give it another.
func outputName(n *pg.Node) (strong bool, name string, ok bool) {
	switch e := n.Node.(type) {
	case *pg.Node_ColumnRef:
		return true, lastName(e.ColumnRef.Fields), true
	case *pg.Node_AIndirection:
		if last := e.AIndirection.Indirection; last[len(last)-1].GetAStar() != nil {
			return false, "", false // as many as its type has
		}
		if name := lastName(e.AIndirection.Indirection); name != "" {
			return true, name, true
		}
		return outputName(e.AIndirection.Arg)
	case *pg.Node_FuncCall:
		return true, lastName(e.FuncCall.Funcname), true
	case *pg.Node_TypeCast:
		strong, name, ok := outputName(e.TypeCast.Arg)
		if ok && !strong {
			name = lastName(e.TypeCast.TypeName.Names)
		}
		return strong, name, ok
	case *pg.Node_CollateClause:
		return outputName(e.CollateClause.Arg)
	case *pg.Node_CaseExpr:
		if e.CaseExpr.Defresult != nil {
			if strong, name, ok := outputName(e.CaseExpr.Defresult); strong || !ok {
				return strong, name, ok
			}
		}
		return false, "case", true
	case *pg.Node_AArrayExpr:
		return true, "array", true
	case *pg.Node_RowExpr:
		return true, "row", true
	case *pg.Node_CoalesceExpr:
		return true, "coalesce", true
	case *pg.Node_MinMaxExpr:
		return true, strings.ToLower(strings.TrimPrefix(e.MinMaxExpr.Op.String(), "IS_")), true
	case *pg.Node_AExpr:
		if e.AExpr.Kind == pg.A_Expr_Kind_AEXPR_NULLIF {
			return true, "nullif", true
		}
		return false, noName, true
	case *pg.Node_AConst, *pg.Node_ParamRef, *pg.Node_BoolExpr, *pg.Node_NullTest, *pg.Node_BooleanTest:
		return false, noName, true
	}
	return false, "", false
}

// noName is what the server calls a column that nothing names.
const noName = "?column?"

// lastName is the last of a list that is a name.
func lastName(list []*pg.Node) (name string) {
	for _, n := range list {
		if s := n.GetString_().GetSval(); s != "" {
			name = s
		}
	}
	return name
}
