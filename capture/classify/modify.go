package classify

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

func (j *job) update(n *pg.Node, st *pg.UpdateStmt) error {
	parts := nodes(st.TargetList, []*pg.Node{st.WhereClause}, st.FromClause, st.ReturningList)
	if st.WithClause != nil {
		parts = append(parts, st.WithClause)
	}
	if err := j.scan(parts...); err != nil {
		return err
	}
	t, err := j.target(st.Relation, catalog.TriggerUpdate)
	if err != nil {
		return err
	}
	assigned, err := j.assigned(t, st.TargetList)
	if err != nil {
		return err
	}
	if t.Temp {
		return j.temporary()
	}
	touched, err := j.cascades(t, assigned, false)
	if err != nil {
		return err
	}
	s := scope{table: t, rel: relName(st.Relation)}
	why, err := j.unsafeUpdate(st, t, s)
	if err != nil {
		return err
	}
	if why == "" {
		f := j.newFreezer(n)
		err = j.text(t, st.Relation, f, false, st.ReturningList, func(l []*pg.Node) { f.stmt.GetUpdateStmt().ReturningList = l })
		j.plan.frozen.atMost = 1
	} else {
		err = j.updateRows(t, st, assigned, why)
	}
	if err != nil {
		return err
	}
	return j.finishWrite(t, touched)
}

// assigned lists the columns that SET assigns, and notes what SET … = DEFAULT draws.
func (j *job) assigned(t *catalog.Table, targets []*pg.Node) ([]string, error) {
	var list []string
	for _, n := range targets {
		name := n.GetResTarget().GetName()
		c := t.Column(name)
		if c == nil {
			return nil, fmt.Errorf("column %s: %w", name, errMustFail)
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
		if n.GetResTarget().GetVal().GetSetToDefault() != nil {
			d, err := j.defaultOf(c)
			if err != nil {
				return nil, err
			}
			if !t.Temp {
				j.plan.Sequences = append(j.plan.Sequences, d.draws...)
			}
		}
	}
	return list, nil
}

// unsafeUpdate says why an UPDATE cannot travel as text, "" where it can.
func (j *job) unsafeUpdate(st *pg.UpdateStmt, t *catalog.Table, s scope) (string, error) {
	if why, err := j.unpinned(t, st.WhereClause, st.FromClause, st.WithClause, s); why != "" || err != nil {
		return why, err
	}
	for _, n := range st.TargetList {
		r := n.GetResTarget()
		if len(r.Indirection) > 0 {
			return "it sets a part of column " + r.Name, nil
		}
		c := t.Column(r.Name)
		if c.Generated {
			continue
		}
		if r.Val.GetSetToDefault() != nil {
			d, err := j.defaultOf(c)
			if err != nil {
				return "", err
			}
			if d.drawn {
				return "the default of column " + c.Name + " is not the same everywhere", nil
			}
			continue
		}
		if p := r.Val.GetParamRef(); p != nil && !plainParam(c, j.paramOID(p)) {
			return "column " + c.Name + ": its type may read a parameter differently elsewhere", nil
		}
		if r.Val.GetAConst().GetSval() != nil && slices.Contains(objects, c.BaseOID) {
			return "column " + c.Name + " holds object numbers", nil
		}
		if why, err := j.unsafe(r.Val, columnCategory(c), s); why != "" || err != nil {
			return "column " + c.Name + ": " + why, err
		}
	}
	return "", nil
}

func (j *job) updateRows(t *catalog.Table, st *pg.UpdateStmt, assigned []string, why string) error {
	key := t.Identity(assigned)
	if key == nil {
		return j.noKey("UPDATE", t)
	}
	columns := slices.DeleteFunc(slices.Clone(assigned), func(c string) bool { return t.Column(c).Generated })
	return j.rows(t, st.Relation, event.ActionUpdate, key.Columns, columns, st.ReturningList, why)
}

// noKey refuses a statement whose rows cannot be found again.
func (j *job) noKey(what string, t *catalog.Table) error {
	if t.Identity(nil) != nil {
		return j.refuse(what+" of key columns of "+t.Qualified(), -1, "afterwards the rows cannot be told from the ones before",
			"Name one row by all columns of its key, as constants or parameters, and set plain values.")
	}
	return j.refuse(what+" on "+t.Qualified()+", which has no usable key", -1, "the rows cannot be told apart on the backups",
		"Add a primary key (or a unique key, not deferrable, of NOT NULL columns).")
}

func (j *job) delete(n *pg.Node, st *pg.DeleteStmt) error {
	parts := nodes([]*pg.Node{st.WhereClause}, st.UsingClause, st.ReturningList)
	if st.WithClause != nil {
		parts = append(parts, st.WithClause)
	}
	if err := j.scan(parts...); err != nil {
		return err
	}
	t, err := j.target(st.Relation, catalog.TriggerDelete)
	if err != nil {
		return err
	}
	if t.Temp {
		return j.temporary()
	}
	touched, err := j.cascades(t, nil, true)
	if err != nil {
		return err
	}
	why, err := j.unpinned(t, st.WhereClause, st.UsingClause, st.WithClause, scope{table: t, rel: relName(st.Relation)})
	if err != nil {
		return err
	}
	if why == "" {
		f := j.newFreezer(n)
		err = j.text(t, st.Relation, f, false, st.ReturningList, func(l []*pg.Node) { f.stmt.GetDeleteStmt().ReturningList = l })
		j.plan.frozen.atMost = 1
	} else {
		err = j.deleteRows(t, st, why)
	}
	if err != nil {
		return err
	}
	return j.finishWrite(t, touched)
}

func (j *job) deleteRows(t *catalog.Table, st *pg.DeleteStmt, why string) error {
	key := t.Identity(nil)
	if key == nil {
		return j.noKey("DELETE", t)
	}
	return j.rows(t, st.Relation, event.ActionDelete, key.Columns, nil, st.ReturningList, why)
}

// unpinned says why a WHERE clause does not pin at most one row by a full unique
// key and a condition on that row alone.
func (j *job) unpinned(t *catalog.Table, where *pg.Node, others []*pg.Node, with *pg.WithClause, s scope) (string, error) {
	switch {
	case len(others) > 0:
		return "it reads other tables", nil
	case with != nil:
		return "it has a WITH clause", nil
	case where == nil:
		return "it names no row by a key", nil
	case j.eff.subqueries:
		return "it reads by a subquery", nil
	}
	var pinned []string
	for _, c := range conjuncts(where) {
		column, ok, err := j.equality(c, s)
		if err != nil {
			return "", err
		}
		if ok {
			pinned = append(pinned, column)
			continue
		}
		if why, err := j.unsafe(c, "B", s); why != "" || err != nil {
			return "its condition: " + why, err
		}
	}
	for i := range t.Keys {
		k := &t.Keys[i]
		if k.Usable() && !k.UserOperators && !slices.ContainsFunc(k.Columns, func(c string) bool { return !slices.Contains(pinned, c) }) {
			return "", nil
		}
	}
	return "it names no row by a full unique key", nil
}

func conjuncts(n *pg.Node) []*pg.Node {
	b := n.GetBoolExpr()
	if b == nil || b.Boolop != pg.BoolExprType_AND_EXPR {
		return []*pg.Node{n}
	}
	var list []*pg.Node
	for _, a := range b.Args {
		list = append(list, conjuncts(a)...)
	}
	return list
}

// equality recognises column = constant or parameter, of types under which the
// column's unique index leaves at most one row.
func (j *job) equality(n *pg.Node, s scope) (column string, ok bool, err error) {
	e := n.GetAExpr()
	if e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP {
		return "", false, nil
	}
	facts, err := j.facts()
	if err != nil {
		return "", false, err
	}
	if schema, op := name(e.Name); op != "=" || schema != "" && schema != "pg_catalog" || facts.Operators["="].Builtin {
		return "", false, nil
	}
	left, right := e.Lexpr, e.Rexpr
	if left.GetColumnRef() == nil {
		left, right = right, left
	}
	if left.GetColumnRef() == nil {
		return "", false, nil
	}
	c := s.column(left.GetColumnRef())
	if c == nil || isOpaque(c) || slices.Contains(objects, c.BaseOID) {
		return "", false, nil
	}
	ok, err = j.pins(c, right)
	return c.Name, ok, err
}

// pins says that a value names one value of a key column.
func (j *job) pins(c *catalog.Column, v *pg.Node) (bool, error) {
	switch {
	case v.GetAConst() != nil:
		k := v.GetAConst()
		switch {
		case k.GetSval() != nil:
			return unsafeConst(k, columnCategory(c)) == "", nil
		case k.GetIval() != nil:
			return columnCategory(c) == "N", nil
		case k.GetFval() != nil:
			return columnCategory(c) == "N" && !slices.Contains(floats, c.BaseOID), nil
		case k.GetBoolval() != nil:
			return c.BaseOID == oidBool, nil
		}
		return false, nil
	case v.GetParamRef() != nil:
		oid := j.paramOID(v.GetParamRef())
		return plainParam(c, oid) && (oid == 0 || oid == oidUnknown || sameFamily(c, oid)), nil
	case v.GetTypeCast() != nil:
		oid, err := j.typeOID(v.GetTypeCast().TypeName)
		if err != nil || oid == 0 || !sameFamily(c, oid) {
			return false, err
		}
		cast := v.GetTypeCast().Arg
		if cast.GetAConst() == nil && cast.GetParamRef() == nil {
			return false, nil
		}
		why, err := j.unsafe(v, "", scope{})
		return why == "", err
	}
	return false, nil
}
