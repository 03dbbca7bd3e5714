package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// sameEverywhere refuses DDL that would not define the same on another server,
// or that touches what is opmux's own.
func (j *job) sameEverywhere(n *pg.Node) error {
	return walk(n, func(m proto.Message) (bool, error) {
		switch d := m.(type) {
		case *pg.GrantStmt:
			if n.GetCreateSchemaStmt() == nil || j.c.roles == RolesPublish {
				return true, nil
			}
			return false, j.refuse("GRANT inside of "+j.plan.Construct, -1, rolesReason, "Run it on the primary and on each backup directly.")
		case *pg.ObjectWithArgs:
			return true, j.spares(name(d.Objname))
		case *pg.CreateFunctionStmt:
			return true, j.spares(name(d.Funcname))
		case *pg.AlterObjectSchemaStmt:
			return true, j.spares(d.Newschema, "")
		case *pg.CreateStmt:
			return true, j.hashed(d)
		case *pg.ColumnDef:
			return false, j.columnLiterals(d)
		case *pg.CreateDomainStmt:
			return true, j.domainLiterals(d)
		case *pg.Constraint:
			return true, j.checkReads(d)
		case *pg.PartitionBoundSpec:
			return false, j.bounds(d)
		case *pg.A_Const:
			return true, j.literal(d, "")
		case *pg.TypeCast:
			oid, err := j.typeOID(d.TypeName)
			if err != nil {
				return false, err
			}
			if slices.Contains(offsetTimes, oid) {
				return true, j.literal(d.Arg.GetAConst(), offsetTime)
			}
			if oid == 0 || slices.Contains(dated, oid) || d.Arg.GetAConst() == nil {
				return true, nil
			}
			return false, nil // a literal of another type
		}
		return true, nil
	})
}

func (j *job) spares(schema, _ string) error {
	if schema != "opmux" {
		return nil
	}
	return j.never(j.plan.Construct+" in schema opmux", -1, "schema opmux is opmux's own", "")
}

const (
	readsSetting     = "a backup checks and computes rows again, in a session that does not have the application's own settings"
	readsSettingHint = "Do it in a trigger or in the application."
)

// settingReaders are the built-in functions that a CHECK may call and that read a setting.
var settingReaders = words("current_setting pg_client_encoding")

// checkReads refuses a CHECK that reads a setting of the session.
func (j *job) checkReads(c *pg.Constraint) error {
	if c.Contype != pg.ConstrType_CONSTR_CHECK {
		return nil
	}
	return walk(c.RawExpr, func(m proto.Message) (bool, error) {
		if f, ok := m.(*pg.FuncCall); ok {
			if _, fn := name(f.Funcname); settingReaders[fn] {
				return false, j.refuse("a CHECK that calls "+fn, f.Location, readsSetting, readsSettingHint)
			}
		}
		return true, nil
	})
}

// literal refuses a special date word, which DDL reads once and for good, at
// another moment on each server. cat is the category that it is taken for.
func (j *job) literal(c *pg.A_Const, cat string) error {
	if cat == offsetTime && j.lacksOffset(c.GetSval().GetSval()) {
		return j.refuse("'"+c.GetSval().GetSval()+"' in "+j.plan.Construct, c.Location, ofTheDay, offsetHint)
	}
	if unsafeConst(c, cat) == "" {
		return nil
	}
	return j.refuse("'"+c.GetSval().GetSval()+"' in "+j.plan.Construct, c.Location, "it may be read as a moment of the clock, another one on each server",
		"Write now() or current_date; cast a plain text to text.")
}

// columnLiterals looks at a column's default and constraints, knowing its type.
func (j *job) columnLiterals(d *pg.ColumnDef) error {
	oid, err := j.typeOID(d.TypeName)
	if err != nil {
		return err
	}
	enum, err := j.isEnum(d.TypeName)
	if err != nil {
		return err
	}
	plain := oid != 0 && !slices.Contains(dated, oid) || enum || isSerial(d.TypeName)
	for _, p := range append(slices.Clone(d.Constraints), &pg.Node{Node: &pg.Node_Constraint{Constraint: &pg.Constraint{Contype: pg.ConstrType_CONSTR_DEFAULT, RawExpr: d.RawDefault}}}) {
		c := p.GetConstraint()
		if slices.Contains(offsetTimes, oid) && c.GetContype() == pg.ConstrType_CONSTR_DEFAULT {
			if err := j.literal(c.RawExpr.GetAConst(), offsetTime); err != nil {
				return err
			}
		}
		if plain && c.GetContype() == pg.ConstrType_CONSTR_DEFAULT && c.RawExpr.GetAConst() != nil {
			continue
		}
		if err := j.sameEverywhere(p); err != nil {
			return err
		}
	}
	return nil
}

func isSerial(t *pg.TypeName) bool {
	_, typ := name(t.GetNames())
	return slices.Contains([]string{"serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"}, typ)
}

// bounds refuses partition bounds that are computed: they are evaluated once.
func (j *job) bounds(d *pg.PartitionBoundSpec) error {
	j.plan.Evaluates = true
	for _, p := range nodes(d.Listdatums, d.Lowerdatums, d.Upperdatums) {
		e := p.(*pg.Node)
		if e.GetColumnRef() != nil { // MINVALUE, MAXVALUE
			continue
		}
		why, err := j.unsafe(e, "D", scope{})
		if err != nil {
			return err
		}
		if why == "" && j.pinsTime(e) {
			why = "it is the time of the command, which differs on each server"
		}
		if why != "" {
			return j.refuse("a partition bound", -1, why, "Write the bound as a constant.")
		}
	}
	return nil
}
