package apply

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
)

// each is a statement once for each list of its parameters, which are words; "~" is NULL.
func each(sql string, rows ...string) []event.Operation {
	var ops []event.Operation
	for _, row := range rows {
		op := text(sql)
		for _, word := range strings.Fields(row) {
			op.Params = append(op.Params, event.Param{Value: []byte(word), Null: word == "~"})
		}
		ops = append(ops, one(op))
	}
	return ops
}

// one says that an operation hit one row on the primary.
func one(op event.Operation) event.Operation {
	op.Digest = event.Digest{SQLState: "00000", Affected: 1}
	return op
}

// plain are statements without parameters, each of which hit one row on the primary.
func plain(sql ...string) []event.Operation {
	var ops []event.Operation
	for _, s := range sql {
		ops = append(ops, one(text(s)))
	}
	return ops
}

func join(lists ...[]event.Operation) (all []event.Operation) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// setRule is one of the rules of sets: what a target has, and operations with which
// it would be broken.
type setRule struct {
	name   string
	target []string
	ops    []event.Operation
	tables string // that are compared
	// fails: the target refuses an operation, which stops the stream.
	fails bool
	// later comes behind the operations in a transaction of its own, with another
	// setting in its context or behind ddl.
	later   []event.Operation
	ddl     string
	context event.Setting
	// apart: none of the operations may be in a set.
	apart bool
}

// check applies a rule's operations, as one transaction, in sets to one target and
// one by one to another; tables, errors and digests must be equal.
func (rule *setRule) check(t *testing.T) {
	together := newRig(t)
	failed := together.setsFailed()
	one := *together
	one.db = one.pg.CreateDB(t)
	for _, db := range []string{together.db, one.db} {
		together.pg.Exec(t, db, rule.target...)
	}
	p := &setPrimary{rig: together}
	a := together.agent("a1")
	refs := []event.Ref{a.intend(rule.ops...)}
	if rule.context.Name != "" {
		tx := a.tx(rule.later...)
		tx.Intent = true
		tx.Context.Settings = append(tx.Context.Settings[1:], rule.context)
		ref, _ := a.add(tx)
		refs = append(refs, ref)
	}
	a.decide(true, refs...) // together, so that they are one group
	if rule.ddl != "" {
		ddl := text(rule.ddl)
		ddl.Digest = event.Digest{SQLState: "00000", Affected: -1}
		tx := a.tx(ddl)
		tx.Barrier = true
		a.add(tx)
		a.commit(rule.later...)
	}
	w, got := p.applied(together, "together", false)
	_, want := p.applied(&one, "apart", true)
	if fmt.Sprint(got) != fmt.Sprint(want) || (want != nil) != rule.fails {
		t.Errorf("in sets: %v\none by one: %v", got, want)
	}
	for _, table := range strings.Fields(rule.tables) {
		sql := "SELECT * FROM " + table + " whole ORDER BY whole::text"
		if got, want := together.query(sql), one.query(sql); got != want {
			t.Errorf("%s differs:\nin sets    %s\none by one %s", table, got, want)
		}
	}
	if got, want := p.answers("together"), p.answers("apart"); got != want {
		t.Errorf("digests differ:\nin sets    %s\none by one %s", got, want)
	}
	if n := failed(); want == nil && n > 0 {
		t.Errorf("sets failed %d times", n)
	}
	if n := w.inSets(t); want == nil && (n > 0) == rule.apart {
		t.Errorf("%.0f operations ran in sets", n)
	}
}

func TestRulesOfSets(t *testing.T) {
	for _, list := range [][]setRule{keyRules(), foldRules(), actRules(), literalRules()} {
		for i := range list {
			t.Run(list[i].name, list[i].check)
		}
	}
}
