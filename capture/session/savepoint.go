package session

import "github.com/opmux/opmux/event"

// mark is a savepoint of the client's, and how many plans came before it.
type mark struct {
	name  string
	plans int
}

func (t *txn) savepoint(name string) {
	t.stack = append(t.stack, mark{name, len(t.noted)})
	t.add(&logItem{savepoint: name})
}

// drop forgets what was rolled back, with the executions that have not ended (I2).
func (t *txn) drop(items []*logItem) {
	for _, item := range items {
		t.count(-item.size())
		if item.exec != nil {
			item.exec.dropped = true
			item.exec.made()
		}
	}
}

// rollbackTo drops what was rolled back, or says so where it is written out already.
func (t *txn) rollbackTo(name string) {
	t.unwind(name, 1)
	for i := len(t.log) - 1; i >= 0; i-- {
		if t.log[i].savepoint != name {
			continue
		}
		t.drop(t.log[i+1:])
		t.log = t.log[:i+1]
		return
	}
	// The savepoint was written out with a chunk: everything since is dropped
	// there, and here all that is left, but for the end of an operation that was
	// begun there: without it, its reader would take what follows for a part of it.
	var end []*logItem
	if len(t.log) > 0 && t.log[0].cut {
		end = t.log[:1]
	}
	t.drop(t.log[len(end):])
	t.log = end
	t.step(savepointOp(event.OpRollbackTo, name))
	t.undone = true
	// Targets are back at the savepoint's settings, which are not known here.
	t.contextLost = true
}

// release forgets a savepoint and those above it; what they covered stays.
func (t *txn) release(name string) {
	t.unwind(name, 0)
	for i := len(t.log) - 1; i >= 0; i-- {
		if t.log[i].savepoint != name {
			continue
		}
		t.forgetSavepoints(i)
		return
	}
	t.forgetSavepoints(0)
	if t.spilled {
		t.step(savepointOp(event.OpRelease, name))
	}
}

// forgetSavepoints takes the savepoints from an item on off the log, with the items
// that were nothing else: a transaction may set and release any number of them.
func (t *txn) forgetSavepoints(from int) {
	left := t.log[:from]
	for _, item := range t.log[from:] {
		item.savepoint = ""
		if item.idle() {
			t.count(-item.size())
			continue
		}
		left = append(left, item)
	}
	clear(t.log[len(left):])
	t.log = left
}

// unwind drops the savepoints above the latest one of that name, keep of which stay
// with it: 1 after a rollback to it, 0 after its release.
func (t *txn) unwind(name string, keep int) {
	for i := len(t.stack) - 1; i >= 0; i-- {
		if t.stack[i].name != name {
			continue
		}
		if keep > 0 {
			t.recall(i)
			t.dropPlans(t.stack[i].plans)
		} else {
			t.settleChecked(i)
		}
		t.stack = t.stack[:i+keep]
		return
	}
}

func savepointOp(kind event.OpKind, name string) event.Operation {
	return event.Operation{Kind: kind, Class: event.ClassText, Reason: "savepoint of a large transaction", Text: name,
		Digest: event.Digest{SQLState: "00000", Affected: -1}}
}
