package classify

import pg "github.com/pganalyze/pg_query_go/v6"

// renames tells DDL that changes what a name, or a value, stands for in tables that it
// does not lock: schemas, types, labels of enums, attributes of composite types.
func renames(n *pg.Node) bool {
	switch s := n.Node.(type) {
	case *pg.Node_RenameStmt:
		switch s.RenameStmt.RenameType {
		case pg.ObjectType_OBJECT_SCHEMA, pg.ObjectType_OBJECT_TYPE, pg.ObjectType_OBJECT_DOMAIN, pg.ObjectType_OBJECT_ATTRIBUTE:
			return true
		}
	case *pg.Node_AlterObjectSchemaStmt:
		t := s.AlterObjectSchemaStmt.ObjectType
		return t == pg.ObjectType_OBJECT_TYPE || t == pg.ObjectType_OBJECT_DOMAIN || t == pg.ObjectType_OBJECT_EXTENSION
	case *pg.Node_AlterEnumStmt:
		return s.AlterEnumStmt.OldVal != "" // ADD VALUE leaves the others as they are
	case *pg.Node_AlterTableStmt:
		return s.AlterTableStmt.Objtype == pg.ObjectType_OBJECT_TYPE
	}
	return false
}

// replaces tells DDL that changes what functions and operators do, which locks nothing
// that uses them. CREATE OR REPLACE is conditional, too.
func replaces(n *pg.Node) bool {
	var t pg.ObjectType
	switch s := n.Node.(type) {
	case *pg.Node_AlterFunctionStmt, *pg.Node_AlterOperatorStmt:
		return true
	case *pg.Node_RenameStmt:
		t = s.RenameStmt.RenameType
	case *pg.Node_AlterObjectSchemaStmt:
		t = s.AlterObjectSchemaStmt.ObjectType
	}
	switch t {
	case pg.ObjectType_OBJECT_FUNCTION, pg.ObjectType_OBJECT_PROCEDURE, pg.ObjectType_OBJECT_ROUTINE, pg.ObjectType_OBJECT_AGGREGATE, pg.ObjectType_OBJECT_OPERATOR:
		return true
	}
	return false
}
