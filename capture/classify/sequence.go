package classify

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// draw notes the sequence of a call of nextval.
func (j *job) draw(n *pg.FuncCall) error {
	if len(n.Args) != 1 {
		return fmt.Errorf("nextval with %d arguments: %w", len(n.Args), errMustFail)
	}
	t, err := j.sequenceArg(n.Args[0], n.Location)
	if err != nil || t.Temp {
		return err
	}
	j.eff.draws = append(j.eff.draws, SequenceRef{t.Schema, t.Name})
	return nil
}

// sequenceArg finds the sequence that the argument of a sequence function names.
func (j *job) sequenceArg(arg *pg.Node, location int32) (*catalog.Table, error) {
	unknown := j.refuse("nextval or setval of a computed sequence", location, "the sequence cannot be told from the statement", "Name the sequence as a constant: nextval('schema.name').")
	schema, seq, err := j.sequenceName(arg)
	if err != nil {
		return nil, err
	}
	if seq == "" {
		return nil, unknown
	}
	t, err := j.lookup(schema, seq)
	if err != nil {
		return nil, err
	}
	if t.Kind != catalog.Sequence {
		return nil, fmt.Errorf("%s is no sequence: %w", seq, errMustFail)
	}
	return t, nil
}

// sequenceName reads 'name', 'name'::regclass and pg_get_serial_sequence('table',
// 'column'); an empty name is something else.
func (j *job) sequenceName(arg *pg.Node) (schema, seq string, err error) {
	j.valued = true
	for arg.GetTypeCast() != nil {
		arg = arg.GetTypeCast().Arg
	}
	if c := arg.GetAConst(); c != nil && c.GetSval() != nil {
		schema, seq = splitName(c.GetSval().Sval)
		return schema, seq, nil
	}
	fn := arg.GetFuncCall()
	if fn == nil || len(fn.Args) != 2 {
		return "", "", nil
	}
	s, last := name(fn.Funcname)
	table, column := fn.Args[0].GetAConst(), fn.Args[1].GetAConst()
	if last != "pg_get_serial_sequence" || s != "" && s != "pg_catalog" || table.GetSval() == nil || column.GetSval() == nil {
		return "", "", nil
	}
	s, rel := splitName(table.GetSval().Sval)
	t, err := j.lookup(s, rel)
	if err != nil {
		return "", "", err
	}
	col := t.Column(column.GetSval().Sval)
	if col == nil || col.Sequence == nil {
		return "", "", nil
	}
	return col.Sequence.Schema, col.Sequence.Name, nil
}

// splitName reads a possibly qualified, possibly quoted name as regclass does;
// "" for what is none (a number, an empty part).
func splitName(s string) (schema, last string) {
	var parts []string
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		var part string
		if strings.HasPrefix(s, `"`) {
			end := 1
			for end < len(s) && (s[end] != '"' || end+1 < len(s) && s[end+1] == '"') {
				if s[end] == '"' {
					end++
				}
				end++
			}
			if end >= len(s) {
				return "", ""
			}
			part, s = strings.ReplaceAll(s[1:end], `""`, `"`), s[end+1:]
		} else {
			end := strings.IndexAny(s, ". \t\r\n\"")
			if end < 0 {
				end = len(s)
			}
			part, s = lower(s[:end]), s[end:]
		}
		if part == "" {
			return "", ""
		}
		parts = append(parts, part)
		s = strings.TrimLeft(s, " \t\r\n")
		if !strings.HasPrefix(s, ".") {
			break
		}
		s = s[1:]
	}
	if s != "" || len(parts) > 3 || parts[0][0] >= '0' && parts[0][0] <= '9' {
		return "", ""
	}
	if len(parts) > 1 {
		schema = parts[len(parts)-2]
	}
	return schema, parts[len(parts)-1]
}

// lower folds an identifier as the server does: ASCII only.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// lookup finds a relation; one that is missing is errMustFail.
func (j *job) lookup(schema, rel string) (*catalog.Table, error) {
	t, err := j.c.catalog.Table(j.ctx, j.in.Querier, j.path, schema, rel)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, fmt.Errorf("relation %s: %w", rel, errMustFail)
	}
	if err != nil {
		return nil, err
	}
	j.saw(t.Version)
	if t.Temp || t.RowSecurity {
		j.uncacheable = true
	}
	return t, nil
}

// finishRead makes the plan of a statement that writes no table: it passes, unless
// it moves a sequence.
func (j *job) finishRead() error {
	j.plan.ContextChanges = j.plan.ContextChanges || j.eff.context
	j.plan.Sequences = sequences(append(slices.Clone(j.plan.Sequences), j.eff.draws...))
	if len(j.plan.Sequences) > 0 {
		j.plan.Kind, j.plan.Class, j.plan.Reason = Draw, event.ClassPinned, "draws from a sequence"
	}
	if len(j.eff.setval) > 0 {
		return j.setval()
	}
	return nil
}

func sequences(list []SequenceRef) []SequenceRef {
	var out []SequenceRef
	seen := map[SequenceRef]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// setval plans a SELECT of setval, of each sequence once: what it did travels as calls
// of their own. The values are read back at record time, so that computed ones travel
// too, and draws beside them: nextval in the value that is set (as Npgsql's migrations have
// it), or behind it. Draws from other sequences are marked as any.
func (j *job) setval() error {
	p := j.plan
	var set []SequenceRef
	for _, call := range j.eff.setval {
		if len(call.Args) < 2 || len(call.Args) > 3 {
			return fmt.Errorf("setval with %d arguments: %w", len(call.Args), errMustFail)
		}
		t, err := j.sequenceArg(call.Args[0], call.Location)
		if err != nil {
			return err
		}
		if t.Temp {
			continue
		}
		ref := SequenceRef{t.Schema, t.Name}
		if slices.Contains(set, ref) {
			return j.refuse("several calls of setval for "+t.Qualified(), call.Location, "their order cannot be told", "Set a sequence once in a statement.")
		}
		p.Kind, p.Class, p.Barrier, p.Reason = Draw, event.ClassPinned, true, "sets a sequence"
		p.frozen.kind = freezeSetval
		drawn, err := j.drawnBeside(call, ref)
		if err != nil {
			return err
		}
		p.frozen.setvals = append(p.frozen.setvals, setvalText(t, call, drawn))
		set = append(set, ref)
	}
	p.frozen.set = set
	p.Sequences = sequences(append(p.Sequences, set...))
	return nil
}

// drawnBeside says whether the statement may have drawn from the sequence behind the call:
// not by what is in the value that it sets, which is computed first.
func (j *job) drawnBeside(call *pg.FuncCall, ref SequenceRef) (bool, error) {
	beside := 0
	for _, d := range j.eff.draws {
		if d == ref {
			beside++
		}
	}
	err := walk(call, func(m proto.Message) (bool, error) {
		n, ok := m.(*pg.FuncCall)
		if !ok {
			return true, nil
		}
		schema, fn := name(n.Funcname)
		if fn != "nextval" || len(n.Args) != 1 || schema != "" && schema != "pg_catalog" {
			return true, nil
		}
		if shadowed, err := j.shadowed(schema, fn); err != nil || shadowed {
			return true, err
		}
		t, err := j.sequenceArg(n.Args[0], n.Location)
		if err == nil && (SequenceRef{t.Schema, t.Name}) == ref {
			beside--
		}
		return true, err
	})
	return beside > 0, err
}

// setvalText is a call of setval with the value that was read back as $1: the
// last one drawn. A call whose third argument is false leaves the next one to be
// drawn instead, unless one was drawn beside it, which may be the last. One of NULL (the max
// of an empty table) has set nothing, and what is read of a sequence that nothing
// was drawn from is out of its bounds.
func setvalText(t *catalog.Table, call *pg.FuncCall, drawn bool) string {
	called, notCalled := "pg_catalog.setval(s.seqrelid::pg_catalog.regclass, $1, true)", "pg_catalog.setval(s.seqrelid::pg_catalog.regclass, $1 + s.seqincrement, false)"
	expr := "CASE WHEN $1 BETWEEN s.seqmin AND s.seqmax THEN " + called + " ELSE " + notCalled + " END"
	if b := call.Args[len(call.Args)-1].GetAConst().GetBoolval(); len(call.Args) == 3 && b != nil && !b.Boolval && !drawn {
		expr = notCalled
	}
	seq := catalog.QuoteLiteral(catalog.QuoteIdent(t.Schema) + "." + catalog.QuoteIdent(t.Name))
	return "SELECT " + expr + " FROM pg_catalog.pg_sequence s WHERE s.seqrelid = " + seq + "::pg_catalog.regclass"
}

func setvalParams(mark event.SequenceMark) []event.Param {
	return []event.Param{{OID: oidInt8, Value: strconv.AppendInt(nil, mark.Value, 10)}}
}
