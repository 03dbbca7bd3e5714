package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// ReadsElsewhere refuses writes of a table of which something is computed anew, and
// otherwise, in a session of another server's; nil: nothing is.
//
// Lenient is as in Input. The server reads the text of a function when a session calls it first, under
// the session's value of standard_conforming_strings, and goes by that from then on.
func ReadsElsewhere(t *catalog.Table, lenient bool) *Refusal {
	if lenient && t.Escaped != "" || t.EscapedForAll {
		return (&Refusal{Construct: "writing table " + t.Qualified(), Reason: "its " + t.Escaped + " calls a function whose text has a backslash: in a session that has, or had, " +
			"standard_conforming_strings off it may be another than on a backup",
			Hint: "Connect anew and leave standard_conforming_strings on, or write the function without backslashes, or with BEGIN ATOMIC."}).beyond()
	}
	if t.Elsewhere == "" {
		return nil
	}
	return (&Refusal{Construct: "writing table " + t.Qualified(), Reason: "its " + t.Elsewhere + " reads a setting, a table, the clock, chance, who asks or an object's number: a backup computes it again, in a session of its own",
		Hint: "Compute it in a trigger or in the application."}).beyond()
}

// recomputes judges ALTER TABLE that has generated columns computed for the rows that are
// there. What a new one calls is known behind it.
func (j *job) recomputes(t *catalog.Table, cmd *pg.AlterTableCmd) error {
	switch cmd.Subtype {
	case pg.AlterTableType_AT_AddColumn:
		if !slices.ContainsFunc(cmd.Def.GetColumnDef().GetConstraints(), func(n *pg.Node) bool {
			return n.GetConstraint().GetContype() == pg.ConstrType_CONSTR_GENERATED
		}) {
			return nil
		}
	case pg.AlterTableType_AT_SetExpression, pg.AlterTableType_AT_AlterColumnType:
	default:
		return nil
	}
	if t == nil {
		return nil // the server says so
	}
	if r := ReadsElsewhere(t, j.in.Lenient); r != nil {
		return r
	}
	j.plan.Recomputes = j.in.Behind == nil
	return nil
}
