package classify

import (
	"errors"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
)

// nameTargets names, in the plan of a refused statement, the tables that it would
// change, so that policy flag gives up no others. It returns the refusal, or the
// error of a look-up.
func (j *job) nameTargets(stmt *pg.Node, refusal error) error {
	var r *Refusal
	if !errors.As(refusal, &r) || r.reach != reachNamed {
		return refusal
	}
	var targets []target
	_ = walk(stmt, func(m proto.Message) (bool, error) { // visit makes no errors
		switch s := m.(type) {
		case *pg.InsertStmt:
			targets = append(targets, target{rel: s.Relation, changed: assignedNames(s.OnConflictClause.GetTargetList())})
		case *pg.UpdateStmt:
			targets = append(targets, target{rel: s.Relation, changed: assignedNames(s.TargetList)})
		case *pg.DeleteStmt:
			targets = append(targets, target{rel: s.Relation, deletes: true})
		case *pg.MergeStmt:
			targets = append(targets, target{rel: s.Relation, deletes: true, every: true})
		case *pg.IntoClause:
			targets = append(targets, target{rel: s.Rel})
		case *pg.RefreshMatViewStmt:
			targets = append(targets, target{rel: s.Relation})
		}
		return true, nil
	})
	for _, t := range targets {
		if err := j.nameTarget(t, r); err != nil {
			return err
		}
	}
	return refusal
}

// target is a relation that a refused statement changes.
type target struct {
	rel     *pg.RangeVar
	changed []string
	// deletes: rows go; every: any column may change.
	deletes, every bool
}

func assignedNames(list []*pg.Node) []string {
	var names []string
	for _, n := range list {
		names = append(names, n.GetResTarget().GetName())
	}
	return names
}

func (j *job) nameTarget(g target, r *Refusal) error {
	t, err := j.lookup(g.rel.Schemaname, g.rel.Relname)
	if errors.Is(err, errMustFail) {
		j.touch(qualify(g.rel, j.path))
		return nil
	}
	if err != nil || t.Temp {
		return err
	}
	j.touch(t.Qualified())
	if t.Kind != catalog.Ordinary && t.Kind != catalog.Partitioned && t.Kind != catalog.MaterializedView {
		r.reach = reachAll
		return nil
	}
	if g.every {
		g.changed = allColumns(t)
	}
	for _, deletes := range []bool{false, true} {
		if deletes && !g.deletes {
			continue
		}
		touched, err := j.cascades(t, g.changed, deletes)
		var more *Refusal
		if errors.As(err, &more) {
			r.reach = more.reach
			if r.reach == reachNamed {
				r.reach = reachAll
			}
			return nil
		}
		if err != nil {
			return err
		}
		for _, c := range touched {
			j.touch(c.Qualified())
		}
	}
	return nil
}

// touch adds a table to those that the plan names.
func (j *job) touch(qualified string) {
	if !slices.Contains(j.plan.Tables, qualified) {
		j.plan.Tables = append(j.plan.Tables, qualified)
	}
}
