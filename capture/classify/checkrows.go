package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
)

// DDL that checks rows which are there calls the functions of the check for each of
// them, on each server anew: what such a function writes would be there by itself.

const checkHint = "Declare it STABLE or IMMUTABLE if it writes nothing, or add the check NOT VALID."

// checksRows refuses a new CHECK, or a new generated column, for the rows that are
// there, if it calls what may write.
func (j *job) checksRows(c *pg.Constraint) error {
	switch {
	case c.GetContype() == pg.ConstrType_CONSTR_GENERATED:
		return j.computesRows("a generated column", c.RawExpr)
	case c.GetContype() == pg.ConstrType_CONSTR_CHECK && !c.SkipValidation:
		return j.computesRows("a CHECK", c.RawExpr)
	}
	return nil
}

// computesRows refuses an expression that is computed for each row that is there, if
// it calls what may write. A domain's check counts: the server takes it for immutable.
func (j *job) computesRows(what string, expr proto.Message) error {
	return walk(expr, func(m proto.Message) (bool, error) {
		switch n := m.(type) {
		case *pg.FuncCall:
			schema, fn := name(n.Funcname)
			v, err := j.call(schema, fn)
			if err == nil && slices.ContainsFunc(j.loaded.Functions[fn], func(f catalog.Function) bool { return f.Setting }) {
				err = j.refuse(j.plan.Construct+" with "+what+" that calls "+fn, n.Location, "it reads a setting, and "+readsSetting, readsSettingHint)
			}
			if err == nil && v == callUnsafe {
				err = j.refuse(j.plan.Construct+" with "+what+" that calls "+fn, n.Location, "it is volatile, and may write for each row that is there what opmux cannot see", checkHint)
			}
			return true, err
		case *pg.TypeCast:
			return true, j.castTo(n.TypeName, n.Location)
		case *pg.A_Expr:
			return true, j.operator(n.Name)
		}
		return true, nil
	})
}

// checksColumn is checksRows of a new column, whose type may be a domain.
func (j *job) checksColumn(def *pg.ColumnDef) error {
	for _, n := range def.Constraints {
		if err := j.checksRows(n.GetConstraint()); err != nil {
			return err
		}
	}
	return j.castTo(def.TypeName, def.Location)
}

// checksAgain refuses what checks the rows of a table by the constraints that it has.
func (j *job) checksAgain(t *catalog.Table) error {
	if t == nil || len(t.VolatileFunctions) == 0 {
		return nil
	}
	return j.refuse(j.plan.Construct+" that checks the rows of "+t.Qualified(), -1, "its constraints or indexes call volatile function "+t.VolatileFunctions[0],
		"Declare the function IMMUTABLE if it writes nothing.")
}

// Subtypes of ALTER DOMAIN.
const (
	domainAdds      = "C"
	domainValidates = "V"
)

// alterDomain refuses what checks the rows that have a domain's values.
func (j *job) alterDomain(st *pg.AlterDomainStmt) error {
	switch st.GetSubtype() {
	case domainAdds:
		return j.checksRows(st.Def.GetConstraint())
	case domainValidates:
		facts, err := j.facts()
		if err != nil {
			return err
		}
		if _, domain := name(st.TypeName); facts.UnsafeTypes[domain] {
			return j.refuse("ALTER DOMAIN … VALIDATE CONSTRAINT", -1, "a check of "+domain+" calls a volatile function that may write what opmux cannot see", "Declare it STABLE or IMMUTABLE if it writes nothing.")
		}
	}
	return nil
}
