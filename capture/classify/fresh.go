package classify

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// Where the search_path begins with pg_temp, what is made under a bare name is the
// session's own, as CREATE TEMP would make it: as text it would become a permanent
// object of the backups.

// makesTemporary tells whether DDL makes its object in the session's temporary schema
// for want of another.
func (j *job) makesTemporary(n *pg.Node) (bool, error) {
	if !j.context.temporaryFirst {
		return false, nil
	}
	if st := n.GetCreateExtensionStmt(); st != nil {
		for _, option := range st.Options {
			if option.GetDefElem().GetDefname() == "schema" {
				return false, nil
			}
		}
		return false, j.refuse(j.plan.Construct, -1, "the search_path begins with pg_temp, which is on no backup", "Name the extension's schema.")
	}
	if rv := madeRelation(n); rv != nil {
		return rv.Schemaname == "", nil
	}
	var m mentions
	m.about(n)
	return m.fresh && m.schema == "" && m.subject != "", nil
}

// madeRelation is the relation that DDL makes in the first schema of the path.
func madeRelation(n *pg.Node) *pg.RangeVar {
	switch s := n.Node.(type) {
	case *pg.Node_CreateStmt:
		return s.CreateStmt.Relation
	case *pg.Node_CreateTableAsStmt: // WITH NO DATA, or a materialized view, which the server refuses there
		return s.CreateTableAsStmt.Into.Rel
	case *pg.Node_ViewStmt:
		return s.ViewStmt.View
	case *pg.Node_CreateSeqStmt:
		return s.CreateSeqStmt.Sequence
	}
	return nil
}
