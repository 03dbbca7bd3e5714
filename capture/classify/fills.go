package classify

import (
	"errors"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
)

// Fills is about ALTER TABLE … ADD COLUMN, or ALTER COLUMN … TYPE, that gives each row that is there a value of
// its own. The command travels as it is, and behind it, in its transaction, what the rows
// got here: images, which a target puts in place of what it has computed itself.
type Fills struct {
	Schema, Name string
	Columns      []string
}

// Key is the key that the images of a table name its rows by.
func (f *Fills) Key(t *catalog.Table) (*catalog.Key, *Refusal) {
	if k := t.Identity(f.Columns); k != nil {
		return k, nil
	}
	return nil, &Refusal{Construct: "ALTER TABLE " + t.Qualified(), Reason: "each row gets a value of its own, and none is named by a key", Hint: addColumnHint}
}

// newColumn is a column that is added.
type newColumn struct {
	def *pg.ColumnDef
	oid uint32 // of its type, 0 where that is not built in, or serial
	cat string // of its type
}

// fill has the values of a new column read back behind the statement; false: they
// cannot be. The default is nil where the type or an identity makes it.
func (j *job) fill(t *catalog.Table, c newColumn, e *pg.Node) (bool, error) {
	if !addsOnly(j.stmt.GetAlterTableStmt()) {
		return false, nil
	}
	if isUnique(c.def) && c.oid != oidUUID {
		return false, nil // a value could be one that a target has given to another row
	}
	return j.readBack(t, c.def.Colname, func() error { return j.computed(e, c.cat) })
}

// fillType has the values of a column's new type read back; false: they cannot be.
func (j *job) fillType(t *catalog.Table, column string, using *pg.Node) (bool, error) {
	if !convertsOnly(j.stmt.GetAlterTableStmt()) {
		return false, nil
	}
	if slices.ContainsFunc(t.Keys, func(k catalog.Key) bool { return slices.Contains(k.Columns, column) }) {
		return false, nil // as for new columns
	}
	return j.readBack(t, column, func() error {
		drawn := len(j.eff.draws)
		if using != nil {
			if err := j.scan(using); err != nil {
				return err
			}
		}
		if len(j.eff.draws) > drawn {
			return &Refusal{Reason: "it draws from a sequence"}
		}
		return nil
	})
}

// readBack has the values of a column read back behind the statement, if what computes
// them may be run on each server; false: they cannot be.
func (j *job) readBack(t *catalog.Table, column string, computed func() error) (bool, error) {
	columns := []string{column}
	if j.plan.Fills != nil {
		columns = append(columns, j.plan.Fills.Columns...)
	}
	// The server rewrites rows that break a CHECK, and takes no UPDATE of them.
	if t == nil || t.Unvalidated || j.in.Behind != nil || j.unfollowed(t) || t.Children > 0 || t.Identity(columns) == nil {
		return false, nil
	}
	var refusal *Refusal
	for _, check := range []func() error{
		func() error { return j.writable(t, -1) },
		func() error { return j.imaged(t) },
		func() error { return j.access(t, append(allColumns(t), column)) },
		computed,
	} {
		if err := check(); errors.As(err, &refusal) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	if j.plan.Fills == nil {
		j.plan.Fills = &Fills{Schema: t.Schema, Name: t.Name}
	}
	j.plan.Fills.Columns = append(j.plan.Fills.Columns, column)
	j.plan.Reason = "DDL; what the rows got is read back"
	return true, nil
}

// imaged refuses a table whose triggers would act on images: they sleep where the
// workers can have them sleep, as for what the capture triggers keep.
func (j *job) imaged(t *catalog.Table) error {
	if !j.c.catalog.Triggers() {
		return j.quiet(t, catalog.TriggerUpdate, nil, -1)
	}
	if t.Awake != "" {
		return j.refuse("ALTER TABLE "+t.Qualified(), -1, t.Awake+" acts where triggers sleep", "")
	}
	return nil
}

// addsOnly says that a statement leaves the rest of the table's columns and keys alone.
func addsOnly(st *pg.AlterTableStmt) bool {
	return !slices.ContainsFunc(st.GetCmds(), func(n *pg.Node) bool {
		switch cmd := n.GetAlterTableCmd(); cmd.Subtype {
		case pg.AlterTableType_AT_AddColumn, pg.AlterTableType_AT_ColumnDefault, pg.AlterTableType_AT_SetNotNull, pg.AlterTableType_AT_DropNotNull:
			return false
		case pg.AlterTableType_AT_AddConstraint:
			kind := cmd.Def.GetConstraint().GetContype()
			return kind != pg.ConstrType_CONSTR_CHECK && kind != pg.ConstrType_CONSTR_FOREIGN
		}
		return true
	})
}

// convertsOnly says that a statement changes types and defaults of columns alone.
func convertsOnly(st *pg.AlterTableStmt) bool {
	return !slices.ContainsFunc(st.GetCmds(), func(n *pg.Node) bool {
		switch n.GetAlterTableCmd().Subtype {
		case pg.AlterTableType_AT_AlterColumnType, pg.AlterTableType_AT_ColumnDefault, pg.AlterTableType_AT_SetNotNull, pg.AlterTableType_AT_DropNotNull:
			return false
		}
		return true
	})
}

func isUnique(def *pg.ColumnDef) bool {
	return slices.ContainsFunc(def.Constraints, func(n *pg.Node) bool {
		kind := n.GetConstraint().GetContype()
		return kind == pg.ConstrType_CONSTR_UNIQUE || kind == pg.ConstrType_CONSTR_PRIMARY
	})
}

// computed refuses a default whose value hangs on something else than the functions that
// it calls (a word like 'now' is a constant by the time that it is stored, another one
// on each server), and one whose functions may write.
func (j *job) computed(e *pg.Node, cat string) error {
	if e == nil {
		return nil
	}
	rest := proto.Clone(e).(*pg.Node)
	if err := j.withoutCalls(rest); err != nil {
		return err
	}
	if why, err := j.unsafe(rest, cat, scope{}); err != nil || why != "" {
		return errors.Join(err, &Refusal{Reason: why})
	}
	return j.scan(e)
}

// withoutCalls puts NULL in place of the calls of functions whose values differ.
func (j *job) withoutCalls(n *pg.Node) error {
	return walk(n, func(m proto.Message) (bool, error) {
		n, ok := m.(*pg.Node)
		if !ok || n.GetFuncCall() == nil || j.pinsTime(n) {
			return true, nil
		}
		f := n.GetFuncCall()
		if cast, err := j.isCast(f); cast || err != nil {
			return true, err // of a constant it is one itself
		}
		for _, arg := range f.Args {
			if err := j.computed(arg, ""); err != nil {
				return false, err
			}
		}
		if why, err := j.unsafeFunction(f, scope{}); err != nil || why == "" {
			return false, err
		}
		n.Node = &pg.Node_AConst{AConst: &pg.A_Const{Isnull: true}}
		return false, nil
	})
}

// isCast says that a call may be a cast in the form of one.
func (j *job) isCast(f *pg.FuncCall) (bool, error) {
	_, fn := name(f.Funcname)
	facts, err := j.facts()
	return err != nil || facts.Types[fn] != "" || j.c.catalog.Builtins().Types[fn] != 0, err
}
