package classify

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgstrings"
)

// A DO of migrations that only defines objects, and takes it for done where they are
// there already, is one piece of conditional DDL:
//
//	DO $$ BEGIN CREATE TYPE mood AS ENUM ('sad', 'ok'); EXCEPTION WHEN duplicate_object THEN NULL; END $$
//
// It travels as text, as CREATE … IF NOT EXISTS does. The language has hundreds of
// other things to say, all of which a target might decide in another way: so what is
// not listed here is no such block.

// errNoDefinitions says that a block does more than to define objects.
var errNoDefinitions = errors.New("it does more than to define objects")

// blockNode is a statement of PL/pgSQL; one of the fields is set.
type blockNode struct {
	Block   *block    `json:"PLpgSQL_stmt_block"`
	Execute *execute  `json:"PLpgSQL_stmt_execsql"`
	Return  *struct{} `json:"PLpgSQL_stmt_return"` // the parser's own, at the end, which is on no line
}

// block is BEGIN … END.
type block struct {
	Line       int         `json:"lineno"`
	Body       []blockNode `json:"body"`
	Exceptions *handlers   `json:"exceptions"`
}

// execute is a statement of SQL.
type execute struct {
	Line      int `json:"lineno"`
	Statement struct {
		Expr struct {
			Query string `json:"query"`
			Mode  int    `json:"parseMode"`
		} `json:"PLpgSQL_expr"`
	} `json:"sqlstmt"`
}

// handlers are the WHEN clauses of a block; what they do is no field, and has to be
// nothing.
type handlers struct {
	Block struct {
		List []struct {
			Exception struct {
				Line       int `json:"lineno"`
				Conditions []struct {
					Condition struct {
						Name string `json:"condname"`
					} `json:"PLpgSQL_condition"`
				} `json:"conditions"`
			} `json:"PLpgSQL_exception"`
		} `json:"exc_list"`
	} `json:"PLpgSQL_exception_block"`
}

// there are the conditions that say that an object exists. Others (OTHERS before all)
// may hide what befalls one server alone: a right, a lock, a full disk.
var there = words("duplicate_object duplicate_table duplicate_column duplicate_schema duplicate_function")

// thereOrAnother are these and what catalog.Numbered.Operation passes over besides: a worker
// reads what it gets, which the agent has chosen.
var thereOrAnother = words("duplicate_object duplicate_table duplicate_column duplicate_schema duplicate_function wrong_object_type")

// variable is one without a value of its own.
type variable struct {
	Var struct {
		Name     string          `json:"refname"`
		Line     int             `json:"lineno"`
		Type     json.RawMessage `json:"datatype"`
		Constant bool            `json:"isconst"`
	} `json:"PLpgSQL_var"`
}

// everyBlocks are the variables that no DECLARE makes.
var everyBlocks = words("found sqlstate sqlerrm")

// definitionsIn lists the statements of a block that does nothing but run them, and pass over
// some conditions.
func definitionsIn(st *pg.DoStmt, conditions map[string]bool) ([]string, error) {
	source := ""
	for _, a := range st.Args {
		switch d := a.GetDefElem(); {
		case d.GetDefname() == "as":
			source = d.GetArg().GetString_().GetSval()
		case d.GetDefname() == "language" && strings.EqualFold(d.GetArg().GetString_().GetSval(), "plpgsql"):
		default:
			return nil, errNoDefinitions
		}
	}
	text, err := parseFunction(source, "void")
	if err != nil {
		return nil, errors.Join(errNoDefinitions, err)
	}
	var list []struct {
		Function struct {
			Datums []variable `json:"datums"`
			Action blockNode  `json:"action"`
		} `json:"PLpgSQL_function"`
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil || len(list) != 1 {
		return nil, errors.Join(errNoDefinitions, err)
	}
	for _, d := range list[0].Function.Datums {
		if !everyBlocks[d.Var.Name] {
			return nil, errNoDefinitions
		}
	}
	statements, err := list[0].Function.Action.statements(nil, conditions)
	if err == nil && len(statements) == 0 {
		err = errNoDefinitions
	}
	return statements, err
}

// statements appends the SQL of a node.
func (n *blockNode) statements(list []string, conditions map[string]bool) ([]string, error) {
	switch {
	case n.Execute != nil:
		return append(list, n.Execute.Statement.Expr.Query), nil
	case n.Block == nil:
		return list, nil
	}
	if n.Block.Exceptions != nil {
		for _, e := range n.Block.Exceptions.Block.List {
			for _, c := range e.Exception.Conditions {
				if !conditions[c.Condition.Name] {
					return nil, errNoDefinitions
				}
			}
		}
	}
	for i := range n.Block.Body {
		var err error
		if list, err = n.Block.Body[i].statements(list, conditions); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// defineInBlock plans a DO that only defines objects; false where it may do more.
func (j *job) defineInBlock(st *pg.DoStmt) (bool, error) {
	if j.c.catalog.Triggers() {
		return false, nil // the event trigger tells what it did
	}
	statements, err := definitionsIn(st, there)
	if err != nil || j.in.Lenient && slices.ContainsFunc(statements, func(sql string) bool { return !pgstrings.Same(sql) }) {
		return false, nil //nolint:nilerr // it is refused as any other
	}
	for _, sql := range statements {
		plain, err := j.defineInside(sql)
		if !plain || err != nil {
			return false, err
		}
	}
	j.uncacheable = true // the block is a constant to the cache
	return true, j.define()
}

// defineInside takes one statement of a block; false where its plan asks for more than
// to run its text.
func (j *job) defineInside(sql string) (bool, error) {
	tree, err := parse(sql)
	if err != nil || len(tree.Stmts) != 1 || !j.definesByText(tree.Stmts[0].Stmt) {
		return false, nil //nolint:nilerr // the server's parser will say so
	}
	in := *j.in
	in.SQL, in.ParamOIDs = sql, nil
	inner := newJob(j.ctx, j.c, &in, j.plan.CatalogVersion)
	inner.grammar = tree.Version
	plan, err := inner.run(tree.Stmts[0])
	if err != nil {
		return false, err
	}
	p := j.plan
	p.CatalogVersion = plan.CatalogVersion
	p.Renames = p.Renames || plan.Renames
	if !plan.textOnly() {
		return false, nil
	}
	p.TableRefs = append(p.TableRefs, plan.TableRefs...)
	for _, table := range plan.Tables {
		if !slices.Contains(p.Tables, table) {
			p.Tables = append(p.Tables, table)
		}
	}
	return true, nil
}

// definesByText tells the kinds of statements that are looked at inside of a block.
func (j *job) definesByText(n *pg.Node) bool {
	switch s := n.Node.(type) {
	case *pg.Node_CreateEnumStmt, *pg.Node_AlterEnumStmt, *pg.Node_CompositeTypeStmt, *pg.Node_CreateDomainStmt, *pg.Node_CreateRangeStmt,
		*pg.Node_CreateStmt, *pg.Node_CreateSchemaStmt, *pg.Node_CreateSeqStmt, *pg.Node_IndexStmt:
		return !alone(n)
	case *pg.Node_AlterTableStmt:
		return !slices.ContainsFunc(s.AlterTableStmt.Cmds, func(c *pg.Node) bool {
			t := c.GetAlterTableCmd().GetSubtype()
			return t != pg.AlterTableType_AT_AddConstraint && t != pg.AlterTableType_AT_AddColumn
		})
	}
	return false
}

// textOnly says that DDL is carried by its text, with nothing to be asked or locked
// beside it.
func (p *Plan) textOnly() bool {
	return p.Kind == DDL && p.Class == event.ClassText && p.Reason == "DDL" && !p.frozen.marked && p.frozen.then == "" &&
		p.Rebuilds == nil && p.Makes == nil && p.Fills == nil && p.Computes == nil &&
		!p.Offsets && !p.Recomputes && !p.Restarts && p.Lock == "" && len(p.Sequences) == 0
}
