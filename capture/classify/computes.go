package classify

import (
	"errors"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// Computes is about a materialized view that each server computes by itself. That
// gives the same where the query does, and where every table that it reads is locked
// against writers before it: then what it sees is what its place in the order says.
type Computes struct {
	Schema, Name string
	// Locks are the tables and views to lock before it, quoted.
	Locks []string
}

// SQL locks what the view is computed of, "" where that is no table. A view's tables
// are locked with it, and a table's partitions.
func (c *Computes) SQL() string {
	if len(c.Locks) == 0 {
		return ""
	}
	return "LOCK TABLE " + strings.Join(c.Locks, ", ") + " IN SHARE MODE"
}

// Check refuses a materialized view, as it was computed, that a backup might compute
// otherwise. Under another isolation than READ COMMITTED the snapshot may be older than
// the locks.
func (p *Plan) Check(s *catalog.Sources, isolation string) *Refusal {
	r := &Refusal{Construct: p.Construct, Hint: "WITH NO DATA, and REFRESH on each server; or use a table."}
	switch {
	case s.Problem != "":
		r.Reason = "a backup might compute other rows: " + s.Problem
	case len(s.Unlocked) > 0:
		r.Reason = "others may write " + s.Unlocked[0] + " while it is computed"
	case isolation != "read committed" && isolation != "read uncommitted":
		r.Reason = "under isolation level " + isolation + " it is computed of what was there before its tables were locked"
		r.Hint = "Run it in a transaction of isolation level READ COMMITTED."
	default:
		return nil
	}
	return r
}

// refresh plans REFRESH MATERIALIZED VIEW.
func (j *job) refresh(st *pg.RefreshMatViewStmt) error {
	if err := j.define(st.Relation); err != nil || st.SkipData {
		return err
	}
	t, err := j.lookup(st.Relation.Schemaname, st.Relation.Relname)
	if errors.Is(err, errMustFail) || err == nil && t.Kind != catalog.MaterializedView {
		return nil // the server will say so
	}
	if err != nil {
		return err
	}
	sources, err := j.c.catalog.Sources(j.ctx, j.in.Querier, t.Schema, t.Name)
	if err != nil {
		return err
	}
	j.uncacheable = true
	sources.Unlocked = nil // they will be
	if r := j.plan.Check(sources, "read committed"); r != nil {
		return r
	}
	j.plan.Computes = &Computes{Schema: t.Schema, Name: t.Name, Locks: sources.Named}
	return nil
}

// populates plans CREATE MATERIALIZED VIEW, whose query is not known to the server yet:
// what its text names is locked, and the rest is looked at behind it.
func (j *job) populates(rel *pg.RangeVar, query *pg.Node) error {
	if len(j.eff.draws) > 0 || len(j.eff.setval) > 0 {
		return j.refuse(j.plan.Construct, rel.Location, "its query draws from a sequence, and would again on each backup", "Use CREATE TABLE AS.")
	}
	j.uncacheable = true
	c := &Computes{Schema: strings.TrimSuffix(j.plan.Tables[0], "."+rel.Relname), Name: rel.Relname}
	err := eachRelation(query, nil, func(rv *pg.RangeVar, local bool) error {
		if local {
			return nil
		}
		t, err := j.lookup(rv.Schemaname, rv.Relname)
		if errors.Is(err, errMustFail) {
			return nil // the server will say so
		}
		if err != nil {
			return err
		}
		switch t.Kind {
		case catalog.Ordinary, catalog.Partitioned, catalog.View:
			c.Locks = append(c.Locks, catalog.QuoteIdent(t.Schema)+"."+catalog.QuoteIdent(t.Name))
			return nil
		}
		return j.refuse(j.plan.Construct+" of "+t.Qualified(), rv.Location, "it is no table or view, and cannot be locked against what changes it", "Add WITH NO DATA, and REFRESH it on each server.")
	})
	j.plan.Computes = c
	return err
}
