package classify

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// effects is what a statement sets off beside the rows of its own target.
type effects struct {
	// draws are the sequences that it may draw from.
	draws []SequenceRef
	// setval are its calls of setval.
	setval []*pg.FuncCall
	// context: it may change session settings (set_config).
	context bool
	// subqueries: it reads more than its target's row.
	subqueries bool
	// maxParam is the highest parameter number.
	maxParam int
}

// scan walks a part of a statement and adds its effects to the job's; a part that
// may write elsewhere is an error (*Refusal).
func (j *job) scan(parts ...proto.Message) error {
	if err := j.sight(); err != nil {
		return err
	}
	for _, p := range parts {
		if err := walk(p, j.visit); err != nil {
			return err
		}
	}
	return nil
}

// sight notes which names of the statement are those of its table expressions, which hide
// relations.
func (j *job) sight() error {
	// There is no table expression without its keyword.
	if j.local != nil || len(j.outer) == 0 && !mayHaveWith(j.located) {
		return nil
	}
	j.local = map[*pg.RangeVar]bool{}
	return eachRelation(j.stmt, j.outer, func(rv *pg.RangeVar, local bool) error {
		if local {
			j.local[rv] = true
		}
		return nil
	})
}

// mayHaveWith says that a text holds the letters of WITH.
func mayHaveWith(sql string) bool {
	for i := 0; i+4 <= len(sql); i++ {
		if sql[i]|0x20 == 'w' && strings.EqualFold(sql[i:i+4], "with") {
			return true
		}
	}
	return false
}

// walk calls visit for a message and all below it, parents first and in the order
// of the grammar's fields, so that of two reasons it is always the same one that is
// told; visit says whether to go below.
func walk(m proto.Message, visit func(proto.Message) (bool, error)) error {
	if m == nil || !m.ProtoReflect().IsValid() {
		return nil
	}
	deeper, err := visit(m)
	if err != nil || !deeper {
		return err
	}
	r := m.ProtoReflect()
	kinds := r.Descriptor()
	for i := range kinds.Oneofs().Len() {
		if f := r.WhichOneof(kinds.Oneofs().Get(i)); f != nil && err == nil {
			err = walkField(r, f, visit)
		}
	}
	if kinds.Oneofs().Len() > 0 {
		return err // a Node is one of some 270; no message stands beside a oneof
	}
	for i := range kinds.Fields().Len() {
		if f := kinds.Fields().Get(i); err == nil && f.Kind() == protoreflect.MessageKind && r.Has(f) {
			err = walkField(r, f, visit)
		}
	}
	return err
}

func walkField(r protoreflect.Message, f protoreflect.FieldDescriptor, visit func(proto.Message) (bool, error)) error {
	if f.Kind() != protoreflect.MessageKind {
		return nil
	}
	if !f.IsList() {
		return walk(r.Get(f).Message().Interface(), visit)
	}
	list := r.Get(f).List()
	for i := range list.Len() {
		if err := walk(list.Get(i).Message().Interface(), visit); err != nil {
			return err
		}
	}
	return nil
}

// visit judges one node of a statement.
func (j *job) visit(m proto.Message) (bool, error) {
	switch n := m.(type) {
	case *pg.FuncCall:
		return true, j.visitCall(n)
	case *pg.InsertStmt, *pg.UpdateStmt, *pg.DeleteStmt, *pg.MergeStmt:
		return false, j.notApart("it changes several tables in one statement whose rows cannot be told apart")
	case *pg.IntoClause:
		return false, j.refuse(constructInto, -1, "it is a part of another statement", "Run it on its own.")
	case *pg.TypeCast:
		return true, j.castTo(n.TypeName, n.Location)
	case *pg.RangeTableFuncCol:
		return true, j.castTo(n.TypeName, n.Location)
	case *pg.RangeFunction:
		for _, c := range n.Coldeflist {
			if err := j.castTo(c.GetColumnDef().GetTypeName(), -1); err != nil {
				return false, err
			}
		}
	case *pg.SubLink:
		j.eff.subqueries = true
		return true, j.operator(n.OperName)
	case *pg.A_Expr:
		return true, j.operator(n.Name)
	case *pg.SortBy:
		return true, j.operator(n.UseOp)
	case *pg.ParamRef:
		j.eff.maxParam = max(j.eff.maxParam, int(n.Number))
	case *pg.RangeVar:
		return true, j.reads(n)
	case *pg.ColumnRef:
		if len(n.Fields) > 1 {
			return true, j.attribute(n.Fields[len(n.Fields)-1], n.Location)
		}
	case *pg.A_Indirection:
		for _, f := range n.Indirection {
			if err := j.attribute(f, -1); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func (j *job) visitCall(n *pg.FuncCall) error {
	schema, fn := name(n.Funcname)
	shadowed, err := j.shadowed(schema, fn)
	if err != nil {
		return err
	}
	if !shadowed && (schema == "" || schema == "pg_catalog") {
		switch fn {
		case "nextval":
			return j.draw(n)
		case "setval":
			j.eff.setval = append(j.eff.setval, n)
			return nil
		case "set_config":
			j.eff.context = true
			return j.visitSetConfig(n)
		}
	}
	v, err := j.call(schema, fn)
	if err != nil {
		return err
	}
	switch v {
	case callUnknown:
		if schema == "" && len(n.Args) == 1 && j.columnOfRow(fn) {
			return nil
		}
		return fmt.Errorf("function %s: %w", fn, errMustFail)
	case callUnsafe:
		return j.unsafeCall(fn, n.Location)
	}
	return nil
}

// columnOfRow says that a call may be column(row), which is row.column: a relation of
// the statement has such a column.
func (j *job) columnOfRow(column string) bool {
	found := false
	_ = walk(j.stmt, func(m proto.Message) (bool, error) { // what is no relation has no columns
		if rv, ok := m.(*pg.RangeVar); ok && !found {
			t, err := j.lookup(rv.Schemaname, rv.Relname)
			found = err == nil && t.Column(column) != nil
		}
		return !found, nil
	})
	return found
}

func (j *job) unsafeCall(fn string, location int32) error {
	if strings.HasPrefix(fn, "lo_") || fn == "loread" || fn == "lowrite" {
		return j.refuse("large object function "+fn, location, "large objects are numbered by the server", "Keep the data in a bytea column.")
	}
	return j.refuse("function "+fn, location, "it is volatile and may write what opmux cannot see",
		"Declare it STABLE or IMMUTABLE if it writes nothing and does not call set_config, or run its statements one by one.").all()
}

// castTo judges a type that values are made of, or checked for.
func (j *job) castTo(t *pg.TypeName, location int32) error {
	facts, err := j.facts()
	if err != nil {
		return err
	}
	if _, last := name(t.GetNames()); facts.UnsafeTypes[last] {
		return j.refuse("a cast to "+last, location, "its check, or the cast, calls a volatile function that may write what opmux cannot see",
			"Declare that function STABLE or IMMUTABLE if it writes nothing.").all()
	}
	return nil
}

// attribute judges rel.field, which calls a function of that name if the
// relation has no such column.
func (j *job) attribute(field *pg.Node, location int32) error {
	s := field.GetString_()
	if s == nil {
		return nil
	}
	facts, err := j.facts()
	if err != nil {
		return err
	}
	for _, f := range facts.Functions[s.Sval] {
		if f.Attribute && slices.Contains(j.path, f.Schema) && userFunction(f) == callUnsafe {
			return j.unsafeCall(s.Sval, location)
		}
	}
	return nil
}

func (j *job) operator(list []*pg.Node) error {
	if len(list) == 0 {
		return nil
	}
	facts, err := j.facts()
	if err != nil {
		return err
	}
	if _, op := name(list); facts.Operators[op].Volatile {
		return j.refuse("operator "+op, -1, "its function is volatile and may write what opmux cannot see", "Declare its function STABLE or IMMUTABLE if it writes nothing.").all()
	}
	return nil
}

// reads judges a relation that is read: views and row security policies run
// functions that the statement does not name.
func (j *job) reads(rv *pg.RangeVar) error {
	if j.local[rv] {
		return nil
	}
	facts, err := j.facts()
	if err != nil || len(facts.Views) == 0 && len(facts.UnsafePolicies) == 0 {
		return err
	}
	schemas := j.path
	if rv.Schemaname != "" {
		schemas = []string{rv.Schemaname}
	}
	for _, s := range schemas {
		qualified := s + "." + rv.Relname
		if facts.UnsafePolicies[qualified] {
			return j.refuse("relation "+qualified, rv.Location, "its row security policy calls a volatile function", "Declare the function STABLE if it writes nothing.").all()
		}
		if facts.Views[qualified] {
			return j.view(s, rv.Relname)
		}
	}
	return nil
}

func (j *job) view(schema, name string) error {
	qualified := schema + "." + name
	if j.views[qualified] {
		return nil
	}
	j.views[qualified] = true
	plain, err := j.c.catalog.PlainView(j.ctx, j.in.Querier, schema, name)
	if err != nil {
		return fmt.Errorf("look up view %s: %w", qualified, err)
	}
	if plain {
		return nil
	}
	def, err := j.c.catalog.Definition(j.ctx, j.in.Querier, schema, name)
	if err != nil {
		return fmt.Errorf("look up view %s: %w", qualified, err)
	}
	tree, err := parse(def)
	if err != nil || len(tree.Stmts) != 1 {
		return j.refuse("view "+qualified, -1, "its definition cannot be parsed", "Read the tables that it reads.")
	}
	inner := &job{ctx: j.ctx, c: j.c, in: j.in, located: def, plan: j.plan, path: j.path, loaded: j.loaded, views: j.views, stmt: tree.Stmts[0].Stmt}
	if !slices.Contains(inner.path, "pg_catalog") {
		inner.path = append([]string{"pg_catalog"}, inner.path...)
	}
	err = inner.scan(tree.Stmts[0].Stmt)
	if err != nil {
		var r *Refusal
		if asRefusal(err, &r) {
			return j.refuse("view "+qualified, -1, "it calls "+r.Construct+": "+r.Reason, r.Hint).all()
		}
		return err
	}
	j.eff.draws = append(j.eff.draws, inner.eff.draws...)
	j.eff.setval = append(j.eff.setval, inner.eff.setval...)
	j.eff.context = j.eff.context || inner.eff.context
	return nil
}
