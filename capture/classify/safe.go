package classify

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// scope is what a row-local expression may see.
type scope struct {
	// table's columns may be read; nil: none.
	table *catalog.Table
	// rel is the name or alias that may qualify a column.
	rel string
}

// A value's category is given to the check of an expression where it is known what
// type the value is taken for: one that is not "" and not "D" cannot be a date.

// comparisons are the operators that a form written like an operator stands for.
func comparisons(kind pg.A_Expr_Kind, op string) []string {
	switch kind {
	case pg.A_Expr_Kind_AEXPR_BETWEEN, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN:
		return []string{"<", ">", "<=", ">="}
	}
	return []string{op}
}

// unsafe says why an expression's value is not a function of literals, parameters,
// session settings and the row alone; "" where it is. The list of what may stand
// in it is closed: what is not named here is unsafe.
func (j *job) unsafe(n *pg.Node, cat string, s scope) (string, error) {
	if cast, err := j.mayBeCast(n, cat); cast || err != nil {
		return "it may run a cast of the user's", err
	}
	switch {
	case n == nil:
		return "", nil
	case cat == offsetTime:
		return j.unsafeTimeOfDay(n, s)
	case n.GetAConst() != nil:
		return unsafeConst(n.GetAConst(), cat), nil
	case n.GetParamRef() != nil:
		return j.unsafeParam(n.GetParamRef(), cat), nil
	case n.GetColumnRef() != nil:
		return unsafeColumn(n.GetColumnRef(), s), nil
	case n.GetTypeCast() != nil:
		return j.unsafeCast(n.GetTypeCast(), s)
	case n.GetAExpr() != nil:
		return j.unsafeOperator(n.GetAExpr(), s)
	case n.GetFuncCall() != nil:
		return j.unsafeFunction(n.GetFuncCall(), s)
	case n.GetSqlvalueFunction() != nil:
		if timeType(n.GetSqlvalueFunction()) == "" {
			return "it names the user or the place", nil
		}
		j.timed = true
		return "", nil
	case n.GetBoolExpr() != nil:
		return j.unsafeList(n.GetBoolExpr().Args, "B", s)
	case n.GetNullTest() != nil:
		return j.unsafe(n.GetNullTest().Arg, "", s)
	case n.GetBooleanTest() != nil:
		return j.unsafe(n.GetBooleanTest().Arg, "B", s)
	case n.GetCoalesceExpr() != nil:
		return j.unsafeSame(n.GetCoalesceExpr().Args, cat, s)
	case n.GetMinMaxExpr() != nil:
		return j.unsafeSame(n.GetMinMaxExpr().Args, cat, s)
	case n.GetCaseExpr() != nil:
		return j.unsafeCase(n.GetCaseExpr(), cat, s)
	case n.GetAArrayExpr() != nil:
		return j.unsafeSame(n.GetAArrayExpr().Elements, "", s)
	case n.GetNamedArgExpr() != nil:
		return j.unsafe(n.GetNamedArgExpr().Arg, cat, s)
	case n.GetAIndirection() != nil:
		return j.unsafeElement(n.GetAIndirection(), s)
	}
	return fmt.Sprintf("it contains %s", describe(n)), nil
}

func unsafeConst(c *pg.A_Const, cat string) string {
	if c.GetSval() != nil && (cat == "" || cat == "D") && hasDateWord(c.GetSval().Sval) {
		return "a value may be read as a moment of the clock (" + c.GetSval().Sval + ")"
	}
	return ""
}

func (j *job) unsafeParam(p *pg.ParamRef, cat string) string {
	switch oid := j.paramOID(p); {
	case oid >= firstUserOID:
		return fmt.Sprintf("parameter $%d is of a type that is not built in", p.Number)
	case slices.Contains(objects, oid):
		return fmt.Sprintf("parameter $%d is an object's number", p.Number)
	case oid == 0 || oid == oidUnknown:
		if cat == "" || cat == "D" {
			return fmt.Sprintf("parameter $%d may be read as a moment of the clock", p.Number)
		}
	case slices.Contains(dated, oid):
		return fmt.Sprintf("parameter $%d may be a moment of the clock", p.Number)
	}
	return ""
}

func (j *job) paramOID(p *pg.ParamRef) uint32 {
	if i := int(p.Number) - 1; i >= 0 && i < len(j.in.ParamOIDs) {
		return j.in.ParamOIDs[i]
	}
	return 0
}

func unsafeColumn(c *pg.ColumnRef, s scope) string {
	col := s.column(c)
	switch {
	case col == nil:
		return "it reads something other than a column of its row"
	case isOpaque(col):
		return "column " + col.Name + " is of a type that is not built in"
	case slices.Contains(objects, col.BaseOID):
		return "column " + col.Name + " holds object numbers"
	}
	return ""
}

// column resolves a reference to a column of the scope's row, nil for anything else.
func (s scope) column(c *pg.ColumnRef) *catalog.Column {
	if s.table == nil || len(c.Fields) == 0 || len(c.Fields) > 2 {
		return nil
	}
	if len(c.Fields) == 2 && c.Fields[0].GetString_().GetSval() != s.rel {
		return nil
	}
	return s.table.Column(c.Fields[len(c.Fields)-1].GetString_().GetSval())
}

func (j *job) unsafeList(list []*pg.Node, cat string, s scope) (string, error) {
	for _, n := range list {
		if why, err := j.unsafe(n, cat, s); why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

// unsafeSame judges expressions that the server gives one common type.
func (j *job) unsafeSame(list []*pg.Node, cat string, s scope) (string, error) {
	for _, n := range list {
		if cat != "" {
			break
		}
		c, err := j.categoryOf(n, s)
		if err != nil {
			return "", err
		}
		cat = c
	}
	return j.unsafeList(list, cat, s)
}

func (j *job) unsafeCase(c *pg.CaseExpr, cat string, s scope) (string, error) {
	facts, err := j.facts()
	if err != nil {
		return "", err
	}
	if c.Arg != nil && facts.Operators["="].Builtin {
		return "the operator = of a CASE may be one that is not built in", nil
	}
	results := []*pg.Node{c.Defresult}
	operand, err := j.categoryOf(c.Arg, s)
	if err != nil {
		return "", err
	}
	if why, err := j.unsafe(c.Arg, "", s); why != "" || err != nil {
		return why, err
	}
	for _, w := range c.Args {
		when := w.GetCaseWhen()
		if when == nil {
			return "it contains an unknown CASE", nil
		}
		if c.Arg == nil {
			operand = "B"
		}
		if why, err := j.unsafe(when.Expr, operand, s); why != "" || err != nil {
			return why, err
		}
		results = append(results, when.Result)
	}
	return j.unsafeSame(results, cat, s)
}

func (j *job) unsafeCast(c *pg.TypeCast, s scope) (string, error) {
	oid, err := j.typeOID(c.TypeName)
	if err != nil {
		return "", err
	}
	enum, err := j.isEnum(&pg.TypeName{Names: c.TypeName.GetNames(), Setof: c.TypeName.GetSetof(), PctType: c.TypeName.GetPctType()}) // or an array of one
	switch {
	case err != nil:
		return "", err
	case enum:
		return j.unsafe(c.Arg, "U", s)
	case oid == 0:
		return "it casts to a type that is not built in", nil
	case slices.Contains(objects, oid):
		return "it casts to an object's number", nil
	}
	if slices.Contains(offsetTimes, oid) {
		return j.unsafeTimeOfDay(c.Arg, s)
	}
	if slices.Contains(dated, oid) {
		return j.unsafeDate(c.Arg, s)
	}
	cat := category(oid)
	if cat == "" {
		cat = "U"
	}
	return j.unsafe(c.Arg, cat, s)
}

// unsafeDate judges what is cast to a date or time. A computed text may hold a
// special date word, so only constants and what is a date or time already will do.
func (j *job) unsafeDate(arg *pg.Node, s scope) (string, error) {
	switch {
	case arg.GetAConst() != nil, arg.GetSqlvalueFunction() != nil:
	case arg.GetFuncCall() != nil && isTransactionTime(arg.GetFuncCall()):
	case arg.GetColumnRef() != nil:
		if c := s.column(arg.GetColumnRef()); c == nil || c.Category != "D" {
			return "it reads a text as a date or time, which may be a moment of the clock", nil
		}
	case arg.GetTypeCast() != nil:
		if oid, err := j.typeOID(arg.GetTypeCast().TypeName); err != nil || !slices.Contains(dated, oid) {
			return "it reads a text as a date or time, which may be a moment of the clock", err
		}
	default:
		return "it computes a date or time, which may be a moment of the clock", nil
	}
	return j.unsafe(arg, "D", s)
}

// unsafeOperator judges operators and the forms that are written like them.
func (j *job) unsafeOperator(e *pg.A_Expr, s scope) (string, error) {
	facts, err := j.facts()
	if err != nil {
		return "", err
	}
	schema, op := name(e.Name)
	switch e.Kind {
	case pg.A_Expr_Kind_AEXPR_OP, pg.A_Expr_Kind_AEXPR_OP_ANY, pg.A_Expr_Kind_AEXPR_OP_ALL, pg.A_Expr_Kind_AEXPR_DISTINCT,
		pg.A_Expr_Kind_AEXPR_NOT_DISTINCT, pg.A_Expr_Kind_AEXPR_NULLIF, pg.A_Expr_Kind_AEXPR_IN, pg.A_Expr_Kind_AEXPR_LIKE,
		pg.A_Expr_Kind_AEXPR_ILIKE, pg.A_Expr_Kind_AEXPR_BETWEEN, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN:
	default:
		return "it contains an operator of a kind that is not known", nil
	}
	switch {
	case schema != "" && schema != "pg_catalog", slices.ContainsFunc(comparisons(e.Kind, op), func(op string) bool { return facts.Operators[op].Builtin }):
		return "operator " + op + " may be one that is not built in", nil
	case op == "@@" || op == "@@@":
		return "a text search depends on its configuration", nil
	case op == "^" || op == "||/":
		return "operator " + op + " depends on the machine's libraries", nil
	}
	left, err := j.categoryOf(e.Lexpr, s)
	if err != nil {
		return "", err
	}
	right, err := j.categoryOf(e.Rexpr, s)
	if err != nil {
		return "", err
	}
	// A literal or parameter of unknown type is taken for the type of the other side.
	if why, err := j.unsafe(e.Lexpr, right, s); why != "" || err != nil {
		return why, err
	}
	if l := e.Rexpr.GetList(); l != nil {
		return j.unsafeList(l.Items, left, s)
	}
	return j.unsafe(e.Rexpr, left, s)
}

func (j *job) unsafeFunction(f *pg.FuncCall, s scope) (string, error) {
	schema, fn := name(f.Funcname)
	if f.Over != nil || f.AggStar || f.AggDistinct || f.AggFilter != nil || len(f.AggOrder) > 0 || f.AggWithinGroup || f.FuncVariadic {
		return "it contains an aggregate or window function", nil
	}
	v, err := j.call(schema, fn)
	if err != nil {
		return "", err
	}
	if isTransactionTime(f) && v == callStable {
		shadowed, err := j.shadowed(schema, fn)
		if shadowed || err != nil {
			return "function " + fn + " may be one that is not built in", err
		}
		j.timed = true
		return "", nil
	}
	if v != callPure && v != callContext {
		return "function " + fn + " is not immutable and built in", nil
	}
	switch {
	case strings.HasPrefix(fn, "timetz"): // of all that it gets it makes such a time
		return ofTheDay, nil
	case fn == "timezone" && len(f.Args) > 0:
		if known, err := j.isTimestamp(f.Args[len(f.Args)-1], s); !known || err != nil {
			return ofTheDay, err
		}
	case castsToDate[fn] && len(f.Args) == 1:
		return j.unsafeDate(f.Args[0], s)
	}
	return j.unsafeArguments(f, s)
}

// unsafeArguments judges the arguments of a function. A constant beside a time with time
// zone may be taken for another.
func (j *job) unsafeArguments(f *pg.FuncCall, s scope) (string, error) {
	for _, a := range f.Args {
		cat, err := j.categoryOf(a, s)
		if err != nil {
			return "", err
		}
		if cat == offsetTime && slices.ContainsFunc(f.Args, func(n *pg.Node) bool {
			return mayBeTime(n.GetAConst().GetSval().GetSval())
		}) {
			return ofTheDay, nil
		}
	}
	return j.unsafeList(f.Args, "", s)
}
