package classify

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// categoryOf is the category of an expression's type where it is easily told, ""
// otherwise; literals and parameters of unknown type have none.
func (j *job) categoryOf(n *pg.Node, s scope) (string, error) {
	switch {
	case n == nil:
		return "", nil
	case n.GetAConst() != nil:
		switch c := n.GetAConst(); {
		case c.GetIval() != nil, c.GetFval() != nil:
			return "N", nil
		case c.GetBoolval() != nil:
			return "B", nil
		}
	case n.GetParamRef() != nil:
		return category(j.paramOID(n.GetParamRef())), nil
	case n.GetColumnRef() != nil:
		if c := s.column(n.GetColumnRef()); c != nil {
			return columnCategory(c), nil
		}
	case n.GetTypeCast() != nil:
		oid, err := j.typeOID(n.GetTypeCast().TypeName)
		return category(oid), err
	case n.GetAExpr() != nil:
		return j.categoryOfOperator(n.GetAExpr(), s)
	case n.GetCoalesceExpr() != nil:
		for _, a := range n.GetCoalesceExpr().Args {
			if c, err := j.categoryOf(a, s); c != "" || err != nil {
				return c, err
			}
		}
	}
	return "", nil
}

func (j *job) categoryOfOperator(e *pg.A_Expr, s scope) (string, error) {
	if e.Kind != pg.A_Expr_Kind_AEXPR_OP {
		return "", nil
	}
	left, err := j.categoryOf(e.Lexpr, s)
	if err != nil {
		return "", err
	}
	right, err := j.categoryOf(e.Rexpr, s)
	if err != nil {
		return "", err
	}
	_, op := name(e.Name)
	switch op {
	case "+", "-", "*", "/", "%":
		if left == "N" && (right == "N" || right == "") || right == "N" && left == "" {
			return "N", nil
		}
	case "||":
		if left == "S" || right == "S" {
			return "S", nil
		}
	case "=", "<>", "<", ">", "<=", ">=":
		return "B", nil
	}
	return "", nil
}

// columnCategory is what a value that goes straight into the column is taken for.
func columnCategory(c *catalog.Column) string {
	switch {
	case holdsOffset(c):
		return offsetTime
	case mayBeDated(c):
		return "D"
	}
	switch c.Category {
	case "N", "S", "B":
		if !c.UserType || c.TypeKind == "d" {
			return c.Category
		}
	}
	return "U"
}
