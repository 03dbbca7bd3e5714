package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
)

// maxExamined bounds the expressions of one function that are looked at.
const maxExamined = 500

// expression judges one, wherever its names may be looked up.
func (b *body) expression(sql string) error {
	if b.examined++; b.examined > maxExamined {
		return errNotCalm
	}
	tree, err := parse(sql)
	if err != nil || len(tree.Stmts) != 1 || tree.Stmts[0].Stmt.GetSelectStmt() == nil {
		return errNotCalm
	}
	return walk(tree.Stmts[0].Stmt, b.judge)
}

func (b *body) judge(m proto.Message) (bool, error) {
	facts, err := b.facts()
	if err != nil {
		return false, err
	}
	switch n := m.(type) {
	case *pg.RangeVar, *pg.RangeFunction, *pg.InsertStmt, *pg.UpdateStmt, *pg.DeleteStmt, *pg.MergeStmt, *pg.IntoClause:
		return false, errNotCalm
	case *pg.FuncCall:
		_, fn := name(n.Funcname)
		if !b.calmCall(facts, fn) {
			return false, errNotCalm
		}
	case *pg.TypeCast:
		if _, last := name(n.TypeName.GetNames()); facts.UnsafeTypes[last] {
			return false, errNotCalm
		}
	case *pg.A_Expr:
		if _, op := name(n.Name); facts.Operators[op].Volatile {
			return false, errNotCalm
		}
	case *pg.SubLink:
		if _, op := name(n.OperName); op != "" && facts.Operators[op].Volatile {
			return false, errNotCalm
		}
	case *pg.ColumnRef:
		if len(n.Fields) > 2 {
			return false, errNotCalm // it may be a call
		}
	case *pg.A_Indirection:
		if slices.ContainsFunc(n.Indirection, func(f *pg.Node) bool { return f.GetString_() != nil }) {
			return false, errNotCalm
		}
	}
	return true, nil
}

// calmCall says that whatever function has the name, in whatever schema, changes nothing that
// is on backups.
func (b *body) calmCall(facts *catalog.Facts, fn string) bool {
	switch fn {
	case "nextval", "setval", "set_config":
		return false
	}
	worst := b.builtin(fn)
	for _, f := range facts.Functions[fn] {
		worst = max(worst, userFunction(f))
	}
	if facts.UnsafeTypes[fn] {
		return false
	}
	if worst == callUnknown {
		return b.c.catalog.Builtins().Types[fn] != 0 // a cast in the form of a call
	}
	return worst < callUnsafe
}
