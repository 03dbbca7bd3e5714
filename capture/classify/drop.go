package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

func (j *job) rename(st *pg.RenameStmt) error {
	switch st.RenameType {
	case pg.ObjectType_OBJECT_ROLE, pg.ObjectType_OBJECT_DATABASE, pg.ObjectType_OBJECT_TABLESPACE, pg.ObjectType_OBJECT_FOREIGN_SERVER,
		pg.ObjectType_OBJECT_FDW, pg.ObjectType_OBJECT_EVENT_TRIGGER, pg.ObjectType_OBJECT_PUBLICATION, pg.ObjectType_OBJECT_SUBSCRIPTION:
		return j.refuse("RENAME of a "+objectName(st.RenameType), -1, "it is each server's own", "Run it on each server directly.").none()
	case pg.ObjectType_OBJECT_SCHEMA:
		if st.Subname == "opmux" || st.Newname == "opmux" {
			return j.never("RENAME of schema opmux", -1, "the name is opmux's own", "")
		}
	}
	if st.Relation != nil {
		return j.define(st.Relation)
	}
	return j.define()
}

func (j *job) alterOwner(st *pg.AlterOwnerStmt) error {
	switch st.ObjectType {
	case pg.ObjectType_OBJECT_DATABASE, pg.ObjectType_OBJECT_TABLESPACE, pg.ObjectType_OBJECT_FOREIGN_SERVER, pg.ObjectType_OBJECT_FDW,
		pg.ObjectType_OBJECT_EVENT_TRIGGER, pg.ObjectType_OBJECT_PUBLICATION, pg.ObjectType_OBJECT_SUBSCRIPTION, pg.ObjectType_OBJECT_LARGEOBJECT:
		return j.refuse("ALTER "+objectName(st.ObjectType)+" OWNER", -1, "it is each server's own", "Run it on each server directly.").none()
	}
	return j.define()
}

// relations are the object types whose names are relations.
var relations = []pg.ObjectType{
	pg.ObjectType_OBJECT_TABLE, pg.ObjectType_OBJECT_VIEW, pg.ObjectType_OBJECT_MATVIEW, pg.ObjectType_OBJECT_SEQUENCE, pg.ObjectType_OBJECT_INDEX,
}

// attached are the object types whose names end in the object's own, behind their table's.
var attached = []pg.ObjectType{
	pg.ObjectType_OBJECT_TRIGGER, pg.ObjectType_OBJECT_RULE, pg.ObjectType_OBJECT_POLICY, pg.ObjectType_OBJECT_COLUMN, pg.ObjectType_OBJECT_TABCONSTRAINT,
}

// rangeVar makes a relation's name of a list of parts.
func rangeVar(parts []*pg.Node) *pg.RangeVar {
	schema, rel := name(parts)
	return &pg.RangeVar{Schemaname: schema, Relname: rel, Inh: true, Relpersistence: "p"}
}

func (j *job) drop(st *pg.DropStmt) error {
	var touches []*pg.RangeVar
	switch t := st.RemoveType; {
	case slices.Contains(relations, t):
		for _, o := range st.Objects {
			touches = append(touches, rangeVar(o.GetList().GetItems()))
		}
	case slices.Contains(attached, t):
		for _, o := range st.Objects {
			if parts := o.GetList().GetItems(); len(parts) > 1 {
				touches = append(touches, rangeVar(parts[:len(parts)-1]))
			}
		}
	case t == pg.ObjectType_OBJECT_SCHEMA:
		for _, o := range st.Objects {
			if o.GetString_().GetSval() == "opmux" {
				return j.never("DROP SCHEMA opmux", -1, "the schema is opmux's own", "")
			}
		}
	case t == pg.ObjectType_OBJECT_FOREIGN_TABLE:
		for _, o := range st.Objects {
			touches = append(touches, rangeVar(o.GetList().GetItems()))
		}
		return j.foreign("DROP FOREIGN TABLE", touches...)
	case slices.Contains([]pg.ObjectType{
		pg.ObjectType_OBJECT_EVENT_TRIGGER, pg.ObjectType_OBJECT_FDW, pg.ObjectType_OBJECT_FOREIGN_SERVER,
		pg.ObjectType_OBJECT_PUBLICATION, pg.ObjectType_OBJECT_ACCESS_METHOD,
	}, t):
		r := j.refuse("DROP "+objectName(t), -1, "it is each server's own", "Run it on each server directly.").none()
		r.Always = t == pg.ObjectType_OBJECT_EVENT_TRIGGER
		return r
	}
	if err := j.define(touches...); err != nil {
		return err
	}
	if j.in.Behind != nil && st.RemoveType == pg.ObjectType_OBJECT_TABLE && st.Behavior != pg.DropBehavior_DROP_CASCADE {
		j.plan.Apart = j.in.Behind.Tables
	}
	if st.RemoveType == pg.ObjectType_OBJECT_TABLE {
		if err := j.dropsMisplaced(); err != nil {
			return err
		}
	}
	if st.Concurrent && j.plan.Kind == DDL {
		j.plan.Kind, j.plan.Reason = Standalone, "DDL outside of transactions"
		if len(touches) == 1 {
			j.plan.Name = touches[0].Relname
		}
	}
	if st.RemoveType == pg.ObjectType_OBJECT_INDEX && !st.MissingOk && j.plan.frozen.kind == freezeDDL {
		return j.dropIndex(st)
	}
	return nil
}

// dropIndex lets DROP INDEX pass on a backup that does not have the index: CREATE
// INDEX CONCURRENTLY that fails leaves an invalid one on the primary alone, which
// people drop.
func (j *job) dropIndex(st *pg.DropStmt) error {
	there := proto.Clone(st).(*pg.DropStmt)
	there.MissingOk = true
	text, err := deparse(j.grammar, &pg.Node{Node: &pg.Node_DropStmt{DropStmt: there}})
	if err != nil {
		return j.refuse("DROP INDEX", -1, "its frozen form cannot be written: "+err.Error(), "DROP INDEX IF EXISTS.")
	}
	j.plan.frozen.text = text
	return nil
}

func (j *job) comment(st *pg.CommentStmt) error {
	parts := st.Object.GetList().GetItems()
	switch {
	case slices.Contains(relations, st.Objtype), st.Objtype == pg.ObjectType_OBJECT_FOREIGN_TABLE:
		return j.define(rangeVar(parts))
	case slices.Contains(attached, st.Objtype) && len(parts) > 1:
		return j.define(rangeVar(parts[:len(parts)-1]))
	case slices.Contains([]pg.ObjectType{pg.ObjectType_OBJECT_DATABASE, pg.ObjectType_OBJECT_ROLE, pg.ObjectType_OBJECT_TABLESPACE,
		pg.ObjectType_OBJECT_LARGEOBJECT, pg.ObjectType_OBJECT_EVENT_TRIGGER, pg.ObjectType_OBJECT_SUBSCRIPTION, pg.ObjectType_OBJECT_PUBLICATION,
		pg.ObjectType_OBJECT_FOREIGN_SERVER, pg.ObjectType_OBJECT_FDW}, st.Objtype):
		return j.refuse("COMMENT ON "+objectName(st.Objtype), -1, "it is each server's own", "Run it on each server directly.").none()
	}
	return j.define()
}
