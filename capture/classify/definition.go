package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/internal/ddl"
)

// Definition says which relations a statement has to do with, for a worker whose target
// lacks some of them.
func Definition(sql string) (*ddl.Definition, error) {
	d := &ddl.Definition{}
	return d, defineAs(d, sql)
}

func defineAs(d *ddl.Definition, sql string) error {
	tree, err := single(sql)
	if err != nil {
		return err
	}
	n := tree.Stmts[0].Stmt
	if st := n.GetDoStmt(); st != nil {
		statements, err := definitionsIn(st, thereOrAnother)
		for i := 0; i < len(statements) && err == nil; i++ {
			err = defineAs(d, statements[i])
		}
		return err
	}
	_ = walk(n, func(m proto.Message) (bool, error) { // visit makes no errors
		switch s := m.(type) {
		case *pg.RangeVar:
			d.Names = append(d.Names, relation(s))
		case *pg.TypeName:
			if r, ok := rowType(s); ok {
				d.Names = append(d.Names, r)
			}
		}
		return true, nil
	})
	switch s := n.Node.(type) {
	case *pg.Node_DropStmt:
		defineDrop(d, s.DropStmt)
	case *pg.Node_CreateStmt:
		defineTable(d, s.CreateStmt)
	case *pg.Node_AlterTableStmt:
		defineChange(d, s.AlterTableStmt)
	case *pg.Node_RenameStmt:
		defineRename(d, s.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		if s.AlterObjectSchemaStmt.Relation != nil {
			d.Subject = relation(s.AlterObjectSchemaStmt.Relation)
			d.Renamed = &ddl.Relation{Schema: s.AlterObjectSchemaStmt.Newschema}
		}
	}
	return nil
}

func relation(rv *pg.RangeVar) ddl.Relation {
	return ddl.Relation{Schema: rv.GetSchemaname(), Name: rv.GetRelname()}
}

// rowType is the relation whose rows a type may be, or that %TYPE names a column of.
func rowType(t *pg.TypeName) (ddl.Relation, bool) {
	parts := t.GetNames()
	if t.GetPctType() && len(parts) > 1 {
		parts = parts[:len(parts)-1]
	}
	schema, last := name(parts)
	return ddl.Relation{Schema: schema, Name: last}, last != "" && schema != "pg_catalog"
}

// dropped are the kinds of relations as DROP names them.
var dropped = map[pg.ObjectType]string{
	pg.ObjectType_OBJECT_TABLE: "TABLE", pg.ObjectType_OBJECT_VIEW: "VIEW", pg.ObjectType_OBJECT_MATVIEW: "MATERIALIZED VIEW",
	pg.ObjectType_OBJECT_SEQUENCE: "SEQUENCE", pg.ObjectType_OBJECT_INDEX: "INDEX",
}

func defineDrop(d *ddl.Definition, st *pg.DropStmt) {
	for _, o := range st.Objects {
		if parts := o.GetList().GetItems(); slices.Contains(relations, st.RemoveType) {
			d.Dropped = append(d.Dropped, relation(rangeVar(parts)))
		}
	}
	d.Names = append(d.Names, d.Dropped...)
	d.Drop, d.Cascade = dropped[st.RemoveType], st.Behavior == pg.DropBehavior_DROP_CASCADE
}

func defineTable(d *ddl.Definition, st *pg.CreateStmt) {
	for _, parent := range st.InhRelations {
		d.From = append(d.From, relation(parent.GetRangeVar()))
	}
	if r, ok := rowType(st.OfTypename); ok {
		d.From = append(d.From, r)
	}
	for _, e := range st.TableElts {
		if like := e.GetTableLikeClause(); like != nil {
			d.From = append(d.From, relation(like.Relation))
		}
		if r, ok := rowType(e.GetColumnDef().GetTypeName()); ok {
			d.From = append(d.From, r)
		}
	}
}

func defineChange(d *ddl.Definition, st *pg.AlterTableStmt) {
	for _, c := range st.Cmds {
		cmd := c.GetAlterTableCmd()
		switch cmd.Subtype {
		case pg.AlterTableType_AT_AttachPartition:
			part := relation(cmd.GetDef().GetPartitionCmd().GetName())
			d.From, d.Joined = append(d.From, part), append(d.Joined, part)
		case pg.AlterTableType_AT_AddInherit:
			d.From = append(d.From, relation(cmd.GetDef().GetRangeVar()))
		case pg.AlterTableType_AT_AddOf, pg.AlterTableType_AT_AddColumn, pg.AlterTableType_AT_AlterColumnType:
			t := cmd.GetDef().GetTypeName()
			if t == nil {
				t = cmd.GetDef().GetColumnDef().GetTypeName()
			}
			if r, ok := rowType(t); ok {
				d.From = append(d.From, r)
			}
		}
	}
}

func defineRename(d *ddl.Definition, st *pg.RenameStmt) {
	switch {
	case st.RenameType == pg.ObjectType_OBJECT_SCHEMA:
		d.Moved = [2]string{st.Subname, st.Newname}
	case slices.Contains(relations, st.RenameType), st.RenameType == pg.ObjectType_OBJECT_FOREIGN_TABLE:
		d.Subject, d.Renamed = relation(st.Relation), &ddl.Relation{Name: st.Newname}
	}
}
