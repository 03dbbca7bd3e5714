package session

import (
	"context"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// onLog puts operations of the agent's own making on a transaction's log: of what a
// statement did that was looked at behind it. It is guarded by the session's mu.
type onLog struct {
	s    *Session
	tx   *txn
	item *logItem
}

// put puts an operation on the log.
func (l *onLog) put(op event.Operation) {
	if l.item == nil {
		l.item = &logItem{}
		l.tx.add(l.item)
	}
	l.item.ops = append(l.item.ops, op)
	l.tx.count(sizeOf(l.item.ops[len(l.item.ops)-1:]))
}

// spill writes out what has become too much; what follows is an item of its own.
func (l *onLog) spill(ctx context.Context) {
	if l.tx.bytes >= l.s.piece() {
		l.item = nil
		l.s.spill(ctx, l.tx)
	}
}

// giveUp gives up what cannot be carried: by policy reject the transaction, by flag
// the table.
func (l *onLog) giveUp(table string, r *classify.Refusal) error {
	if table == "*" {
		return l.giveUpAll(nil, []string{table}, r)
	}
	return l.giveUpAll([]string{table}, []string{table}, r)
}

// giveUpAll is giveUp of several, which may be indexes of tables that are not given up.
func (l *onLog) giveUpAll(tables, diverged []string, r *classify.Refusal) error {
	if !l.s.cfg.Flag {
		return r
	}
	op := event.Operation{Kind: event.OpFlagged, Class: event.ClassRefused, Reason: r.Construct + ": " + r.Reason,
		Tables: tables, Diverged: diverged, Digest: event.Digest{SQLState: "00000", Affected: -1}}
	l.put(op)
	l.tx.barrier = true
	return nil
}

// lastOps are the operations that the present item has.
func (l *onLog) lastOps() []event.Operation {
	if l.item == nil {
		return nil
	}
	return l.item.ops
}

// asleep puts an operation on the log that runs while triggers sleep.
func (l *onLog) asleep(op event.Operation) {
	if n := len(l.lastOps()); n > 0 && l.item.ops[n-1].Kind == event.OpSet {
		l.tx.count(-sizeOf(l.item.ops[n-1:]))
		l.item.ops = l.item.ops[:n-1]
	} else {
		l.put(classify.Sleep("replica"))
	}
	l.put(op)
	l.put(classify.Sleep("origin"))
	l.s.deps.Metrics.count(l.item.ops[len(l.item.ops)-2 : len(l.item.ops)-1])
}
