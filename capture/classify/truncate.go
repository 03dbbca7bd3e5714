package classify

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// truncate plans TRUNCATE, with the tables that CASCADE takes along.
func (j *job) truncate(st *pg.TruncateStmt) error {
	var all []*catalog.Table
	temp := 0
	for _, n := range st.Relations {
		t, err := j.target(n.GetRangeVar(), catalog.TriggerTruncate)
		if err != nil {
			return err
		}
		if t.Temp {
			temp++
		}
		all = append(all, t)
	}
	switch {
	case temp == len(all):
		return j.temporary()
	case temp > 0:
		return j.refuse("TRUNCATE of temporary and other tables", -1, "temporary tables are on no backup", "Name them in statements of their own.")
	}
	if st.Behavior == pg.DropBehavior_DROP_CASCADE {
		var err error
		if all, err = j.referencing(all); err != nil {
			return err
		}
	}
	j.write(event.ClassText, "whole tables")
	j.plan.Barrier, j.plan.ClientColumns, j.plan.Restarts = true, -1, st.RestartSeqs
	j.plan.frozen = frozen{kind: freezeDDL, text: j.body}
	for _, t := range all {
		if err := j.finishWrite(t, nil); err != nil {
			return err
		}
		if q := t.Qualified(); !slices.Contains(j.plan.Tables, q) {
			j.plan.Tables = append(j.plan.Tables, q)
		}
	}
	return nil
}

// referencing adds the tables that refer to tables, and so on.
func (j *job) referencing(tables []*catalog.Table) ([]*catalog.Table, error) {
	for i := 0; i < len(tables); i++ {
		for _, fk := range tables[i].ReferencedBy {
			if slices.ContainsFunc(tables, func(t *catalog.Table) bool { return t.Schema == fk.Schema && t.Name == fk.Table }) {
				continue
			}
			t, err := j.lookup(fk.Schema, fk.Table)
			if err != nil {
				return nil, err
			}
			if err := j.writable(t, -1); err != nil {
				return nil, err
			}
			if err := j.quiet(t, catalog.TriggerTruncate, nil, -1); err != nil {
				return nil, err
			}
			j.plan.TableRefs = append(j.plan.TableRefs, t)
			tables = append(tables, t)
		}
	}
	return tables, nil
}
