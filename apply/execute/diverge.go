package execute

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

const declareSQL = `INSERT INTO opmux.diverged (stream, tbl, reason, statement, tx)
	VALUES ($1, $2, $3, $4, $5) ON CONFLICT (stream, tbl) DO NOTHING`

var declareTypes = []uint32{oidText, oidText, oidText, oidText, oidInt8}

// familySQL lists what goes with a table: the partitioned table that it is a part of, by
// whose name rows go from one partition to another, all its partitions, and with $2 the
// tables that inherit from it as well. Indexes, which may be listed too, go alone.
const familySQL = `WITH RECURSIVE below(oid) AS (
	SELECT coalesce(CASE WHEN c.relkind IN ('r', 'p', 'f') THEN pg_catalog.pg_partition_root(c.oid)::oid END, c.oid) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname || '.' || c.relname = $1
	UNION SELECT c.oid FROM below b JOIN pg_catalog.pg_inherits h ON h.inhparent = b.oid JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid
		WHERE $2 = 'all' OR c.relispartition)
SELECT n.nspname || '.' || c.relname FROM below b JOIN pg_catalog.pg_class c ON c.oid = b.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname || '.' || c.relname <> $1 ORDER BY 1`

// declare notes in the target transaction that a table has diverged, and with it all that
// it is one whole of partitions with, whose rows come by one name: they are skipped from here on until a
// snapshot, a DROP or a repair clears them (I6).
func (a *attempt) declare(d position.Diverged) error { return a.declareWith(d, "partitions") }

// declareWith is declare with what is below the table: partitions, or all.
func (a *attempt) declareWith(d position.Diverged, below string) error {
	if a.diverged(d.Table) && below != "all" {
		return nil
	}
	return a.asWorker(func() error {
		family := []string{d.Table}
		err := a.pipe.query(familySQL, [][]byte{[]byte(d.Table), []byte(below)}, []uint32{oidText, oidText}, nil,
			request{row: func(v []event.Value) { family = append(family, string(v[0].Text)) }})
		if err == nil {
			err = a.pipe.drain()
		}
		for i := 0; err == nil && i < len(family); i++ {
			d.Table = family[i]
			err = a.note(d)
		}
		return err
	})
}

// note writes down one table that has diverged.
func (a *attempt) note(d position.Diverged) error {
	if a.diverged(d.Table) {
		return nil
	}
	a.declared = append(a.declared, d)
	a.states[d.Table] = true
	params := [][]byte{[]byte(d.Source), []byte(d.Table), []byte(d.Reason), []byte(d.Statement),
		strconv.AppendInt(nil, d.Offset, 10)}
	return a.pipe.query(declareSQL, params, declareTypes, nil, request{})
}

// asWorker runs what is about the tables of opmux, which are the worker's, whatever role
// the application took.
func (a *attempt) asWorker(do func() error) error {
	before := a.settings.current[role]
	same := func(err error) error { return err }
	if err := a.set(a.settings.apply([]event.Setting{{Name: role, Value: noRole}}, ""), same); err != nil {
		return err
	}
	if err := do(); err != nil || before == "" {
		return err
	}
	return a.set(a.settings.apply([]event.Setting{{Name: role, Value: before}}, ""), same)
}

// under runs what wants some settings to be others.
func (a *attempt) under(list []event.Setting, do func() error) error {
	before, same := maps.Clone(a.settings.current), func(err error) error { return err }
	if err := a.set(a.settings.apply(list, ""), same); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	after := make([]event.Setting, len(list))
	for i, s := range list {
		after[i] = event.Setting{Name: s.Name, Value: valueReset}
		if value, ok := before[s.Name]; ok {
			after[i].Value = value
		}
	}
	err := a.set(a.settings.apply(after, ""), same)
	a.settings.current = before
	a.settings.identify()
	return err
}

// gone notes that tables are on neither side any more: what comes under their names is
// the primary's again. Those that the transaction itself gives up stay so.
func (r *replay) gone(tables []string) error {
	for _, table := range tables {
		if !r.diverged(table) || r.givesUp(table) {
			continue
		}
		r.states[table] = false
		err := r.asWorker(func() error {
			return r.pipe.query(`DELETE FROM opmux.diverged WHERE stream = $1 AND tbl = $2`,
				[][]byte{[]byte(r.cfg.Source), []byte(table)}, []uint32{oidText, oidText}, nil, request{})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) givesUp(table string) bool {
	for i := range r.tx.Transaction.Operations {
		for _, diverged := range r.tx.Transaction.Operations[i].Diverged {
			if diverged == table {
				return true
			}
		}
	}
	return false
}

// diverged says whether a table has diverged, as of this attempt.
func (a *attempt) diverged(table string) bool {
	if state, ok := a.states[table]; ok {
		return state
	}
	return a.cfg.Shared.has(table)
}

// allDiverged are the tables that have diverged, as of this attempt.
func (a *attempt) allDiverged() []string {
	var list []string
	for _, d := range append(a.cfg.Shared.Diverged(), a.declared...) {
		if a.diverged(d.Table) {
			list = append(list, d.Table)
		}
	}
	return list
}

// readDiverged reads them from the target, where what an attempt declared is not known.
func (l *Lane) readDiverged(ctx context.Context) error {
	known := l.cfg.Shared.Diverged()
	rows, err := l.rows(ctx, `SELECT tbl, reason, statement, tx FROM opmux.diverged WHERE stream = $1`, l.cfg.Source)
	if err != nil {
		l.disconnect()
		return err
	}
	list := make([]position.Diverged, len(rows))
	for i, row := range rows {
		offset, err := strconv.ParseInt(string(row[3]), 10, 64)
		if err != nil {
			return fmt.Errorf("opmux.diverged on the target: tx: %w", err)
		}
		list[i] = position.Diverged{Source: l.cfg.Source, Table: string(row[0]), Reason: string(row[1]), Statement: string(row[2]), Offset: offset}
	}
	l.cfg.Shared.settle(known, list)
	return nil
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

// checkDiverged decides whether an operation is skipped since it writes a table
// that has diverged. Its other tables diverge by that.
func (r *replay) checkDiverged(o *operation) error {
	if o.kind == event.OpFlagged {
		o.skip = "diverged: " + strings.Join(o.tables, ", ")
		return nil
	}
	o.skip = r.job.unfit[spot{r.tx.Offset, int(o.index)}]
	for _, table := range o.tables {
		if o.skip == "" && r.diverged(table) {
			o.skip = "diverged: " + table
		}
	}
	if o.defines {
		return r.checkDefinition(o)
	}
	if o.skip == "" {
		return nil
	}
	for _, table := range o.tables {
		if err := r.declare(r.along(o, table)); err != nil {
			return err
		}
	}
	return nil
}

// along is a table that diverges since an operation on it is skipped.
func (r *replay) along(o *operation, table string) position.Diverged {
	reason := o.skip
	if strings.HasPrefix(reason, "diverged: ") {
		reason = "written together with a table that has " + reason
	}
	return position.Diverged{Source: r.cfg.Source, Table: table, Offset: r.tx.Offset, Statement: r.normalise(o.text), Reason: reason}
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
