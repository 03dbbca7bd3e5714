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
	calls := stmt
	if st := stmt.GetCreateStmt(); st != nil {
		j.plan.Tables = nil // those that it copies from stay as they are
		calls = &pg.Node{Node: &pg.Node_PartitionBoundSpec{PartitionBoundSpec: st.Partbound}}
	}
	if err := j.setsOff(calls, r); err != nil {
		return err
	}
	for _, t := range targetsOf(stmt) {
		if err := j.nameTarget(t, r); err != nil {
			return err
		}
	}
	return refusal
}

// targetsOf lists the relations that a statement changes, those of statements
// inside of it included.
func targetsOf(stmt *pg.Node) []target {
	var targets []target
	_ = walk(stmt, func(m proto.Message) (bool, error) { // visit makes no errors
		switch s := m.(type) {
		case *pg.InsertStmt:
			t := target{rel: s.Relation, changed: assignedNames(s.OnConflictClause.GetTargetList()), events: catalog.TriggerInsert}
			if s.OnConflictClause != nil {
				t.events |= catalog.TriggerUpdate
			}
			targets = append(targets, t)
		case *pg.UpdateStmt:
			targets = append(targets, target{rel: s.Relation, changed: assignedNames(s.TargetList), events: catalog.TriggerUpdate})
		case *pg.DeleteStmt:
			targets = append(targets, target{rel: s.Relation, events: catalog.TriggerDelete})
		case *pg.MergeStmt:
			targets = append(targets, target{rel: s.Relation, every: true,
				events: catalog.TriggerInsert | catalog.TriggerUpdate | catalog.TriggerDelete})
		case *pg.IntoClause:
			targets = append(targets, target{rel: s.Rel})
		case *pg.CreateStmt:
			targets = append(targets, created(s)...)
		case *pg.RefreshMatViewStmt:
			targets = append(targets, target{rel: s.Relation})
		case *pg.AlterTableStmt:
			targets = append(targets, target{rel: s.Relation})
		}
		return true, nil
	})
	return targets
}

// created are the table that CREATE TABLE makes, and what it becomes a partition of: rows
// would lie elsewhere without it.
func created(st *pg.CreateStmt) []target {
	targets := []target{{rel: st.Relation}}
	if st.Partbound != nil {
		for _, parent := range st.InhRelations {
			targets = append(targets, target{rel: parent.GetRangeVar()})
		}
	}
	return targets
}

// setsOff gives up all tables where a statement calls what may write any.
func (j *job) setsOff(stmt *pg.Node, r *Refusal) error {
	if err := j.sight(); err != nil {
		return err
	}
	return walk(stmt, func(m proto.Message) (bool, error) {
		switch m.(type) {
		case *pg.InsertStmt, *pg.UpdateStmt, *pg.DeleteStmt, *pg.MergeStmt, *pg.IntoClause:
			return true, nil // these are targets
		case *pg.ExecuteStmt:
			r.reach = reachAll
			return false, nil
		}
		deeper, err := j.visit(m)
		return deeper || err != nil, r.joins(err)
	})
}

// joins widens a refusal by what was found of its statement besides; it returns
// errors that are about something else.
func (r *Refusal) joins(err error) error {
	var more *Refusal
	switch {
	case errors.As(err, &more):
		if more.reach == reachAll {
			r.reach = reachAll
		}
		return nil
	case errors.Is(err, errMustFail):
		return nil // it changes nothing then
	}
	return err
}

// target is a relation that a refused statement changes.
type target struct {
	rel     *pg.RangeVar
	changed []string
	events  int  // the catalog.Trigger… bits of what is done to its rows
	every   bool // any column may change
}

func assignedNames(list []*pg.Node) []string {
	var names []string
	for _, n := range list {
		names = append(names, n.GetResTarget().GetName())
	}
	return names
}

// nameTarget names a target with what rows of it are elsewhere: in partitions and
// inheritance children.
func (j *job) nameTarget(g target, r *Refusal) error {
	t, err := j.lookup(g.rel.Schemaname, g.rel.Relname)
	if errors.Is(err, errMustFail) {
		j.touch(qualify(g.rel, j.path))
		return nil
	}
	if err != nil || j.unfollowed(t) {
		return err
	}
	if err := j.nameMember(t, g, r); err != nil {
		return err
	}
	if t.Kind != catalog.Partitioned && t.Children == 0 {
		return nil
	}
	below, err := j.c.catalog.Descendants(j.ctx, j.in.Querier, t)
	if err != nil {
		return err
	}
	for _, name := range below {
		member, err := j.lookup(name.Schema, name.Name)
		if err != nil {
			return r.joins(err)
		}
		if err := j.nameMember(member, g, r); err != nil {
			return err
		}
	}
	return nil
}

// nameMember names one table and those that its foreign keys take along.
func (j *job) nameMember(t *catalog.Table, g target, r *Refusal) error {
	j.touch(t.Qualified())
	if t.Kind == catalog.MaterializedView {
		return nil
	}
	facts, err := j.facts()
	if err != nil {
		return err
	}
	if t.Kind == catalog.Partitioned && g.events&catalog.TriggerUpdate != 0 {
		g.events |= catalog.TriggerDelete | catalog.TriggerInsert // rows that move
	}
	if t.Kind == catalog.View || t.Rules > 0 || len(t.VolatileFunctions) > 0 || facts.VolatileCasts || t.Fires(g.events, nil) != "" {
		r.reach = reachAll
		return nil
	}
	for i := range t.Columns {
		d, err := j.defaultOf(&t.Columns[i])
		if err := r.joins(err); err != nil {
			return err
		}
		j.eff.draws = append(j.eff.draws, d.draws...)
	}
	if g.every {
		g.changed = allColumns(t)
	}
	for _, deletes := range []bool{false, true} {
		if deletes && g.events&catalog.TriggerDelete == 0 {
			continue
		}
		touched, err := j.cascades(t, g.changed, deletes)
		var more *Refusal
		if errors.As(err, &more) {
			r.reach = reachAll // those behind it are not known
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
