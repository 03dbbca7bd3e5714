package classify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// set plans SET and RESET.
func (j *job) set(st *pg.VariableSetStmt) error {
	j.plan.ContextChanges = true
	if st.Kind != pg.VariableSetKind_VAR_SET_VALUE {
		return nil
	}
	return j.allowSetting(st.Name, settingValue(st.Args), -1)
}

// settingValue is the value of SET name = value, ….
func settingValue(args []*pg.Node) string {
	var list []string
	for _, a := range args {
		if t := a.GetTypeCast(); t != nil {
			a = t.Arg
		}
		c := a.GetAConst()
		switch {
		case c.GetSval() != nil:
			list = append(list, c.GetSval().Sval)
		case c.GetIval() != nil:
			list = append(list, strconv.Itoa(int(c.GetIval().Ival)))
		case c.GetFval() != nil:
			list = append(list, c.GetFval().Fval)
		case c.GetBoolval() != nil:
			list = append(list, strconv.FormatBool(c.GetBoolval().Boolval))
		default:
			list = append(list, "?")
		}
	}
	return strings.Join(list, ", ")
}

// visitSetConfig judges a call of set_config.
func (j *job) visitSetConfig(n *pg.FuncCall) error {
	if len(n.Args) != 3 {
		return fmt.Errorf("set_config with %d arguments: %w", len(n.Args), errMustFail)
	}
	j.valued = true
	key := n.Args[0].GetAConst().GetSval()
	if key == nil && harmlessValue(n.Args[1]) {
		return nil // pg_dump asks so whether there is such a setting
	}
	if key == nil {
		return j.refuse("set_config of a computed setting", n.Location, "the setting cannot be told from the statement", "Name the setting as a constant.")
	}
	if _, listed := unsupportedSettings[strings.ToLower(key.Sval)]; !listed {
		return nil
	}
	value := n.Args[1].GetAConst().GetSval()
	if value == nil {
		return j.never("set_config('"+key.Sval+"', …) with a computed value", n.Location, "the value cannot be told from the statement", "Give the value as a constant.")
	}
	return j.allowSetting(key.Sval, value.Sval, n.Location)
}

// harmlessValue says that none of unsupportedSettings, which take a boolean, can be
// given this value.
func harmlessValue(n *pg.Node) bool {
	value := n.GetAConst().GetSval()
	if value == nil {
		return false
	}
	v := strings.ToLower(strings.TrimSpace(value.Sval))
	return v != "" && !slices.ContainsFunc([]string{"true", "false", "yes", "no", "on", "off", "1", "0"},
		func(word string) bool { return strings.HasPrefix(word, v) })
}

// transaction plans the commands of transaction control.
func (j *job) transaction(st *pg.TransactionStmt) error {
	p := j.plan
	p.Name, p.Chain, p.GID = st.SavepointName, st.Chain, st.Gid
	j.uncacheable = st.Gid != "" // names are used once
	switch st.Kind {
	case pg.TransactionStmtKind_TRANS_STMT_BEGIN, pg.TransactionStmtKind_TRANS_STMT_START:
		p.Kind, p.ContextChanges = Begin, len(st.Options) > 0
	case pg.TransactionStmtKind_TRANS_STMT_COMMIT:
		p.Kind = Commit
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK:
		p.Kind = Rollback
	case pg.TransactionStmtKind_TRANS_STMT_SAVEPOINT:
		p.Kind = Savepoint
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:
		p.Kind = RollbackTo
	case pg.TransactionStmtKind_TRANS_STMT_RELEASE:
		p.Kind = Release
	case pg.TransactionStmtKind_TRANS_STMT_PREPARE:
		p.Kind, p.Prepares = Commit, true
	case pg.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:
		p.Kind = CommitPrepared
	case pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		p.Kind = RollbackPrepared
	default:
		return j.never("transaction control of an unknown kind", -1, "what it does is not known", "")
	}
	return nil
}

// discard plans DISCARD.
func (j *job) discard(st *pg.DiscardStmt) error {
	all := st.Target == pg.DiscardMode_DISCARD_ALL
	j.plan.ContextChanges, j.plan.DiscardsStatements = all, all
	j.plan.CatalogChanges = all || st.Target == pg.DiscardMode_DISCARD_TEMP
	return nil
}

// cursor plans DECLARE, whose query runs piecemeal as it is fetched.
func (j *job) cursor(st *pg.DeclareCursorStmt) error {
	j.plan.Name, j.plan.Holds = st.Portalname, holds(st) && j.c.catalog.Triggers()
	if st.Query.GetSelectStmt() == nil {
		return j.refuse("a cursor over a data-modifying statement", -1, "its rows are changed piecemeal", "Run the statement without a cursor.")
	}
	if err := j.scan(st.Query); err != nil {
		return err
	}
	if len(j.eff.draws) > 0 || len(j.eff.setval) > 0 {
		return j.refuse("a cursor over a query that moves a sequence", -1, "it runs piecemeal as it is fetched, or at COMMIT", "Run the query without a cursor.")
	}
	j.plan.ContextChanges = j.eff.context
	return nil
}

// optionHold is CURSOR_OPT_HOLD of the server's parse nodes.
const optionHold = 0x20

func holds(st *pg.DeclareCursorStmt) bool { return st.Options&optionHold != 0 }

// explain plans EXPLAIN, which with ANALYZE runs the statement.
func (j *job) explain(st *pg.ExplainStmt) error {
	if ex := st.Query.GetExecuteStmt(); ex != nil { // its arguments are computed in any case
		if err := j.scan(nodes(ex.Params)...); err != nil {
			return err
		}
	}
	if !enabled(st.Options, "analyze") {
		return j.finishRead()
	}
	inner := st.Query
	if d := inner.GetDeclareCursorStmt(); d != nil {
		inner = d.Query
	}
	if inner.GetSelectStmt() == nil {
		return j.refuse("EXPLAIN ANALYZE of "+construct(inner), -1, "it runs the statement without returning its rows", "Use EXPLAIN without ANALYZE.")
	}
	if err := j.scan(inner); err != nil {
		return err
	}
	return j.finishRead()
}

// enabled reads a boolean option of EXPLAIN or COPY.
func enabled(options []*pg.Node, name string) bool {
	on := false
	for _, o := range options {
		d := o.GetDefElem()
		if d == nil || d.Defname != name {
			continue
		}
		on = d.Arg == nil || !slices.Contains([]string{"false", "off", "0"}, strings.ToLower(optionValue(d)))
	}
	return on
}

// optionValue is an option's value as text.
func optionValue(d *pg.DefElem) string {
	switch a := d.Arg; {
	case a.GetString_() != nil:
		return a.GetString_().Sval
	case a.GetBoolean() != nil:
		return strconv.FormatBool(a.GetBoolean().Boolval)
	case a.GetInteger() != nil:
		return strconv.Itoa(int(a.GetInteger().Ival))
	case a.GetFloat() != nil:
		return a.GetFloat().Fval
	}
	return ""
}
