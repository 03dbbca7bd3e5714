package classify

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/wire/pgstrings"
)

// A trigger is calm whose function does no more than compute columns of the row that is
// written, raise errors and notify: NEW.updated_at := now(). What it did is in the row that comes back, so that
// the statement travels as rows, which targets write while their triggers sleep.
// Function bodies in PL/pgSQL are read; any statement and any expression in them that is not
// known to be of this kind makes the trigger one that may write elsewhere.

// becauseCalm is the reason of what fires such triggers.
const becauseCalm = "its triggers compute columns of its rows"

// calmly plans for the triggers that a write of a table fires. set is as for Fires.
func (j *job) calmly(t *catalog.Table, events int, set []string, location int32) error {
	if t.Fires(events, set) == "" {
		return nil
	}
	columns, ok := j.calm(t, events, set)
	if ok && j.unfollowed(t) {
		return nil // their rows travel in no way
	}
	if !ok || t.Awake != "" || j.c.catalog.Triggers() {
		return j.quiet(t, events, set, location)
	}
	j.imagesFor, j.triggered = becauseCalm, columns
	j.plan.asleep = true
	return nil
}

// besides adds the columns that calm triggers compute to those that a statement sets.
func (j *job) besides(t *catalog.Table, assigned []string) []string {
	for _, c := range j.triggered {
		if !slices.Contains(assigned, c) {
			assigned = append(assigned, c)
		}
	}
	return recomputed(t, assigned)
}

// alongside refuses what foreign keys do besides, where targets write with triggers asleep:
// they would not do it.
func (j *job) alongside(t *catalog.Table, touched []*catalog.Table, events int, set []string) error {
	if j.plan.asleep && len(touched) > 0 {
		return j.quiet(t, events, set, -1)
	}
	return nil
}

// calm lists the columns that the triggers compute which the events fire; false where one
// of them may do more.
func (j *job) calm(t *catalog.Table, events int, set []string) (columns []string, ok bool) {
	for i := range t.Triggers {
		tr := &t.Triggers[i]
		if !tr.FiredBy(events, set) {
			continue
		}
		if tr.Asks || tr.Enabled != "O" {
			return nil, false
		}
		assigned, ok := j.assigns(tr)
		if !ok {
			return nil, false
		}
		for _, c := range assigned {
			if t.Column(c) == nil {
				return nil, false
			}
			columns = append(columns, c)
		}
	}
	return columns, true
}

// assigns lists the columns that a trigger's function computes; false where it may do more.
func (j *job) assigns(tr *catalog.Trigger) ([]string, bool) {
	switch {
	case tr.Computes != nil && *tr.Computes == "":
		return nil, true
	case tr.Computes != nil:
		return []string{*tr.Computes}, true
	case tr.Source == "" || j.in.Lenient && !pgstrings.Same(tr.Source):
		return nil, false
	}
	b := &body{job: j}
	err := b.read(tr.Source)
	return b.columns, err == nil
}

// body is a trigger's function as it is read.
type body struct {
	*job
	datums   []datum
	new      int
	columns  []string // of NEW that it assigns
	examined int
}

// errNotCalm says that a function may do more than compute columns.
var errNotCalm = errors.New("it may do more than compute columns")

// datum is a variable of a function; Of is the record whose field it is.
type datum struct {
	Var, Rec *struct {
		Refname string `json:"refname"`
	}
	Field *struct {
		Name string `json:"fieldname"`
		Of   int    `json:"recparentno"`
	}
}

// read reads the text of a function.
func (b *body) read(source string) error {
	text, err := parseFunction(source, "trigger")
	if err != nil {
		return errors.Join(errNotCalm, err)
	}
	var list []struct {
		Function *struct {
			New    int                          `json:"new_varno"`
			Datums []map[string]json.RawMessage `json:"datums"`
			Action json.RawMessage              `json:"action"`
		} `json:"PLpgSQL_function"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 || list[0].Function == nil {
		return errNotCalm
	}
	f := list[0].Function
	b.new = f.New
	for _, d := range f.Datums {
		if err := b.declare(d); err != nil {
			return err
		}
	}
	return b.node(f.Action)
}

// parseFunction is what the parser of PL/pgSQL makes of the text of a function, as JSON.
func parseFunction(source, returns string) (string, error) {
	const quote = "$opmux_function$"
	if strings.Contains(source, quote) {
		return "", errors.New("its text has " + quote)
	}
	return pg.ParsePlPgSqlToJSON("CREATE FUNCTION f() RETURNS " + returns + " LANGUAGE plpgsql AS " + quote + source + quote)
}

// declare reads a variable, with the value that it begins with.
func (b *body) declare(d map[string]json.RawMessage) error {
	var made datum
	for kind, raw := range d {
		var err error
		switch kind {
		case "PLpgSQL_var":
			err = errors.Join(json.Unmarshal(raw, &made.Var), b.node(raw))
		case "PLpgSQL_rec":
			err = json.Unmarshal(raw, &made.Rec)
		case "PLpgSQL_recfield":
			err = json.Unmarshal(raw, &made.Field)
		default:
			err = errNotCalm
		}
		if err != nil {
			return errNotCalm
		}
	}
	b.datums = append(b.datums, made)
	return nil
}

// node reads a statement, or whatever is in one.
func (b *body) node(raw json.RawMessage) error {
	if len(raw) == 0 || raw[0] != '{' && raw[0] != '[' {
		return nil // a number or a text that is no expression
	}
	if raw[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return errNotCalm
		}
		return b.all(list)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return errNotCalm
	}
	for name, inner := range fields {
		if err := b.field(name, inner); err != nil {
			return err
		}
	}
	return nil
}

func (b *body) all(list []json.RawMessage) error {
	for _, raw := range list {
		if err := b.node(raw); err != nil {
			return err
		}
	}
	return nil
}

func (b *body) field(name string, raw json.RawMessage) error {
	switch name {
	case "PLpgSQL_stmt_assign":
		return b.assign(raw)
	case "PLpgSQL_stmt_return":
		return b.returns(raw)
	case "PLpgSQL_stmt_perform":
		query, err := exprOf(raw)
		if err != nil {
			return err
		}
		return b.expression(query)
	case "PLpgSQL_type":
		return b.typ(raw)
	case "PLpgSQL_expr":
		var e expr
		if err := json.Unmarshal(raw, &e); err != nil {
			return errNotCalm
		}
		return b.expression("SELECT " + e.Query)
	case "exceptions":
		return errNotCalm
	}
	if strings.HasPrefix(name, "PLpgSQL_") && !calmNodes[name] {
		return errNotCalm
	}
	return b.node(raw)
}

// calmNodes are the parts of functions that do nothing by themselves.
var calmNodes = words("PLpgSQL_stmt_block PLpgSQL_stmt_if PLpgSQL_if_elsif PLpgSQL_stmt_case PLpgSQL_case_when PLpgSQL_stmt_raise PLpgSQL_raise_option")

// expr is an expression, or an assignment.
type expr struct {
	Query string `json:"query"`
}

// exprOf is the expression that a statement has.
func exprOf(raw json.RawMessage) (string, error) {
	var s struct {
		Expr *struct {
			Expr *expr `json:"PLpgSQL_expr"`
		} `json:"expr"`
	}
	if err := json.Unmarshal(raw, &s); err != nil || s.Expr == nil || s.Expr.Expr == nil {
		return "", errNotCalm
	}
	return s.Expr.Expr.Query, nil
}

// assign reads an assignment: to a variable, or to a column of NEW.
func (b *body) assign(raw json.RawMessage) error {
	query, err := exprOf(raw)
	if err != nil {
		return err
	}
	var s struct {
		To int `json:"varno"`
	}
	if err := json.Unmarshal(raw, &s); err != nil || s.To >= len(b.datums) {
		return errNotCalm
	}
	switch d := b.datums[s.To]; {
	case d.Field != nil && d.Field.Of == b.new:
		b.columns = append(b.columns, d.Field.Name)
	case d.Field == nil && d.Var == nil:
		return errNotCalm // the whole of a row
	}
	scan, err := pg.Scan(query)
	if err != nil {
		return errNotCalm
	}
	for _, t := range scan.Tokens {
		if t.Token == pg.Token_COLON_EQUALS || t.Token == pg.Token_ASCII_61 {
			// What stands before it may have subscripts.
			return errors.Join(b.expression("SELECT "+query[:t.Start]), b.expression("SELECT "+query[t.End:]))
		}
	}
	return errNotCalm
}

// returns reads RETURN: of the row as it is, or of none.
func (b *body) returns(raw json.RawMessage) error {
	query, err := exprOf(raw)
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(query)) {
	case "new", "old", "null":
		return nil
	}
	return errNotCalm
}

// typ reads the type of a variable, whose checks run as it is assigned.
func (b *body) typ(raw json.RawMessage) error {
	var t struct {
		Name string `json:"typname"`
	}
	facts, err := b.facts()
	if err != nil || json.Unmarshal(raw, &t) != nil {
		return errNotCalm
	}
	for name := range facts.UnsafeTypes {
		if strings.Contains(t.Name, name) || strings.Contains(t.Name, "%") { // of a column, which may have it

			return errNotCalm
		}
	}
	return nil
}
