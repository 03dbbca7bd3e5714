package session

import (
	"context"
	"errors"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// execution is one run of a captured statement.
type execution struct {
	tx     *txn
	plan   *classify.Plan
	params []event.Param
	// item is its place on the transaction's log, nil before its answer begins.
	item *logItem
	// rows are hidden columns that have not been made operations yet.
	rows     [][]event.Value
	several  []partRows // these of plan.Parts
	own      int64      // the rows of the client's among those of parts, since it was last told
	limit    int64      // how many of these the client has asked for, 0: all
	kept     int        // bytes of rows and data
	parts    int        // operations were made of that many parts
	hash     digest.Rows
	hashed   bool
	columns  int // of the row description, hidden ones included; 0: not seen
	tag      string
	affected int64
	returned int64 // rows
	// partial says that the client fetched the rows in pieces: the command tag
	// counts those of the last one alone.
	partial bool
	// late: a sequence that it drew from was made or altered in this transaction
	// and can be read by the session alone, which is asked before the commit.
	late bool
	// finished: its command has completed. Dropped: it was rolled back, to a savepoint.
	finished, dropped bool
	// passing: a session that looks on keeps nothing of its data.
	passing bool
	// data is a piece of the COPY stream not made an operation yet; scan looks for
	// values in it that mean another moment on each server.
	data []byte
	scan *classify.CopyScanner
	copy *copyText
}

// lost tells whether nothing of the execution will be recorded.
func (x *execution) lost() bool { return x.dropped || x.tx.broken != nil }

// addRow keeps the hidden columns of one row. Callers hold s.mu.
func (s *Session) addRow(ctx context.Context, x *execution, values []pgwire.DataRowValue) {
	if x.lost() {
		return
	}
	x.tx.place(x)
	row, err := s.hiddenRow(x.plan, values)
	if err != nil {
		x.tx.fail(err)
		return
	}
	if len(x.plan.Parts) > 0 {
		s.addToPart(x, row)
		return
	}
	if s.cfg.Level == event.LevelFull && !x.plan.Unnamed {
		x.hash.Add(row)
		x.hashed = true
	}
	x.rows = append(x.rows, row)
	x.keep(sizeOfRow(row))
	switch {
	case x.plan.Whole: // bounded by the statement's own text
	case x.plan.Undivided:
		if x.kept >= s.cfg.ChunkBytes {
			x.tx.fail(errUndivided)
			x.made()
		}
	case x.kept >= s.piece():
		s.makePart(ctx, x, true)
	}
}

// sizeOfRow is what a row takes of memory.
func sizeOfRow(row []event.Value) int {
	n := 0
	for _, v := range row {
		n += 16 + len(v.Text)
	}
	return n
}

// errUndivided says that backups could not do in pieces what the primary did at once.
var errUndivided = errors.New("a DELETE took away more rows than go into one piece (capture.chunk), of a table without a key whose rows refer to one another")

// copyRow takes values out of the reader's buffer, with one allocation for all.
func copyRow(values []pgwire.DataRowValue) []event.Value {
	n := 0
	for _, v := range values {
		n += len(v.Value)
	}
	slab := make([]byte, 0, n)
	row := make([]event.Value, len(values))
	for i, v := range values {
		start := len(slab)
		slab = append(slab, v.Value...)
		row[i] = event.Value{Null: v.Null, Text: slab[start:len(slab):len(slab)]}
	}
	return row
}

// finish takes the end of an execution: its operations go on the log, or it
// waits there for the probe, which tells the transaction's time. Callers hold s.mu.
func (s *Session) finish(ctx context.Context, x *execution, tag string) {
	if x.finished {
		return // a portal that was at its end was executed again
	}
	x.finished, x.tag, x.affected = true, tag, pgwire.Affected(tag)
	if x.partial {
		x.affected = x.returned
	}
	x.tx.depends = s.ledger.High()
	if x.lost() {
		return
	}
	x.tx.place(x)
	x.late = x.plan.Kind == classify.Draw && x.tx.ownDDL
	if x.tx.probe != nil && !x.late {
		s.makePart(ctx, x, false)
	}
}

// makePart turns what an execution holds into operations at its place. Callers hold s.mu.
func (s *Session) makePart(ctx context.Context, x *execution, more bool) {
	if x.lost() {
		x.made()
		return
	}
	x.tx.place(x)
	ops, err := s.operationsOf(x, more)
	if err != nil {
		x.tx.fail(err)
		return
	}
	x.item.put(ops)
	x.tx.count(sizeOf(ops))
	if !more {
		x.item.exec = nil
	}
	if x.tx.bytes >= s.piece() {
		s.spill(ctx, x.tx)
	}
}

func (s *Session) operationsOf(x *execution, more bool) ([]event.Operation, error) {
	var marks []event.SequenceMark
	if x.plan.Kind == classify.Draw {
		for _, ref := range x.plan.Sequences {
			mark, err := s.deps.Catalog.SequenceValue(context.Background(), ref.Schema, ref.Name)
			if err != nil {
				return nil, err
			}
			marks = append(marks, mark)
		}
	}
	return s.operationsWith(x, more, marks)
}

func (s *Session) operationsWith(x *execution, more bool, marks []event.SequenceMark) ([]event.Operation, error) {
	e := classify.Execution{Params: x.params, Rows: x.rows, Parts: s.partsOf(x), Affected: x.affected, Tag: x.tag,
		First: x.parts == 0, More: more, Data: x.data, Sequences: marks}
	if x.tx.probe != nil {
		if x.plan.Lock != "" && !seesWhatCommits(x.tx.probe.isolation) {
			return nil, errOldSnapshot
		}
		e.TxTime = x.tx.probe.now
	}
	ops, err := x.plan.Operations(e)
	x.parts++
	x.made()
	if err != nil {
		return nil, err
	}
	if !more && x.hashed {
		classify.Hash(ops, x.hash.Sum())
	}
	s.deps.Metrics.count(ops)
	return ops, nil
}

// learn takes the probe's answer: executions that waited for it become operations.
// Callers hold s.mu.
func (s *Session) learn(ctx context.Context, tx *txn, p *probe) {
	if tx.first != nil && p.context.raw != tx.effective().raw && !tx.ownDDL && !tx.opaque {
		// A statement (a function that it called) changed a setting unseen, so
		// what it was classified under may not be what it ran under (I6). DDL may:
		// a schema that it makes is part of the path from then on. So may what the
		// capture triggers carry, whose images mean the same under any; what does not
		// (generated columns) is compared there.
		tx.fail(errors.New("a statement changed session settings while it ran"))
	}
	if p.pid != s.who.pid {
		// Prepared statements, settings and the way to settle a commit in doubt are
		// those of the process that this session began with.
		tx.fail(errOtherProcess)
	}
	s.context, tx.opaque = p.context, false
	if tx.probe == nil || tx.probe.xid == 0 {
		tx.probe = p
	}
	if tx.broken != nil {
		return
	}
	for _, item := range tx.log {
		x := item.exec
		if x == nil || !x.finished {
			continue
		}
		if x.late {
			continue
		}
		s.resolveNow(item)
		if tx.broken != nil {
			return
		}
	}
	if tx.bytes >= s.piece() {
		s.spill(ctx, tx)
	}
}

var errOtherProcess = errors.New("the primary's process is another one than before: a pooler between agent and primary must be in session mode")

// resolveNow is resolve where every sequence can be read by the agent's own connection.
func (s *Session) resolveNow(item *logItem) {
	ops, err := s.operationsOf(item.exec, false)
	s.settleItem(item, ops, err)
}

// resolve turns a finished execution that waited on the log into operations; marks
// are the values of its sequences where they were read already. Callers hold s.mu.
func (s *Session) resolve(item *logItem, marks []event.SequenceMark) {
	ops, err := s.operationsWith(item.exec, false, marks)
	s.settleItem(item, ops, err)
}

func (s *Session) settleItem(item *logItem, ops []event.Operation, err error) {
	tx := item.exec.tx
	if err != nil {
		tx.fail(err)
		return
	}
	item.exec = nil
	item.put(ops)
	tx.count(sizeOf(ops))
}

// resolveLate asks the session for the sequences of executions that waited for it.
func (s *Session) resolveLate(ctx context.Context, tx *txn, extended bool) error {
	q := querier{s: s, extended: extended}
	var here sequencesHere
	for _, item := range tx.log {
		if item.exec == nil || !item.exec.late {
			continue
		}
		var err error
		if here == nil {
			if here, err = s.sequencesHere(ctx, tx, q); err != nil {
				return err
			}
		}
		if err := s.resolveOf(ctx, item, here, q); err != nil {
			return err
		}
	}
	return nil
}

// resolveOf is resolve with the values that the session reads. What was done to a
// sequence that is no longer there by its name is none, or in what the transaction's
// end says of the name that it has got (marks).
func (s *Session) resolveOf(ctx context.Context, item *logItem, here sequencesHere, q querier) error {
	var marks []event.SequenceMark
	for _, ref := range item.exec.plan.Sequences {
		if here.lacks(ref) {
			s.locked(func() {
				item.exec.made()
				s.settleItem(item, nil, nil)
			})
			return nil
		}
		mark, err := s.deps.Catalog.SequenceValueOn(ctx, q, ref.Schema, ref.Name)
		if err != nil {
			return err
		}
		marks = append(marks, mark)
	}
	s.locked(func() { s.resolve(item, marks) })
	return nil
}
