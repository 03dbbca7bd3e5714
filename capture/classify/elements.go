package classify

import pg "github.com/pganalyze/pg_query_go/v6"

// unsafeElement judges an element, or a slice, of an array or of jsonb. A field of a row is
// a function, where the row has no column of that name.
func (j *job) unsafeElement(n *pg.A_Indirection, s scope) (string, error) {
	for _, i := range n.Indirection {
		at := i.GetAIndices()
		if at == nil {
			return "it contains a field of a row", nil
		}
		if why, err := j.unsafeList([]*pg.Node{at.Lidx, at.Uidx}, "N", s); why != "" || err != nil {
			return why, err
		}
	}
	return j.unsafe(n.Arg, "", s)
}

// describe names what an expression is not known for.
func describe(n *pg.Node) string {
	switch {
	case n.GetSubLink() != nil:
		return "a subquery"
	case n.GetSetToDefault() != nil:
		return "DEFAULT"
	case n.GetCurrentOfExpr() != nil:
		return "WHERE CURRENT OF"
	case n.GetRowExpr() != nil:
		return "a row constructor"
	case n.GetCollateClause() != nil:
		return "COLLATE"
	case n.GetMultiAssignRef() != nil:
		return "an assignment of several columns"
	}
	return "an expression of a kind that is not known"
}
