package classify

import (
	"maps"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// eachRelation calls visit for each relation that a statement names; local says that the
// name is of a table expression that is in sight there, and not of the catalogue. Such has its name
// for what stands behind it, and before it only WITH RECURSIVE sees it: in WITH t AS (SELECT * FROM t) the
// inner t is the catalogue's. outer are those that are in sight around the statement.
func eachRelation(m proto.Message, outer map[string]bool, visit func(rv *pg.RangeVar, local bool) error) error {
	return walk(m, func(n proto.Message) (bool, error) {
		if rv, ok := n.(*pg.RangeVar); ok {
			return true, visit(rv, rv.Schemaname == "" && outer[rv.Relname])
		}
		s, ok := n.(interface{ GetWithClause() *pg.WithClause })
		if !ok {
			return true, nil
		}
		inner, err := eachRelationOfWith(s.GetWithClause(), outer, visit)
		if err != nil {
			return false, err
		}
		r := n.ProtoReflect()
		fields := r.Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			if f.Kind() != protoreflect.MessageKind || !r.Has(f) || f.Name() == "with_clause" {
				continue
			}
			in := inner
			if f.Name() == "relation" {
				in = nil // what is written is never a table expression
			}
			if err := eachRelationOfField(r, f, in, visit); err != nil {
				return false, err
			}
		}
		return false, nil
	})
}

func eachRelationOfField(r protoreflect.Message, f protoreflect.FieldDescriptor, in map[string]bool, visit func(rv *pg.RangeVar, local bool) error) error {
	if !f.IsList() {
		return eachRelation(r.Get(f).Message().Interface(), in, visit)
	}
	list := r.Get(f).List()
	for i := range list.Len() {
		if err := eachRelation(list.Get(i).Message().Interface(), in, visit); err != nil {
			return err
		}
	}
	return nil
}

// eachRelationOfWith is eachRelation of the table expressions themselves; it returns what is in sight behind them.
func eachRelationOfWith(with *pg.WithClause, outer map[string]bool, visit func(rv *pg.RangeVar, local bool) error) (map[string]bool, error) {
	if with == nil {
		return outer, nil
	}
	inner := map[string]bool{}
	maps.Copy(inner, outer)
	for _, c := range with.Ctes {
		if with.Recursive {
			inner[c.GetCommonTableExpr().GetCtename()] = true
		}
	}
	for _, c := range with.Ctes {
		if err := eachRelation(c.GetCommonTableExpr().GetCtequery(), inner, visit); err != nil {
			return nil, err
		}
		inner[c.GetCommonTableExpr().GetCtename()] = true
	}
	return inner, nil
}
