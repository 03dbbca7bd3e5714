package session

import (
	"slices"

	"github.com/opmux/opmux/capture/classify"
)

// checked are plans that were looked at for the last time, and forgotten, behind savepoints. They hold by
// locks that were taken there: where the transaction goes back to such a savepoint, the
// server gives these up, and the plans from before it are to be looked at again.
type checked struct {
	plans []*classify.Plan
	// marks are, for each savepoint that was set then, how many of the plans came before it.
	marks []int
	// many and unkept are manyPlans and unkept then.
	many   bool
	unkept int64
}

// forgetPlans forgets the plans that were checked.
func (t *txn) forgetPlans() {
	c := checked{plans: t.noted, many: t.manyPlans, unkept: t.unkept}
	before := 0
	for i := range t.stack {
		c.marks = append(c.marks, t.stack[i].plans)
		before = t.stack[i].plans
		t.stack[i].plans = 0
	}
	c.plans = c.plans[:before]
	t.holdPlans(-sizeOfPlans(t.noted[before:]))
	if before > 0 || c.many && len(t.stack) > 0 {
		t.checked = append(t.checked, c)
	}
	clear(t.plans)
	t.noted, t.manyPlans = nil, false
}

// recall takes back what was forgotten since the savepoint at i of the stack.
func (t *txn) recall(i int) {
	for n := range t.checked {
		c := &t.checked[n]
		if len(c.marks) <= i {
			continue // its locks are from before the savepoint
		}
		back := c.plans[:c.marks[i]:c.marks[i]]
		if t.spilled { // what is written out already runs on targets all the same
			back = slices.Concat(c.plans, t.noted)
		}
		t.noted, t.holding = back, holding{}
		if t.manyPlans = c.many || t.manyPlans && t.spilled; c.many {
			t.unkept = c.unkept
		}
		for j := range t.stack[:i+1] {
			t.stack[j].plans = c.marks[j]
		}
		clear(t.plans)
		for _, p := range back {
			t.plans[p] = struct{}{}
		}
		t.keepChecked(t.checked[:n])
		return
	}
}

// settleChecked forgets what was kept for savepoints from the one at i on, which are
// released: the locks are now those of the savepoint around.
func (t *txn) settleChecked(i int) {
	left := t.checked[:0]
	for _, c := range t.checked {
		c.marks = c.marks[:min(i, len(c.marks))]
		before := 0
		if len(c.marks) > 0 {
			before = c.marks[len(c.marks)-1]
		}
		c.plans = c.plans[:before]
		if before > 0 || c.many && len(c.marks) > 0 {
			left = append(left, c)
		}
	}
	t.keepChecked(left)
}

// keepChecked keeps these, and counts what is kept.
func (t *txn) keepChecked(left []checked) {
	clear(t.checked[len(left):])
	t.checked = left
	size := sizeOfPlans(t.noted)
	for _, c := range left {
		size += sizeOfPlans(c.plans)
	}
	t.holdPlans(size - t.planBytes)
}

// sizeOfPlans is what they take, as keepPlan counts it.
func sizeOfPlans(plans []*classify.Plan) int {
	n := 0
	for _, p := range plans {
		n += planBytes + len(p.SQL)
	}
	return n
}
