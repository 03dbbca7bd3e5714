package classify

import (
	"fmt"
	"slices"
	"strconv"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/event"
)

// prepare plans PREPARE name (types) AS statement: the statement inside is
// planned as if it came by the extended protocol.
func (j *job) prepare(st *pg.PrepareStmt) error {
	at, err := bodyOfPrepare(j.body)
	if err != nil {
		return err
	}
	in := *j.in
	in.SQL, in.ParamOIDs = j.body[at:], make([]uint32, len(st.Argtypes))
	for i, n := range st.Argtypes {
		if err := j.castTo(n.GetTypeName(), -1); err != nil {
			return err
		}
		if in.ParamOIDs[i], err = j.typeOID(n.GetTypeName()); err != nil {
			return err
		}
		if in.ParamOIDs[i] == 0 && !isUnknown(n.GetTypeName()) {
			in.ParamOIDs[i] = firstUserOID // some type of a user
		}
	}
	in.Unlockable = true // PREPARE locks the table against DDL first
	inner := newJob(j.ctx, j.c, &in, j.plan.CatalogVersion)
	inner.grammar, inner.located = j.grammar, j.in.SQL
	plan, err := inner.run(&pg.RawStmt{Stmt: st.Query})
	if err != nil {
		return err
	}
	if plan.Kind == MustFail {
		return fmt.Errorf("the statement to prepare: %w", errMustFail)
	}
	p := j.plan
	p.Kind, p.Name, p.Inner = Prepare, st.Name, plan
	p.CatalogVersion, p.TableRefs = plan.CatalogVersion, plan.TableRefs
	plan.sqlLevel, plan.paramOIDs = true, in.ParamOIDs
	j.uncacheable = inner.uncacheable
	switch plan.Kind {
	case Pass, Draw, Write:
		p.SQL = j.body[:at] + plan.SQL
		p.edited = j.body[:at] + plan.edited
		for _, e := range plan.edits {
			e.at += at
			p.edits = append(p.edits, e)
		}
	case Refused: // the policy decides
	default:
		return fmt.Errorf("PREPARE of such a statement: %w", errMustFail)
	}
	return nil
}

func isUnknown(t *pg.TypeName) bool {
	_, last := name(t.GetNames())
	return last == "unknown"
}

// bodyOfPrepare finds where the statement inside begins: behind the first AS that
// is not in parentheses.
func bodyOfPrepare(sql string) (int, error) {
	scan, err := pg.Scan(sql)
	if err != nil {
		return 0, fmt.Errorf("scan PREPARE: %w", err)
	}
	depth := 0
	for _, t := range scan.Tokens {
		switch t.Token {
		case pg.Token_ASCII_40:
			depth++
		case pg.Token_ASCII_41:
			depth--
		case pg.Token_AS:
			if depth == 0 {
				return int(t.End), nil
			}
		}
	}
	return 0, fmt.Errorf("PREPARE without AS: %w", errMustFail)
}

// execute plans EXECUTE: its arguments are computed here, the rest is the
// prepared statement's.
func (j *job) execute(st *pg.ExecuteStmt) error {
	if err := j.scan(nodes(st.Params)...); err != nil {
		return err
	}
	if err := j.finishRead(); err != nil {
		return err
	}
	if len(j.eff.setval) > 0 {
		return j.refuse("setval as an argument of EXECUTE", -1, "it is not undone with the statement", "SELECT setval(…) on its own.")
	}
	p := j.plan
	p.Kind, p.Name, p.ArgsConstant = Execute, st.Name, true
	for _, n := range st.Params {
		a, ok := constantParam(n)
		p.ArgsConstant = p.ArgsConstant && ok
		p.Args = append(p.Args, a)
	}
	return nil
}

// constantParam is a plain constant as a parameter; its OID is that of the
// constant itself.
func constantParam(n *pg.Node) (event.Param, bool) {
	c := n.GetAConst()
	switch {
	case c == nil:
		return event.Param{}, false
	case c.Isnull:
		return event.Param{OID: oidUnknown, Null: true}, true
	case c.GetSval() != nil:
		return event.Param{OID: oidUnknown, Value: []byte(c.GetSval().Sval)}, true
	case c.GetIval() != nil:
		return event.Param{OID: oidInt4, Value: strconv.AppendInt(nil, int64(c.GetIval().Ival), 10)}, true
	case c.GetFval() != nil:
		return event.Param{OID: oidNumeric, Value: []byte(c.GetFval().Fval)}, true
	case c.GetBoolval() != nil:
		return event.Param{OID: oidBool, Value: strconv.AppendBool(nil, c.GetBoolval().Boolval)}, true
	}
	return event.Param{}, false
}

// BindArgs returns, for the inner plan of a PREPARE, the plan of one EXECUTE,
// whose Args are its parameters: the plan itself, or a refusal where they would
// have to be published and are not plain constants of the declared types.
func (p *Plan) BindArgs(exec *Plan) *Plan {
	if !p.frozen.needsParams() || p.takes(exec) {
		return p
	}
	refused := *p
	refused.Kind, refused.Class, refused.frozen = Refused, event.ClassRefused, frozen{}
	refused.Diverged, refused.Sequences = p.Tables, append(slices.Clone(p.Sequences), exec.Sequences...)
	refused.Refusal = &Refusal{
		Construct: "EXECUTE " + exec.Name + " with computed arguments", Reason: "their values cannot be told from the statement",
		Hint: "Give plain constants of the declared types, or use the protocol's prepared statements.",
	}
	refused.Reason = refused.Refusal.Reason
	return &refused
}

// takes says that an EXECUTE's arguments are constants whose text is also the
// text of the parameters' values.
func (p *Plan) takes(exec *Plan) bool {
	if !exec.ArgsConstant {
		return false
	}
	for i, a := range exec.Args {
		if !assignable(p.declared(i), a.OID) {
			return false
		}
	}
	return true
}

// declared is the type that PREPARE declares for a parameter, 0 for none.
func (p *Plan) declared(i int) uint32 {
	if i < len(p.paramOIDs) && p.paramOIDs[i] < firstUserOID {
		return p.paramOIDs[i]
	}
	return 0
}

// assignable says that a constant's text is also the text of the declared type's
// value that it becomes.
func assignable(declared, constant uint32) bool {
	switch constant {
	case oidUnknown:
		return true
	case oidInt4:
		return declared == 0 || slices.Contains(integers, declared) || declared == oidNumeric
	case oidNumeric:
		return declared == oidNumeric
	case oidBool:
		return declared == 0 || declared == oidBool
	}
	return false
}

// needsParams says that what is published carries the client's parameters.
func (f *frozen) needsParams() bool {
	if f.kind != freezeText {
		return false
	}
	return f.asBound || slices.ContainsFunc(f.params, func(s source) bool { return s.from == fromClient })
}
