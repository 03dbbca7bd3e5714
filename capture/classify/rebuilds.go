package classify

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// rebuilds tells which indexes a maintenance command builds anew.
func rebuilds(n *pg.Node) *Rebuilds {
	switch st := n.Node.(type) {
	case *pg.Node_ReindexStmt:
		name := st.ReindexStmt.Relation.GetRelname()
		switch st.ReindexStmt.Kind {
		case pg.ReindexObjectType_REINDEX_OBJECT_SYSTEM:
			return nil
		case pg.ReindexObjectType_REINDEX_OBJECT_INDEX:
			return &Rebuilds{Index: name}
		}
		return &Rebuilds{Table: name}
	case *pg.Node_ClusterStmt:
		return &Rebuilds{Table: st.ClusterStmt.Relation.GetRelname()}
	case *pg.Node_VacuumStmt:
		if !full(st.VacuumStmt) {
			return nil
		}
		if rels := st.VacuumStmt.Rels; len(rels) == 1 {
			return &Rebuilds{Table: rels[0].GetVacuumRelation().GetRelation().GetRelname()}
		}
		return &Rebuilds{}
	}
	return nil
}

// full tells VACUUM FULL. An argument that is not known to be false counts.
func full(st *pg.VacuumStmt) bool {
	for _, o := range st.Options {
		d := o.GetDefElem()
		if d.GetDefname() != "full" {
			continue
		}
		arg := d.GetArg()
		word := strings.ToLower(arg.GetString_().GetSval())
		off := arg.GetInteger() != nil && arg.GetInteger().Ival == 0 || word == "false" || word == "off" || arg.GetBoolean() != nil && !arg.GetBoolean().Boolval
		return !off
	}
	return false
}
