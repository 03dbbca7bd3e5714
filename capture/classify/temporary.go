package classify

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// A session's temporary schema comes first when names of relations and types are
// looked up, and is on no backup: DDL that finds something there would, as text,
// mean the permanent object of the same name, or none.

// mentions are the names that a definition uses, as far as a temporary object may
// be meant.
type mentions struct {
	// subject is the type or function that it defines or changes; fresh says that it
	// makes it. Relations that it defines are define's to look up.
	schema, subject string
	fresh           bool
	// names are used without a schema; temporary is one that has the temporary one.
	names     []string
	temporary string
}

// temporaryNames looks for temporary objects in a definition. own says that it
// is about one, and so the session's own affair; a permanent definition that uses
// one is refused.
func (j *job) temporaryNames() (own bool, err error) {
	m := mentionsOf(j.stmt)
	if isTempSchema(m.schema) {
		return true, nil
	}
	if m.temporary == "" {
		if own, err = j.lookTemporary(&m); own || err != nil {
			return own, err
		}
	}
	if m.temporary != "" {
		return false, j.refuse(j.plan.Construct+" with temporary "+m.temporary, -1, "temporary objects are on no backup", "Use a permanent one, by its qualified name.")
	}
	return false, nil
}

// lookTemporary asks for names that the session's temporary schema has.
func (j *job) lookTemporary(m *mentions) (own bool, err error) {
	names := m.names
	if m.schema == "" && m.subject != "" && !m.fresh {
		names = append(names, m.subject)
	}
	for _, schema := range j.path {
		if !isTempSchema(schema) || len(names) == 0 {
			continue
		}
		j.uncacheable = true
		found, err := j.c.catalog.Holds(j.ctx, j.in.Querier, schema, names)
		if err != nil {
			return false, err
		}
		for _, name := range found {
			if m.schema == "" && name == m.subject && !m.fresh {
				return true, nil
			}
			m.temporary = name
		}
	}
	return false, nil
}

// makesTemporary says that the statement makes an object by a bare name, which is a
// temporary one where the temporary schema comes first in search_path.
func (j *job) makesTemporary() bool {
	if !j.context.temporaryFirst {
		return false
	}
	if rv := relationMade(j.stmt); rv != nil {
		return rv.Schemaname == ""
	}
	var m mentions
	m.about(j.stmt)
	return m.fresh && m.schema == "" && m.subject != ""
}

// relationMade is the relation that a statement makes.
func relationMade(n *pg.Node) *pg.RangeVar {
	switch s := n.GetNode().(type) {
	case *pg.Node_CreateStmt:
		return s.CreateStmt.Relation
	case *pg.Node_CreateSeqStmt:
		return s.CreateSeqStmt.Sequence
	case *pg.Node_ViewStmt:
		return s.ViewStmt.View
	case *pg.Node_CreateTableAsStmt:
		return s.CreateTableAsStmt.Into.GetRel()
	case *pg.Node_SelectStmt:
		return (*intoClause(s.SelectStmt)).GetRel()
	}
	return nil
}

func isTempSchema(s string) bool { return s == "pg_temp" || strings.HasPrefix(s, "pg_temp_") }

func mentionsOf(n *pg.Node) mentions {
	var m mentions
	m.about(n)
	_ = walk(n, func(part proto.Message) (bool, error) { // visit makes no errors
		switch p := part.(type) {
		case *pg.TypeName:
			names := p.Names
			if p.PctType && len(names) > 1 { // a column's
				names = names[:len(names)-1]
			}
			m.use(name(names))
		case *pg.ObjectWithArgs:
			m.calls(p.Objname)
		case *pg.CreateTrigStmt:
			m.calls(p.Funcname)
		case *pg.SelectStmt, *pg.InsertStmt, *pg.UpdateStmt, *pg.DeleteStmt:
			m.reads(part)
		case *pg.FuncCall:
			m.calls(p.Funcname)
			m.regclass(p)
		case *pg.TypeCast:
			if _, typ := name(p.TypeName.GetNames()); strings.HasPrefix(typ, "reg") {
				m.literal(p.Arg)
			}
		}
		return true, nil
	})
	return m
}

func (m *mentions) use(schema, name string) {
	switch {
	case name == "":
	case isTempSchema(schema):
		m.temporary = schema + "." + name
	case schema == "" && (name != m.subject || m.fresh):
		m.names = append(m.names, name)
	}
}

// calls takes a function, which is found in the temporary schema by its qualified
// name alone.
func (m *mentions) calls(function []*pg.Node) {
	if schema, fn := name(function); isTempSchema(schema) && schema+fn != m.schema+m.subject {
		m.temporary = schema + "." + fn
	}
}

// reads takes the relations of a query inside of a definition.
func (m *mentions) reads(query proto.Message) {
	_ = walk(query, func(part proto.Message) (bool, error) {
		if rv, ok := part.(*pg.RangeVar); ok {
			m.use(rv.Schemaname, rv.Relname)
		}
		return true, nil
	})
}

// regclass takes the sequence that a call names as a constant.
func (m *mentions) regclass(call *pg.FuncCall) {
	if _, fn := name(call.Funcname); fn != "nextval" && fn != "currval" && fn != "setval" || len(call.Args) == 0 {
		return
	}
	arg := call.Args[0]
	if c := arg.GetTypeCast(); c != nil {
		arg = c.Arg
	}
	m.literal(arg)
}

func (m *mentions) literal(arg *pg.Node) {
	text := arg.GetAConst().GetSval().GetSval()
	schema, rest, qualified := strings.Cut(text, ".")
	if !qualified {
		schema, rest = "", text
	}
	m.use(strings.Trim(schema, `"`), strings.Trim(rest, `"`))
}

// about names what a definition defines or changes.
func (m *mentions) about(n *pg.Node) {
	var object []*pg.Node
	switch s := n.GetNode().(type) {
	case *pg.Node_CreateEnumStmt:
		object, m.fresh = s.CreateEnumStmt.TypeName, true
	case *pg.Node_CreateRangeStmt:
		object, m.fresh = s.CreateRangeStmt.TypeName, true
	case *pg.Node_CreateDomainStmt:
		object, m.fresh = s.CreateDomainStmt.Domainname, true
	case *pg.Node_CreateFunctionStmt:
		object, m.fresh = s.CreateFunctionStmt.Funcname, true
	case *pg.Node_DefineStmt:
		object, m.fresh = s.DefineStmt.Defnames, true
	case *pg.Node_CompositeTypeStmt:
		m.schema, m.subject, m.fresh = s.CompositeTypeStmt.Typevar.GetSchemaname(), s.CompositeTypeStmt.Typevar.GetRelname(), true
		return
	case *pg.Node_AlterEnumStmt:
		object = s.AlterEnumStmt.TypeName
	case *pg.Node_AlterDomainStmt:
		object = s.AlterDomainStmt.TypeName
	case *pg.Node_AlterTypeStmt:
		object = s.AlterTypeStmt.TypeName
	case *pg.Node_AlterFunctionStmt:
		object = s.AlterFunctionStmt.Func.GetObjname()
	case *pg.Node_CreateStatsStmt:
		object, m.fresh = s.CreateStatsStmt.Defnames, true
	case *pg.Node_AlterStatsStmt:
		object = onlyTemporary(s.AlterStatsStmt.Defnames)
	case *pg.Node_CreateConversionStmt:
		object, m.fresh = s.CreateConversionStmt.ConversionName, true
	case *pg.Node_CreateOpClassStmt:
		object, m.fresh = s.CreateOpClassStmt.Opclassname, true
	case *pg.Node_CreateOpFamilyStmt:
		object, m.fresh = s.CreateOpFamilyStmt.Opfamilyname, true
	case *pg.Node_AlterOpFamilyStmt:
		object = onlyTemporary(s.AlterOpFamilyStmt.Opfamilyname)
	case *pg.Node_AlterTsdictionaryStmt:
		object = onlyTemporary(s.AlterTsdictionaryStmt.Dictname)
	case *pg.Node_AlterTsconfigurationStmt:
		object = onlyTemporary(s.AlterTsconfigurationStmt.Cfgname)
	case *pg.Node_DropStmt:
		object = m.drops(s.DropStmt)
	case *pg.Node_CommentStmt:
		object = named(s.CommentStmt.Objtype, s.CommentStmt.Object)
	case *pg.Node_RenameStmt:
		object = named(s.RenameStmt.RenameType, s.RenameStmt.Object)
	case *pg.Node_AlterOwnerStmt:
		object = named(s.AlterOwnerStmt.ObjectType, s.AlterOwnerStmt.Object)
	case *pg.Node_AlterObjectSchemaStmt:
		object = named(s.AlterObjectSchemaStmt.ObjectType, s.AlterObjectSchemaStmt.Object)
	}
	m.schema, m.subject = name(object)
}

// drops is the object that a DROP names. Of several, all are temporary or none may be.
func (m *mentions) drops(st *pg.DropStmt) []*pg.Node {
	if len(st.Objects) == 1 {
		return named(st.RemoveType, st.Objects[0])
	}
	var temporary []*pg.Node
	permanent := false
	for _, o := range st.Objects {
		object := named(st.RemoveType, o)
		if schema, last := name(object); isTempSchema(schema) {
			temporary, m.temporary = object, schema+"."+last
		} else {
			permanent = true
		}
	}
	if permanent {
		return nil
	}
	return temporary
}

// named is the name of a type; of other objects only where it says that it is
// temporary, since by its bare name none is found there.
func named(kind pg.ObjectType, object *pg.Node) []*pg.Node {
	switch kind {
	case pg.ObjectType_OBJECT_TYPE, pg.ObjectType_OBJECT_DOMAIN:
		if t := object.GetTypeName(); t != nil {
			return t.Names
		}
		return object.GetList().GetItems()
	case pg.ObjectType_OBJECT_FUNCTION, pg.ObjectType_OBJECT_PROCEDURE, pg.ObjectType_OBJECT_ROUTINE, pg.ObjectType_OBJECT_AGGREGATE, pg.ObjectType_OBJECT_OPERATOR:
		return onlyTemporary(object.GetObjectWithArgs().GetObjname())
	case pg.ObjectType_OBJECT_STATISTIC_EXT, pg.ObjectType_OBJECT_COLLATION, pg.ObjectType_OBJECT_CONVERSION, pg.ObjectType_OBJECT_OPCLASS, pg.ObjectType_OBJECT_OPFAMILY,
		pg.ObjectType_OBJECT_TSPARSER, pg.ObjectType_OBJECT_TSDICTIONARY, pg.ObjectType_OBJECT_TSTEMPLATE, pg.ObjectType_OBJECT_TSCONFIGURATION:
		return onlyTemporary(object.GetList().GetItems())
	}
	return nil
}

// onlyTemporary is a name where it has the temporary schema.
func onlyTemporary(names []*pg.Node) []*pg.Node {
	if schema, _ := name(names); isTempSchema(schema) {
		return names
	}
	return nil
}

// createExtension refuses one that would be made in the session's temporary schema.
func (j *job) createExtension(n *pg.Node, st *pg.CreateExtensionStmt) error {
	named := slices.ContainsFunc(st.Options, func(o *pg.Node) bool { return o.GetDefElem().GetDefname() == "schema" })
	if j.context.temporaryFirst && !named {
		return j.refuse(j.plan.Construct, -1, "the search_path begins with pg_temp, which is on no backup", "Name the extension's schema.")
	}
	if touches, ok := definition(n); ok {
		return j.define(touches...)
	}
	return j.unlisted(n)
}
