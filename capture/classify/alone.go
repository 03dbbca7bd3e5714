package classify

import (
	"regexp"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// alone tells commands that do not run in a transaction block as they do outside of
// one: the server refuses them there, or keeps their COMMIT from them.
func alone(n *pg.Node) bool {
	switch s := n.Node.(type) {
	case *pg.Node_CallStmt, *pg.Node_CreateTableSpaceStmt, *pg.Node_DropTableSpaceStmt,
		*pg.Node_CreateSubscriptionStmt, *pg.Node_AlterSubscriptionStmt, *pg.Node_DropSubscriptionStmt:
		return true
	case *pg.Node_DoStmt:
		return mayCommit(s.DoStmt)
	case *pg.Node_IndexStmt:
		return s.IndexStmt.Concurrent
	case *pg.Node_DropStmt:
		return s.DropStmt.Concurrent
	case *pg.Node_AlterTableStmt:
		for _, c := range s.AlterTableStmt.Cmds {
			if c.GetAlterTableCmd().GetDef().GetPartitionCmd().GetConcurrent() {
				return true
			}
		}
	}
	return false
}

// commits are words without which a block of any procedural language ends no
// transaction; CALL and DO may do so for it.
var commits = regexp.MustCompile(`(?i)commit|rollback|call|\bdo\b`)

func mayCommit(st *pg.DoStmt) bool {
	for _, a := range st.Args {
		if d := a.GetDefElem(); d.GetDefname() == "as" && commits.MatchString(d.GetArg().GetString_().GetSval()) {
			return true
		}
	}
	return false
}
