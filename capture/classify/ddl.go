package classify

import (
	"errors"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// definitions are the statements that only define objects: they travel as text.
// touches are the relations that they name, to tell temporary ones.
func definition(n *pg.Node) (touches []*pg.RangeVar, ok bool) {
	switch s := n.Node.(type) {
	case *pg.Node_CreateSeqStmt:
		return []*pg.RangeVar{s.CreateSeqStmt.Sequence}, true
	case *pg.Node_AlterSeqStmt:
		return []*pg.RangeVar{s.AlterSeqStmt.Sequence}, true
	case *pg.Node_CreateTrigStmt:
		return []*pg.RangeVar{s.CreateTrigStmt.Relation}, true
	case *pg.Node_RuleStmt:
		return []*pg.RangeVar{s.RuleStmt.Relation}, true
	case *pg.Node_CreatePolicyStmt:
		return []*pg.RangeVar{s.CreatePolicyStmt.Table}, true
	case *pg.Node_AlterPolicyStmt:
		return []*pg.RangeVar{s.AlterPolicyStmt.Table}, true
	case *pg.Node_CompositeTypeStmt:
		return nil, true
	case *pg.Node_CreateStatsStmt:
		for _, r := range s.CreateStatsStmt.Relations {
			touches = append(touches, r.GetRangeVar())
		}
		return touches, true
	case *pg.Node_CreateEnumStmt, *pg.Node_AlterEnumStmt, *pg.Node_CreateRangeStmt, *pg.Node_CreateDomainStmt, *pg.Node_AlterDomainStmt,
		*pg.Node_CreateFunctionStmt, *pg.Node_AlterFunctionStmt, *pg.Node_DefineStmt, *pg.Node_CreateExtensionStmt, *pg.Node_AlterExtensionStmt,
		*pg.Node_AlterExtensionContentsStmt, *pg.Node_CreateCastStmt, *pg.Node_CreateConversionStmt, *pg.Node_AlterStatsStmt,
		*pg.Node_CreateOpClassStmt, *pg.Node_CreateOpFamilyStmt, *pg.Node_AlterOpFamilyStmt, *pg.Node_AlterOperatorStmt, *pg.Node_AlterTypeStmt,
		*pg.Node_AlterObjectDependsStmt, *pg.Node_AlterCollationStmt, *pg.Node_CreateTransformStmt, *pg.Node_AlterTsdictionaryStmt,
		*pg.Node_AlterTsconfigurationStmt, *pg.Node_CreatePlangStmt:
		return nil, true
	}
	return nil, false
}

// ddl plans statements that define objects.
func (j *job) ddl(n *pg.Node) error {
	if err := j.defines(n); err != nil {
		return err
	}
	return j.mayReadTimes(n)
}

func (j *job) defines(n *pg.Node) error {
	j.plan.CatalogChanges = true
	j.plan.Renames, j.plan.Replaces = renames(n), replaces(n)
	if st := n.GetCreateTableAsStmt(); st != nil && makesTable(st) && !j.makesTemporary() {
		return j.makesOf(st.Into, st.Query)
	}
	if err := j.sameEverywhere(n); err != nil {
		return err
	}
	if err := j.behind(n); err != nil {
		return err
	}
	switch s := n.Node.(type) {
	case *pg.Node_CreateExtensionStmt:
		return j.createExtension(n, s.CreateExtensionStmt)
	case *pg.Node_CreateStmt:
		return j.createTable(s.CreateStmt)
	case *pg.Node_CreateTableAsStmt:
		return j.createTableAs(s.CreateTableAsStmt)
	case *pg.Node_RefreshMatViewStmt:
		return j.refresh(s.RefreshMatViewStmt)
	case *pg.Node_IndexStmt:
		return j.createIndex(s.IndexStmt)
	case *pg.Node_AlterTableStmt:
		return j.alterTable(n, s.AlterTableStmt)
	case *pg.Node_ViewStmt:
		return j.createView(s.ViewStmt)
	case *pg.Node_RenameStmt:
		return j.rename(s.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		if s.AlterObjectSchemaStmt.Relation != nil {
			return j.define(s.AlterObjectSchemaStmt.Relation)
		}
		return j.define()
	case *pg.Node_AlterOwnerStmt:
		return j.alterOwner(s.AlterOwnerStmt)
	case *pg.Node_DoStmt:
		if defines, err := j.defineInBlock(s.DoStmt); defines || err != nil {
			return err
		}
		return j.unlisted(n)
	case *pg.Node_DropStmt:
		return j.drop(s.DropStmt)
	case *pg.Node_CommentStmt:
		return j.comment(s.CommentStmt)
	case *pg.Node_CreateSchemaStmt:
		if s.CreateSchemaStmt.Schemaname == "opmux" {
			return j.never("CREATE SCHEMA opmux", -1, "the name is opmux's own", "")
		}
		return j.define()
	}
	if err := j.alterDomain(n.GetAlterDomainStmt()); err != nil {
		return err
	}
	if touches, ok := definition(n); ok {
		return j.define(touches...)
	}
	return j.unlisted(n)
}

// unlisted refuses what has no place in the stream, with the way out where there
// is one.
func (j *job) unlisted(n *pg.Node) error {
	name := construct(n)
	switch s := n.Node.(type) {
	case *pg.Node_DoStmt, *pg.Node_CallStmt:
		return j.refuse(name, -1, "what a procedure does is not seen by opmux", "Run its statements one by one.")
	case *pg.Node_GrantStmt, *pg.Node_GrantRoleStmt, *pg.Node_CreateRoleStmt, *pg.Node_AlterRoleStmt, *pg.Node_AlterRoleSetStmt, *pg.Node_DropRoleStmt,
		*pg.Node_AlterDefaultPrivilegesStmt, *pg.Node_ReassignOwnedStmt, *pg.Node_DropOwnedStmt:
		return j.roles(n)
	case *pg.Node_CreateEventTrigStmt, *pg.Node_AlterEventTrigStmt:
		return j.never(name, -1, "event triggers change what DDL does", "Run it on each server directly, if it writes nothing.")
	case *pg.Node_AlterDatabaseStmt, *pg.Node_AlterDatabaseSetStmt, *pg.Node_AlterDatabaseRefreshCollStmt, *pg.Node_CreateTableSpaceStmt,
		*pg.Node_DropTableSpaceStmt, *pg.Node_AlterTableSpaceOptionsStmt, *pg.Node_CreatePublicationStmt, *pg.Node_AlterPublicationStmt,
		*pg.Node_DropSubscriptionStmt:
		return j.refuse(name, -1, "it is about this server and not about its data", "Run it on each server that needs it, directly.").none()
	case *pg.Node_CreateSubscriptionStmt, *pg.Node_AlterSubscriptionStmt:
		return j.refuse(name, -1, "its rows come from another server, unseen by opmux", "Let the other server be a source of opmux.").all()
	case *pg.Node_CreateForeignTableStmt:
		return j.createForeign(s.CreateForeignTableStmt.BaseStmt)
	case *pg.Node_CreateFdwStmt, *pg.Node_AlterFdwStmt, *pg.Node_CreateForeignServerStmt, *pg.Node_AlterForeignServerStmt,
		*pg.Node_CreateUserMappingStmt, *pg.Node_AlterUserMappingStmt, *pg.Node_DropUserMappingStmt, *pg.Node_ImportForeignSchemaStmt:
		return j.refuse(name, -1, "foreign data is on another server", "Run it on each server that needs it, directly.").none()
	}
	return j.refuse(name, -1, "opmux does not know how to carry it", "Run it on each server directly while no application is connected.")
}

// define plans DDL that travels as text, in the open. Relations that are
// temporary make it the session's own affair.
func (j *job) define(touches ...*pg.RangeVar) error {
	temp, durable := 0, 0
	for _, rv := range touches {
		if rv == nil {
			continue
		}
		t, err := j.touched(rv)
		switch {
		case err != nil:
			return err
		case isTempName(rv) || t != nil && t.Temp:
			temp++
		default:
			durable++
		}
	}
	if temp > 0 && durable > 0 {
		return j.refuse(j.plan.Construct+" on temporary and other tables", -1, "temporary tables are on no backup", "Name them in statements of their own.")
	}
	j.plan.ClientColumns = -1
	own := temp > 0 || j.makesTemporary()
	if !own {
		var err error
		if own, err = j.temporaryNames(); err != nil {
			return err
		}
	}
	if own {
		j.plan.Reason, j.plan.Tables = "temporary object", nil
		j.uncacheable = true
		return nil
	}
	p := j.plan
	p.Kind, p.Class, p.Reason, p.Barrier = DDL, event.ClassText, "DDL", true
	p.frozen = frozen{kind: freezeDDL, text: j.body}
	return nil
}

// touched looks up a relation that DDL names; nil where there is none (yet).
func (j *job) touched(rv *pg.RangeVar) (*catalog.Table, error) {
	if rv.Schemaname == "opmux" {
		return nil, j.never(j.plan.Construct+" in schema opmux", rv.Location, "schema opmux is opmux's own", "")
	}
	t, err := j.lookup(rv.Schemaname, rv.Relname)
	if errors.Is(err, errMustFail) {
		if !isTempName(rv) {
			j.plan.Tables = append(j.plan.Tables, qualify(rv, j.path))
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if t.Schema == "opmux" {
		return nil, j.never(j.plan.Construct+" on "+t.Qualified(), rv.Location, "schema opmux is opmux's own", "")
	}
	if !t.Temp {
		j.plan.Tables = append(j.plan.Tables, t.Qualified())
	}
	j.plan.TableRefs = append(j.plan.TableRefs, t)
	return t, nil
}

func isTempName(rv *pg.RangeVar) bool {
	return rv.Relpersistence == "t" || rv.Schemaname == "pg_temp" || strings.HasPrefix(rv.Schemaname, "pg_temp_")
}

// qualify is the name that a relation to be created will have.
func qualify(rv *pg.RangeVar, path []string) string {
	if rv.Schemaname != "" {
		return rv.Schemaname + "." + rv.Relname
	}
	for _, s := range path {
		if s != "pg_catalog" && !strings.HasPrefix(s, "pg_temp_") {
			return s + "." + rv.Relname
		}
	}
	return rv.Relname
}

// createTable plans CREATE TABLE, which makes no rows. The new name is not looked
// up: a temporary table of the same name does not matter to it.
func (j *job) createTable(st *pg.CreateStmt) error {
	if isTempName(st.Relation) {
		return j.define(st.Relation)
	}
	if j.makesTemporary() {
		return j.define()
	}
	if st.Relation.Schemaname == "opmux" {
		return j.never("CREATE TABLE in schema opmux", st.Relation.Location, "schema opmux is opmux's own", "")
	}
	parents := make([]*pg.RangeVar, 0, len(st.InhRelations))
	for _, r := range st.InhRelations {
		parents = append(parents, r.GetRangeVar())
	}
	var copied []string // tables whose indexes are
	for _, e := range st.TableElts {
		if l := e.GetTableLikeClause(); l != nil {
			if l.Options&likeIndexes != 0 {
				copied = append(copied, l.Relation.Relname)
			}
			if t, err := j.touched(l.Relation); err != nil {
				return err
			} else if t != nil && t.Temp {
				return j.refuse("CREATE TABLE LIKE a temporary table", l.Relation.Location, "temporary tables are on no backup", "Name the columns.")
			}
		}
	}
	if err := j.define(parents...); err != nil {
		return err
	}
	j.plan.Tables = []string{qualify(st.Relation, j.path)}
	switch {
	case len(copied) == 1:
		j.plan.Rebuilds = &Rebuilds{Table: copied[0], Copies: true}
	case len(copied) > 1:
		j.plan.Rebuilds = &Rebuilds{Copies: true}
	}
	return nil
}

// likeIndexes is the server's bit for LIKE … INCLUDING INDEXES, in ALL too.
const likeIndexes = 1 << 6

func (j *job) createTableAs(st *pg.CreateTableAsStmt) error {
	rel := st.Into.Rel
	if err := j.scanQuery(st.Query); err != nil {
		return err
	}
	if !isTempName(rel) && !j.makesTemporary() {
		if err := j.define(); err != nil {
			return err
		}
		j.plan.Tables = []string{qualify(rel, j.path)}
		if st.Into.SkipData {
			return nil
		}
		return j.populates(rel, st.Query)
	}
	j.uncacheable, j.plan.Reason, j.plan.ClientColumns = true, "temporary table", -1
	return j.finishRead()
}

func (j *job) createIndex(st *pg.IndexStmt) error {
	if err := j.define(st.Relation); err != nil {
		return err
	}
	for _, part := range append(nodes(st.IndexParams), st.WhereClause) {
		if err := j.computesRows("an index", part); err != nil {
			return err
		}
	}
	if len(j.plan.TableRefs) > 0 {
		j.plan.Apart = []string{j.plan.TableRefs[0].Qualified()}
	}
	switch {
	case st.IfNotExists:
		j.plan.Rebuilds = &Rebuilds{Index: st.Idxname}
	case st.Idxname == "":
		// The server finds a name that is free; on the primary an invalid index has one.
		j.plan.Rebuilds = &Rebuilds{Table: st.Relation.Relname}
	}
	if st.Concurrent && j.plan.Kind == DDL {
		j.plan.Kind, j.plan.Reason, j.plan.Name = Standalone, "DDL outside of transactions", st.Idxname
	}
	return nil
}

// createView plans CREATE VIEW; one that reads a temporary table becomes temporary.
func (j *job) createView(st *pg.ViewStmt) error {
	if st.View.Schemaname == "opmux" {
		return j.never("CREATE VIEW in schema opmux", st.View.Location, "schema opmux is opmux's own", "")
	}
	temp := isTempName(st.View) || j.makesTemporary()
	err := eachRelation(st.Query, nil, func(rv *pg.RangeVar, local bool) error {
		if local {
			return nil
		}
		t, err := j.lookup(rv.Schemaname, rv.Relname)
		if errors.Is(err, errMustFail) {
			return nil
		}
		temp = temp || t != nil && t.Temp
		return err
	})
	if err != nil {
		return err
	}
	if temp {
		j.uncacheable, j.plan.Reason, j.plan.ClientColumns = true, "temporary view", -1
		return nil
	}
	if err := j.define(); err != nil {
		return err
	}
	j.plan.Tables = []string{qualify(st.View, j.path)}
	return nil
}
