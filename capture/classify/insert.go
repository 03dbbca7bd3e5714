package classify

import (
	"fmt"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// maxDrawn bounds the values that one INSERT pins; one with more travels as rows.
const maxDrawn = 2000

// inserting is an INSERT on its way to a plan.
type inserting struct {
	*job
	node  *pg.Node
	st    *pg.InsertStmt
	t     *catalog.Table
	named []string // the columns that it gives, in the order of its values
	// drawn are columns whose values come back by RETURNING.
	drawn []string
	why   string // why the first of them is drawn
}

func (j *job) insert(n *pg.Node, st *pg.InsertStmt) error {
	parts := nodes([]*pg.Node{st.SelectStmt}, st.ReturningList)
	if st.WithClause != nil {
		parts = append(parts, st.WithClause)
	}
	if st.OnConflictClause != nil {
		parts = append(parts, st.OnConflictClause)
	}
	if err := j.scan(parts...); err != nil {
		return err
	}
	events := catalog.TriggerInsert
	updates := st.OnConflictClause.GetAction() == pg.OnConflictAction_ONCONFLICT_UPDATE
	if updates {
		events |= catalog.TriggerUpdate
	}
	t, err := j.written(st.Relation, events)
	if err != nil {
		return err
	}
	if err := j.calmly(t, events, nil, st.Relation.Location); err != nil {
		return err
	}
	i := &inserting{job: j, node: n, st: st, t: t}
	if err := i.columns(); err != nil {
		return err
	}
	values, err := i.defaults()
	if err != nil {
		return err
	}
	if j.unfollowed(t) {
		return j.unpublished(t, i.changes(), false)
	}
	var touched []*catalog.Table
	if updates {
		touched, err = i.upsert()
	} else {
		err = i.plain(values)
	}
	if err != nil {
		return err
	}
	if err := j.alongside(t, touched, events, nil); err != nil {
		return err
	}
	return j.finishWrite(t, touched)
}

// columns lists the columns that the statement gives.
func (i *inserting) columns() error {
	if len(i.st.Cols) == 0 {
		i.named = allColumns(i.t)
		return nil
	}
	for _, c := range i.st.Cols {
		target := c.GetResTarget()
		if i.t.Column(target.GetName()) == nil {
			return fmt.Errorf("column %s: %w", target.GetName(), errMustFail)
		}
		i.named = append(i.named, target.Name)
	}
	return nil
}

// values are the rows of INSERT … VALUES, nil for any other source.
func (i *inserting) values() ([][]*pg.Node, error) {
	s := i.st.SelectStmt.GetSelectStmt()
	if s == nil || len(s.ValuesLists) == 0 || s.WithClause != nil || s.LimitCount != nil || s.LimitOffset != nil || len(s.SortClause) > 0 || len(s.LockingClause) > 0 {
		return nil, nil
	}
	rows := make([][]*pg.Node, len(s.ValuesLists))
	for r, l := range s.ValuesLists {
		rows[r] = l.GetList().GetItems()
		if len(rows[r]) > len(i.named) || len(rows[r]) != len(rows[0]) || len(i.st.Cols) > 0 && len(rows[r]) != len(i.named) {
			return nil, fmt.Errorf("INSERT has more or fewer expressions than target columns: %w", errMustFail)
		}
	}
	return rows, nil
}

// defaults judges what is left to defaults, and notes the sequences drawn.
func (i *inserting) defaults() ([][]*pg.Node, error) {
	rows, err := i.values()
	if err != nil {
		return nil, err
	}
	given := i.named
	switch {
	case i.st.SelectStmt == nil: // DEFAULT VALUES
		given = nil
	case rows != nil:
		given = i.named[:len(rows[0])]
	case len(i.st.Cols) == 0:
		given = nil // INSERT … SELECT may leave out any column at the end
	}
	i.named = i.named[:len(given)]
	for k := range i.t.Columns {
		c := &i.t.Columns[k]
		at := slices.Index(given, c.Name)
		user := c.Identity != "" && i.st.Override == pg.OverridingKind_OVERRIDING_USER_VALUE
		if at >= 0 && !user && !anyDefault(rows, at) {
			continue
		}
		d, err := i.defaultOf(c)
		if err != nil {
			return nil, err
		}
		i.plan.Sequences = append(i.plan.Sequences, i.durable(d.draws)...)
		if d.drawn {
			i.draw(c.Name, "the default of column "+c.Name+" is not the same everywhere")
		}
	}
	return rows, nil
}

// durable leaves sequences of temporary tables out.
func (i *inserting) durable(draws []SequenceRef) []SequenceRef {
	if i.t.Temp && i.t.Schema != "" {
		return slices.DeleteFunc(slices.Clone(draws), func(s SequenceRef) bool { return s.Schema == i.t.Schema })
	}
	return draws
}

func anyDefault(rows [][]*pg.Node, at int) bool {
	return slices.ContainsFunc(rows, func(r []*pg.Node) bool { return r[at].GetSetToDefault() != nil })
}

func (i *inserting) draw(column, why string) {
	if len(i.drawn) == 0 {
		i.why = why
	}
	if !slices.Contains(i.drawn, column) {
		i.drawn = append(i.drawn, column)
	}
}

// plain plans an INSERT without DO UPDATE.
func (i *inserting) plain(rows [][]*pg.Node) error {
	switch {
	case len(i.t.Columns) == 0 && i.st.SelectStmt != nil:
		return i.refuse("INSERT into "+i.t.Qualified()+", which has no columns", -1, "nothing comes back of its rows", "INSERT … DEFAULT VALUES, or add a column.")
	case len(i.t.Columns) == 0:
		return i.text(i.t, i.st.Relation, i.node, i.st.ReturningList, becauseKey)
	case i.imagesFor != "":
		return i.asRows(i.imagesFor)
	case i.st.OnConflictClause != nil:
		return i.asRows("only the rows that did not conflict are known afterwards")
	case rows == nil && i.st.SelectStmt == nil:
		return i.asRows("its defaults are drawn on the primary")
	case rows == nil:
		return i.asRows("it inserts what it reads")
	case i.eff.subqueries:
		return i.asRows("a value is read by a subquery")
	case i.st.WithClause != nil:
		return i.asRows(becauseWith)
	case i.st.Override == pg.OverridingKind_OVERRIDING_USER_VALUE:
		return i.asRows("values of identity columns are drawn")
	}
	for at, name := range i.named {
		c := i.t.Column(name)
		if i.st.Cols != nil && len(i.st.Cols[at].GetResTarget().Indirection) > 0 {
			return i.asRows("it sets a part of column " + name)
		}
		for _, r := range rows {
			why, err := i.unsafeValue(c, r[at])
			if err != nil {
				return err
			}
			if why != "" {
				i.draw(name, "column "+name+": "+why)
			}
		}
	}
	if len(i.drawn)*len(rows) > maxDrawn {
		return i.asRows(i.why)
	}
	if len(i.drawn) > 0 {
		set, err := i.sets(rows)
		if err != nil {
			return err
		}
		if set {
			return i.asRows("it inserts what it reads") // as from a query
		}
		return i.pinned(rows)
	}
	return i.text(i.t, i.st.Relation, i.node, i.st.ReturningList, becauseKey)
}

// sets tells whether a value may be a set, which makes more rows than VALUES has.
func (j *job) sets(rows [][]*pg.Node) (found bool, err error) {
	facts, err := j.facts()
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		_ = walk(&pg.List{Items: row}, func(m proto.Message) (bool, error) { // visit makes no errors
			if call, ok := m.(*pg.FuncCall); ok {
				_, fn := name(call.Funcname)
				found = found || j.c.catalog.Builtins().Sets[fn] ||
					slices.ContainsFunc(facts.Functions[fn], func(f catalog.Function) bool { return f.Set })
			}
			return !found, nil
		})
	}
	return found, nil
}

// unsafeValue says why the value of a column may not travel as it is written.
func (j *job) unsafeValue(c *catalog.Column, v *pg.Node) (string, error) {
	if v.GetSetToDefault() != nil {
		return "", nil // defaults judged it
	}
	if p := v.GetParamRef(); p != nil && !plainParam(c, j.paramOID(p)) {
		return "its type may read a parameter differently elsewhere", nil
	}
	if v.GetAConst().GetSval() != nil && slices.Contains(objects, c.BaseOID) {
		return "it holds object numbers", nil
	}
	return j.unsafe(v, columnCategory(c), scope{})
}

func (i *inserting) asRows(reason string) error {
	return i.rows(i.t, i.st.Relation, event.ActionInsert, nil, stored(i.t), i.st.ReturningList, reason)
}

// pinned plans an INSERT … VALUES some of whose columns come back by RETURNING;
// the frozen text gives them as parameters. RETURNING gives rows in the order of
// VALUES.
func (i *inserting) pinned(rows [][]*pg.Node) error {
	hidden := i.drawn
	if i.in.Level == event.LevelFull {
		hidden = allColumns(i.t)
	}
	if err := i.access(i.t, hidden); err != nil {
		return err
	}
	if err := i.exact(i.t, hidden); err != nil {
		return err
	}
	f := i.newFreezer(i.node)
	st := f.stmt.GetInsertStmt()
	i.giveColumns(f, st, hidden, rows)
	pinsTime := f.pinTime()
	i.write(event.ClassPinned, i.why)
	if pinsTime {
		i.plan.Reason += "; the transaction's time is pinned"
	}
	i.hide(i.t, relName(i.st.Relation), hidden, i.st.ReturningList)
	st.ReturningList = nil
	if i.in.Level == event.LevelFull {
		st.ReturningList = returningNodes(relName(i.st.Relation), hidden)
	}
	text, params, err := f.finish()
	if err != nil {
		return i.asRows("its frozen form cannot be written: " + err.Error())
	}
	i.plan.Whole = true
	i.plan.frozen = frozen{kind: freezeText, text: text, params: params, counted: true, rows: len(rows)}
	return nil
}

// giveColumns makes the frozen INSERT name all its columns and give the drawn
// ones as parameters.
func (i *inserting) giveColumns(f *freezer, st *pg.InsertStmt, hidden []string, rows [][]*pg.Node) {
	all := slices.Clone(i.named)
	for _, d := range i.drawn {
		if !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	st.Cols = nil
	for _, c := range all {
		st.Cols = append(st.Cols, &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Name: c}}})
	}
	lists := st.SelectStmt.GetSelectStmt().ValuesLists
	for r := range rows {
		list := lists[r].GetList()
		for at, name := range all {
			if !slices.Contains(i.drawn, name) {
				continue
			}
			c := i.t.Column(name)
			src := source{from: fromRow, index: slices.Index(hidden, name), row: r}
			if c.TypeOID < firstUserOID {
				src.oid = c.TypeOID
			}
			if at < len(list.Items) {
				list.Items[at] = f.add(src)
			} else {
				list.Items = append(list.Items, f.add(src))
			}
			if c.Identity != "" {
				st.Override = pg.OverridingKind_OVERRIDING_SYSTEM_VALUE
			}
		}
	}
}
