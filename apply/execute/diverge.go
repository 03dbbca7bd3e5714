package execute

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

const declareSQL = `INSERT INTO opmux.diverged (stream, tbl, reason, statement, tx)
	VALUES ($1, $2, $3, $4, $5) ON CONFLICT (stream, tbl) DO NOTHING`

var declareTypes = []uint32{oidText, oidText, oidText, oidText, oidInt8}

// declare notes in the target transaction that a table has diverged: it is
// skipped from here on until a snapshot or a repair clears it (I6).
func (a *attempt) declare(d position.Diverged) error {
	if a.diverged(d.Table) {
		return nil
	}
	a.declared = append(a.declared, d)
	// The tables of opmux are the worker's, whatever role the application took.
	before := a.settings.current[role]
	same := func(err error) error { return err }
	if err := a.set(a.settings.apply([]event.Setting{{Name: role, Value: noRole}}, ""), same); err != nil {
		return err
	}
	params := [][]byte{[]byte(d.Source), []byte(d.Table), []byte(d.Reason), []byte(d.Statement),
		strconv.AppendInt(nil, d.Offset, 10)}
	if err := a.pipe.query(declareSQL, params, declareTypes, nil, request{}); err != nil || before == "" {
		return err
	}
	return a.set(a.settings.apply([]event.Setting{{Name: role, Value: before}}, ""), same)
}

// diverged says whether a table has diverged, as of this attempt.
func (a *attempt) diverged(table string) bool {
	for _, d := range a.declared {
		if d.Table == table {
			return true
		}
	}
	return a.cfg.Shared.has(table)
}

// flag declares the tables that an operation says no target can follow.
func (r *replay) flag(op *event.Operation) error {
	for _, table := range op.Diverged {
		if err := r.declare(r.flagged(op, table, r.tx.Offset)); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lane) flagged(op *event.Operation, table string, offset int64) position.Diverged {
	return position.Diverged{
		Source: l.cfg.Source, Table: table, Reason: op.Reason,
		Statement: l.normalise(op.Text), Offset: offset,
	}
}

// declares are the tables that a group of one flagged transaction declares.
func (j *Job) declares(cfg Config) []position.Diverged {
	list := j.diverge
	lane := Lane{cfg: cfg}
	for _, tx := range j.Transactions {
		for i := range tx.Transaction.Operations {
			op := &tx.Transaction.Operations[i]
			for _, table := range op.Diverged {
				list = append(list, lane.flagged(op, table, tx.Offset))
			}
		}
	}
	return list
}

// checkDiverged decides whether an operation is skipped since it writes a table
// that has diverged. Its other tables diverge by that.
func (r *replay) checkDiverged(o *operation) error {
	if o.kind == event.OpFlagged {
		o.skip = "diverged: " + strings.Join(o.tables, ", ")
		return nil
	}
	for _, table := range o.tables {
		if r.diverged(table) {
			o.skip = "diverged: " + table
			break
		}
	}
	if o.skip == "" {
		return nil
	}
	for _, table := range o.tables {
		err := r.declare(position.Diverged{
			Source: r.cfg.Source, Table: table, Offset: r.tx.Offset, Statement: r.normalise(o.text),
			Reason: "written together with a table that has " + o.skip,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// misfits notes an operation that did not do here what it did on the primary,
// where the tables that have diverged cannot be told.
func (r *replay) misfits(offset int64, o *operation, want int64) {
	if want < 0 || o.affected == want || !r.cfg.Shared.has(anyTable) {
		return
	}
	for _, table := range o.tables {
		r.misfitting = append(r.misfitting, position.Diverged{
			Source: r.cfg.Source, Table: table, Offset: offset, Statement: r.normalise(o.text),
			Reason: fmt.Sprintf("does not fit since unknown tables diverged: %d rows affected, %d on the primary", o.affected, want),
		})
	}
}

func (a *attempt) declareMisfits() error {
	for _, d := range a.misfitting {
		if err := a.declare(d); err != nil {
			return err
		}
	}
	return nil
}
