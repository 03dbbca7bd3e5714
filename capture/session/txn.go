package session

import (
	"slices"

	"github.com/google/uuid"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
)

// txn is what a session has captured of the transaction that is open. It is
// guarded by the session's mu.
type txn struct {
	id  event.TxID
	log []*logItem
	// stack are the client's savepoints, the outermost first.
	stack []mark
	// bytes are held by the log, kept by executions that have not made operations
	// of it yet; both count in share until the transaction has ended.
	bytes, kept int
	share       *share
	ended       bool
	// first is the context of the first write, context the one at the log's
	// beginning: another one once a part was written out.
	first, context *sessionContext
	probe          *probe
	// depends is the ledger's highest ticket when the last response arrived.
	depends int64
	// unnamed: it takes away rows that no key names, and each target chooses among
	// those that are the same. Two such that ran beside one another there would choose
	// the same one.
	unnamed bool
	// plans are those that must still hold when the transaction commits; manyPlans
	// says that there were more than are kept.
	plans     map[*classify.Plan]struct{}
	manyPlans bool
	// unkept is the lowest catalogue version of the plans that are not kept,
	// planBytes what those in plans take.
	unkept int64
	// noted are the plans in the order in which they came.
	noted   []*classify.Plan
	checked []checked
	// ran counts the plans that came; holding is when all of them held.
	ran            int
	holding        holding
	planBytes      int
	catalogVersion int64
	// sequences may have been drawn from; they stay drawn after a rollback.
	sequences  map[classify.SequenceRef]struct{}
	deferrable bool
	barrier    bool
	locks      bool // a statement of it travels as text behind a lock of its table
	ownDDL     bool
	restarts   bool                 // as the plan says
	renames    bool                 // a sequence, maybe
	copies     []*classify.Rebuilds // of its statements, those that copy indexes
	admitted   bool
	expected   order.Expectation
	// opaque: the statement under way is carried by the capture triggers; traced:
	// one was.
	opaque, traced bool
	// holds are the DECLAREs of the client's whose queries run in the COMMIT.
	holds map[string]bool
	// untaken counts the statements that the capture triggers carry and that have not
	// told of all they did: failed, lost or under way, they may have drawn from any
	// sequence.
	untaken int
	// contextLost says that the context at the log's end is not known.
	contextLost bool
	// shapes are what its record says of tables.
	shapes []event.TableShape
	// broken is why the transaction cannot be recorded any more.
	broken error

	chunks     int32
	spilled    bool
	undone     bool // what is written out has parts that were rolled back
	firstChunk *order.Append
	lastChunk  *order.Append
}

// logItem is one step of a transaction: the operations of an execution, a change
// of settings, or a savepoint.
type logItem struct {
	ops []event.Operation
	// exec is the execution that is not over, or waits for the probe.
	exec      *execution
	savepoint string
	context   *sessionContext // set where the item changes it
	// cut says that the beginning of its operation is written out already.
	cut bool
}

func newTxn(of *share) (*txn, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return &txn{id: event.TxID(id), share: of, plans: map[*classify.Plan]struct{}{}}, nil
}

// dependsOn is the highest ticket that it may have to follow.
func (t *txn) dependsOn() int64 {
	if t.unnamed {
		return event.BehindAll
	}
	return t.depends
}

// writes tells whether anything of the transaction is to be published.
func (t *txn) writes() bool {
	if t.spilled {
		return true
	}
	for _, item := range t.log {
		if item.exec != nil {
			return true
		}
		for i := range item.ops {
			if item.ops[i].Kind != event.OpSet {
				return true
			}
		}
	}
	return false
}

// effective is the context that the end of the log stands under.
func (t *txn) effective() *sessionContext {
	for i := len(t.log) - 1; i >= 0; i-- {
		if t.log[i].context != nil {
			return t.log[i].context
		}
	}
	return t.context
}

// note remembers a plan that ran in the transaction.
func (t *txn) note(p *classify.Plan) {
	t.deferrable = t.deferrable || p.Deferrable
	t.barrier = t.barrier || p.Barrier || p.Kind == classify.DDL
	t.unnamed = t.unnamed || p.Unnamed
	t.locks = t.locks || p.Lock != ""
	t.restarts = t.restarts || p.Restarts
	t.renames = t.renames || renames(p)
	t.ownDDL = t.ownDDL || p.CatalogChanges || p.Kind == classify.DDL
	if p.Rebuilds != nil && p.Rebuilds.Copies {
		t.copies = append(t.copies, p.Rebuilds)
	}
	if p.ByTriggers {
		t.untaken++
	}
	if p.Runs != "" && p.Inner != nil {
		t.note(p.Inner)
	}
	for _, ref := range p.Sequences {
		t.drawn(ref)
	}
	t.catalogVersion = max(t.catalogVersion, p.CatalogVersion)
	if _, known := t.plans[p]; !known {
		t.keepPlan(p)
	}
}

// drawn notes a sequence that may have been drawn from.
func (t *txn) drawn(ref classify.SequenceRef) {
	if t.sequences == nil {
		t.sequences = map[classify.SequenceRef]struct{}{}
	}
	t.sequences[ref] = struct{}{}
}

// enter puts the context in which the next operation runs on the log.
func (t *txn) enter(c *sessionContext) {
	if t.context == nil {
		t.first, t.context = c, c
		return
	}
	last := t.effective()
	if !t.contextLost && (last == c || last.raw == c.raw) {
		return
	}
	var changed []event.Setting
	for i, s := range c.settings {
		if t.contextLost || last.settings[i] != s {
			changed = append(changed, s)
		}
	}
	t.contextLost = false
	item := &logItem{context: c}
	if len(changed) > 0 {
		item.ops = []event.Operation{{Kind: event.OpSet, Class: event.ClassText,
			Reason: "session context", Settings: changed, Digest: event.Digest{SQLState: "00000", Affected: -1}}}
	}
	t.add(item)
}

// place gives an execution its place on the log, at the first word of its answer:
// one that the client fetches piece by piece took effect then.
func (t *txn) place(x *execution) {
	if x.item == nil {
		x.item = &logItem{exec: x}
		t.add(x.item)
	}
}

// step puts one of the agent's own operations on the log.
func (t *txn) step(op event.Operation) {
	t.add(&logItem{ops: []event.Operation{op}})
}

// operations flattens the log at the transaction's end.
func (t *txn) operations() []event.Operation { return flatten(t.log, t.spilled) }

// flatten lists the operations of a log; savepoints appear only where parts of the
// transaction are written out already, or are about to be.
func flatten(log []*logItem, savepoints bool) []event.Operation {
	n := 0
	for _, item := range log {
		n += len(item.ops)
		if item.savepoint != "" && savepoints {
			n++
		}
	}
	out := slices.Grow([]event.Operation(nil), n)
	for _, item := range log {
		if item.savepoint != "" && savepoints {
			out = append(out, savepointOp(event.OpSavepoint, item.savepoint))
		}
		out = append(out, item.ops...)
	}
	return out
}

// sizeOf estimates in bytes what operations take.
func sizeOf(ops []event.Operation) int {
	n := 0
	for i := range ops {
		o := &ops[i]
		n += 64 + len(o.Text) + len(o.Data) + len(o.Reason)
		for _, p := range o.Params {
			n += 12 + len(p.Value)
		}
		if o.Rows == nil {
			continue
		}
		for _, r := range o.Rows.Rows {
			for _, v := range r.Key {
				n += 8 + len(v.Text)
			}
			for _, v := range r.Values {
				n += 8 + len(v.Text)
			}
		}
	}
	return n
}
