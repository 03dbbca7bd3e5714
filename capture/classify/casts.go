package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// mayBeCast says that the server may apply a cast of the user's to an expression, or
// inside of it: the text does not tell. Left are literals and parameters that take the
// type of what they are for, or have it.
func (j *job) mayBeCast(n *pg.Node, cat string) (bool, error) {
	facts, err := j.facts()
	if err != nil || n == nil || !facts.UserCasts {
		return false, err
	}
	switch {
	case n.GetAConst() != nil:
		c, err := j.categoryOf(n, scope{})
		return c != "" && c != cat, err
	case n.GetParamRef() != nil:
		oid := j.paramOID(n.GetParamRef())
		return oid != 0 && oid != oidUnknown && !convertsPlainly(oid, cat), nil
	case n.GetTypeCast() != nil: // of what has no type: its target is judged with it
		arg := n.GetTypeCast().Arg
		untyped := arg.GetAConst().GetSval() != nil || arg.GetParamRef() != nil && j.paramOID(arg.GetParamRef()) == 0
		oid, err := j.typeOID(n.GetTypeCast().TypeName)
		return !untyped || oid == 0 || cat != "" && !convertsPlainly(oid, cat), err
	case n.GetBoolExpr() != nil: // its parts are judged one by one
		return cat != "B", nil
	case n.GetNullTest() != nil:
		return cat != "B" || n.GetNullTest().Arg.GetColumnRef() == nil, nil
	case n.GetColumnRef() != nil:
		return cat != "", nil
	}
	return true, nil
}

// convertsPlainly says that a value of a built-in type becomes one of a category's types
// by built-in casts alone: all of them are there, so that a user cannot add one.
func convertsPlainly(oid uint32, cat string) bool {
	switch cat {
	case "N":
		return slices.Contains(integers, oid) || oid == oidNumeric
	case "S", "B":
		return category(oid) == cat
	}
	return false
}
