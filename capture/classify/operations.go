package classify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opmux/opmux/event"
)

// Operations returns what is to be published of one execution, nothing where
// nothing changed. Only the last part of a long one (More false) has a digest,
// whose hash, at level full, the caller fills in. An error means that the
// execution cannot be published and must be rolled back.
func (p *Plan) Operations(e Execution) ([]event.Operation, error) {
	ops, err := p.operations(e)
	if err != nil || !p.asleep || len(ops) == 0 || ops[0].Kind == event.OpSequence {
		return ops, err
	}
	if e.First {
		ops = append([]event.Operation{Sleep("replica")}, ops...)
	}
	if !e.More {
		ops = append(ops, Sleep("origin"))
	}
	return ops, nil
}

// Sleep are the operations before ("replica") and behind ("origin") images of rows that say all
// that triggers and foreign keys did: on a target neither acts on them.
func Sleep(role string) event.Operation {
	return event.Operation{Kind: event.OpSet, Class: event.ClassText, Reason: "session context",
		Settings: []event.Setting{{Name: "session_replication_role", Value: role}}, Digest: event.Digest{SQLState: "00000", Affected: -1}}
}

func (p *Plan) operations(e Execution) ([]event.Operation, error) {
	if p.Kind == Refused {
		return p.flagged(e), nil
	}
	if len(p.Parts) > 0 {
		return p.ofParts(e)
	}
	op := event.Operation{Kind: event.OpStatement, Class: p.Class, Reason: p.Reason, Tables: p.Tables, Sequences: e.Sequences}
	op.Digest = event.Digest{SQLState: "00000", Affected: -1}
	if p.frozen.counted {
		op.Digest.Affected = e.Affected
	}
	var err error
	switch p.frozen.kind {
	case freezeText:
		if e.More && !p.Whole {
			return nil, nil // its rows are of no use
		}
		if e.Affected == 0 {
			return p.marks(op), nil
		}
		err = p.text(&op, e)
	case freezeRows:
		if len(e.Rows) == 0 && e.First && !e.More {
			if e.Affected != 0 {
				return nil, fmt.Errorf("%d rows were hit and none came back by RETURNING", e.Affected)
			}
			return p.marks(op), nil
		}
		err = p.rows(&op, e)
	case freezeUnnamed:
		if len(e.Rows) == 0 {
			if e.First && e.Affected != 0 {
				return nil, fmt.Errorf("%d rows were hit and none came back by RETURNING", e.Affected)
			}
			return p.marks(op), nil
		}
		err = p.unnamed(&op, e)
	case freezeDDL:
		return p.ddl(op, e), nil
	case freezeMade:
		return nil, nil
	case freezeSetval:
		return p.setvals(op, e)
	case freezeCopy:
		op.Kind, op.Data, op.More = event.OpCopy, e.Data, e.More
		if e.First {
			op.Text = p.frozen.text
		}
	default:
		return p.marks(op), nil
	}
	if err != nil {
		return nil, err
	}
	if op.More {
		op.Digest, op.Sequences = event.Digest{}, nil
	}
	return []event.Operation{op}, nil
}

// ddl is DDL as text, which takes no parameters: the pinned time is written out.
func (p *Plan) ddl(op event.Operation, e Execution) []event.Operation {
	op.Text = p.frozen.text
	if p.frozen.marked {
		op.Text = strings.ReplaceAll(op.Text, timeMark, string(timestamptz(e.TxTime)))
	}
	if p.frozen.then == "" {
		return []event.Operation{op}
	}
	second := op
	second.Text, second.Sequences = p.frozen.then, nil
	return []event.Operation{op, second}
}

// setvals is a call of setval for each sequence that was set; the last one marks what was
// drawn from others.
func (p *Plan) setvals(op event.Operation, e Execution) ([]event.Operation, error) {
	var list []event.Operation
	others := slices.Clone(e.Sequences)
	for i, text := range p.frozen.setvals {
		ref := p.frozen.set[i]
		at := slices.IndexFunc(others, func(m event.SequenceMark) bool { return m.Schema == ref.Schema && m.Name == ref.Name })
		if at < 0 {
			return nil, fmt.Errorf("setval: the value of sequence %s.%s is needed", ref.Schema, ref.Name)
		}
		op.Text, op.Params, op.Sequences = text, setvalParams(others[at]), nil
		others = slices.Delete(others, at, at+1)
		list = append(list, op)
	}
	list[len(list)-1].Sequences = others
	return list, nil
}

// marks is what is left of a statement that changed no row: draws from sequences
// are not undone.
func (p *Plan) marks(op event.Operation) []event.Operation {
	if len(p.Sequences) == 0 {
		return nil
	}
	op.Kind, op.Text, op.Digest.Affected = event.OpSequence, "", -1
	op.Class, op.Reason, op.Tables = event.ClassPinned, "draws from a sequence", nil
	return []event.Operation{op}
}

func (p *Plan) flagged(e Execution) []event.Operation {
	return []event.Operation{{
		Kind: event.OpFlagged, Class: event.ClassRefused, Reason: p.Refusal.Construct + ": " + p.Reason, Text: cut(p.SQL),
		Tables: p.Tables, Diverged: p.Diverged, Sequences: e.Sequences, Digest: event.Digest{SQLState: "00000", Affected: -1},
	}}
}

// text fills in frozen text and its parameters.
func (p *Plan) text(op *event.Operation, e Execution) error {
	f := &p.frozen
	if f.atMost > 0 && e.Affected > int64(f.atMost) {
		return fmt.Errorf("a statement that names one row by its key hit %d rows", e.Affected)
	}
	if f.rows > 0 && (len(e.Rows) != f.rows || int64(f.rows) != e.Affected) {
		return fmt.Errorf("INSERT of %d rows inserted %d and returned %d", f.rows, e.Affected, len(e.Rows))
	}
	op.Text = f.text
	if f.asBound {
		op.Params = make([]event.Param, len(e.Params))
		for i := range e.Params {
			op.Params[i] = p.portable(e.Params, i)
		}
		if f.timeAt == 0 {
			return nil
		}
		if len(e.Params) != f.timeAt-1 {
			return fmt.Errorf("%d parameters are bound, %d expected", len(e.Params), f.timeAt-1)
		}
		op.Params = append(op.Params, event.Param{OID: oidTimestamptz, Value: timestamptz(e.TxTime)})
		return nil
	}
	op.Params = make([]event.Param, len(f.params))
	for i, s := range f.params {
		switch s.from {
		case fromClient:
			if s.index >= len(e.Params) {
				return fmt.Errorf("parameter $%d is not bound", s.index+1)
			}
			op.Params[i] = p.portable(e.Params, s.index)
		case fromTime:
			op.Params[i] = event.Param{OID: s.oid, Value: timestamptz(e.TxTime)}
		case fromRow:
			row := e.Rows[s.row]
			if s.index >= len(row) {
				return fmt.Errorf("column %d of RETURNING is missing", s.index+1)
			}
			op.Params[i] = event.Param{OID: s.oid, Null: row[s.index].Null, Value: row[s.index].Text}
		}
	}
	return nil
}

// portable takes the number of a user's type out of a parameter, since it is
// another one on each server. Only enums come this far, whose binary form is
// their text, into columns that tell the server the type.
func (p *Plan) portable(params []event.Param, i int) event.Param {
	v := params[i]
	if p.sqlLevel {
		v.OID = p.declared(i)
	}
	if v.OID >= firstUserOID {
		v.OID = 0
	}
	return v
}

// timestamptz prints microseconds since the Unix epoch so that every DateStyle
// and TimeZone reads them the same.
func timestamptz(micros int64) []byte {
	return time.UnixMicro(micros).UTC().AppendFormat(nil, "2006-01-02 15:04:05.000000+00")
}

// rows fills in row images.
func (p *Plan) rows(op *event.Operation, e Execution) error {
	im := &p.frozen.images
	op.Kind, op.Text, op.More = event.OpRows, im.info, e.More
	if e.First && !e.More && int64(len(e.Rows)) != e.Affected {
		return fmt.Errorf("%d rows were hit and %d came back by RETURNING", e.Affected, len(e.Rows))
	}
	r := &event.RowImages{
		Action: im.action, Schema: im.schema, Table: im.table, Key: im.key, Columns: im.columns,
		KeyTypes: im.keyTypes, ColumnTypes: im.columnTypes, Returning: im.returning,
	}
	r.Rows = make([]event.RowImage, len(e.Rows))
	for i, row := range e.Rows {
		if len(row) != p.Hidden {
			return fmt.Errorf("RETURNING gave %d columns, %d were asked for", len(row), p.Hidden)
		}
		r.Rows[i] = event.RowImage{Key: pick(row, im.keyAt), Values: pick(row, im.columnAt)}
	}
	op.Rows = r
	return nil
}

func pick(row []event.Value, at []int) []event.Value {
	if len(at) == 0 {
		return nil
	}
	out := make([]event.Value, len(at))
	for i, k := range at {
		out[i] = row[k]
	}
	return out
}
