package classify

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
)

const addColumnHint = "Add the column without it, fill it by UPDATE, then set the default (ALTER COLUMN … SET DEFAULT, ADD GENERATED)."

// addColumn judges a new column. Where the values in the rows that are there would be
// computed anew on each server they are read back, or the column is refused. pinned says
// that they get the transaction's time.
func (j *job) addColumn(t *catalog.Table, def *pg.ColumnDef) (pinned bool, err error) {
	j.plan.Evaluates = true
	schema, typ := name(def.TypeName.GetNames())
	if isSerial(def.TypeName) {
		return false, j.numbered(t, def, "ADD COLUMN "+def.Colname+" "+typ)
	}
	facts, err := j.facts()
	if err != nil {
		return false, err
	}
	if schema != "pg_catalog" && facts.Types[typ] == "D" {
		return false, j.refuse("ADD COLUMN "+def.Colname+" of domain "+typ, def.Location, "the domain has a default", "Use the base type.")
	}
	oid, err := j.typeOID(def.TypeName)
	if err != nil {
		return false, err
	}
	cat := category(oid)
	if cat == "" && oid == 0 {
		cat = "D" // an unknown type's input may know special date words
	} else if cat == "" {
		cat = "U"
	}
	for _, e := range defaultsOf(def) {
		if cat == offsetTime && e.GetAConst() != nil { // its offset has been looked at
			continue
		}
		why, err := j.unsafe(e, cat, scope{})
		if err != nil {
			return false, err
		}
		if why != "" {
			if filled, err := j.fill(t, newColumn{def, oid, cat}, e); err != nil {
				return false, err
			} else if !filled {
				return false, j.refuse("ADD COLUMN "+def.Colname+" … DEFAULT", def.Location, why, addColumnHint)
			}
		}
		pinned = pinned || j.pinsTime(e)
	}
	for _, n := range def.Constraints {
		if n.GetConstraint().GetContype() != pg.ConstrType_CONSTR_IDENTITY {
			continue
		}
		if n.GetConstraint().GeneratedWhen == "a" {
			t = nil // nothing but the server itself may set its values
		}
		if err := j.numbered(t, def, "ADD COLUMN "+def.Colname+" AS IDENTITY"); err != nil {
			return false, err
		}
	}
	return pinned, nil
}

// numbered judges a new column whose numbers are drawn from a sequence of its own.
func (j *job) numbered(t *catalog.Table, def *pg.ColumnDef, what string) error {
	if filled, err := j.fill(t, newColumn{def: def}, nil); filled || err != nil {
		return err
	}
	return j.refuse(what, def.Location, "rows that are there get numbers in no order that backups share", addColumnHint)
}

func defaultsOf(def *pg.ColumnDef) []*pg.Node {
	var list []*pg.Node
	if def.RawDefault != nil {
		list = append(list, def.RawDefault)
	}
	for _, n := range def.Constraints {
		if c := n.GetConstraint(); c.GetContype() == pg.ConstrType_CONSTR_DEFAULT {
			list = append(list, c.RawExpr)
		}
	}
	return list
}

// timeMark stands for the transaction's time in frozen DDL, which takes no
// parameters, until Operations knows it.
const timeMark = "opmux: time of the transaction"

// pinAddedColumns freezes ALTER TABLE … ADD COLUMN … DEFAULT now(): the rows that
// are there get the pinned time, and a second command sets the default as it was
// written, for the rows to come.
func (j *job) pinAddedColumns(n *pg.Node, t *catalog.Table) error {
	unclear := j.refuse("ADD COLUMN … DEFAULT of the time", -1, "its frozen form cannot be written", addColumnHint)
	if strings.Contains(j.body, timeMark) {
		return unclear
	}
	frozen := proto.Clone(n).(*pg.Node)
	then := &pg.AlterTableStmt{Relation: frozen.GetAlterTableStmt().Relation, Objtype: pg.ObjectType_OBJECT_TABLE}
	for _, c := range frozen.GetAlterTableStmt().Cmds {
		def := c.GetAlterTableCmd().Def.GetColumnDef()
		if c.GetAlterTableCmd().Subtype != pg.AlterTableType_AT_AddColumn || j.isThere(t, c.GetAlterTableCmd()) {
			continue
		}
		for _, e := range defaultsOf(def) {
			if !j.pinsTime(e) {
				continue
			}
			then.Cmds = append(then.Cmds, &pg.Node{Node: &pg.Node_AlterTableCmd{AlterTableCmd: &pg.AlterTableCmd{
				Subtype: pg.AlterTableType_AT_ColumnDefault, Name: def.Colname, Def: proto.Clone(e).(*pg.Node), Behavior: pg.DropBehavior_DROP_RESTRICT,
			}}})
			markTime(e)
		}
	}
	first, err := deparse(j.grammar, frozen)
	if err != nil {
		return unclear
	}
	second, err := deparse(j.grammar, &pg.Node{Node: &pg.Node_AlterTableStmt{AlterTableStmt: then}})
	if err != nil {
		return unclear
	}
	j.plan.Reason = "DDL; the transaction's time is pinned"
	j.plan.frozen.text, j.plan.frozen.then, j.plan.frozen.marked = first, second, true
	return nil
}

// markTime puts the mark in place of functions of the transaction's time.
func markTime(e *pg.Node) {
	_ = walk(e, func(m proto.Message) (bool, error) { // visit makes no errors
		n, ok := m.(*pg.Node)
		if !ok {
			return true, nil
		}
		in := pinnedTime(n, 1)
		if in == nil {
			return true, nil
		}
		_ = walk(in, func(m proto.Message) (bool, error) {
			if p, ok := m.(*pg.Node); ok && p.GetParamRef() != nil {
				p.Node = pg.MakeAConstStrNode(timeMark, 0).Node
			}
			return true, nil
		})
		n.Node = in.Node
		return false, nil
	})
}
