package session

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgstrings"
	"github.com/opmux/opmux/wire/pgwire"
)

// DDL that ran inside of a statement (in a function, a DO) travels as its own text,
// which an event trigger kept of it in the order of the images (ADR 25). It is
// classified behind the statement, by the rules for DDL on its own, and before its
// transaction can commit. What these rules could only tell before it ran is refused.

// definition is DDL that ran inside of a statement and can be carried: its plan, and
// what the settings were then.
type definition struct {
	plan    *classify.Plan
	context *sessionContext
}

// ranDDL reads what a statement defined, row by row.
type ranDDL struct {
	*take
	q catalog.Querier
	// before is the context that the statement ran under.
	before *sessionContext
	// altered is a command that dropped objects on its way (DROP COLUMN), whose own row
	// is to follow.
	altered *taken
	// rows: images came before, of the tables wrote and what these are partitions of,
	// and of others where early is set; temporary: a temporary object was dropped or altered;
	// evaluates: DDL that computes values came before.
	rows, temporary, evaluates bool
	wrote                      map[string]bool
	// others: there are event triggers of others.
	others bool
}

// defines looks up what the DDL among the rows is. It is an error of the session's,
// where there is one; what cannot be carried is left with its row.
func (t *take) defines(ctx context.Context, q catalog.Querier) error {
	d := &ranDDL{take: t, q: q, rows: t.early, wrote: map[string]bool{}}
	t.s.locked(func() { d.before = t.tx.effective() })
	for i := range t.rows {
		row := &t.rows[i]
		switch row.what {
		case catalog.TakenInsert, catalog.TakenUpdate, catalog.TakenDelete, catalog.TakenTruncate:
			d.rows = true
			d.wrote[row.schema+"."+row.table], d.wrote[row.rootSchema+"."+row.root] = true, true
		case catalog.TakenTemporary:
			d.temporary = d.temporary || !strings.HasPrefix(row.note, "CREATE ")
		case catalog.TakenDDL:
			if err := d.one(ctx, row); err != nil {
				return err
			}
		}
	}
	if d.altered != nil { // its end never came
		d.altered.what, d.altered.refusal = catalog.TakenDDL, unknownDDL("what else it did is not known")
	}
	if last := t.lastDDL(); last != nil && d.whole() != "" {
		last.refusal = unknownDDL(d.whole())
	}
	return nil
}

// whole says what is not known of the DDL as a whole.
func (d *ranDDL) whole() string {
	switch {
	case d.temporary:
		return "temporary objects were dropped or altered beside it, which it may name"
	case d.rows && d.others:
		return "there are event triggers, which may have written the rows beside it"
	}
	return ""
}

// refused is the first DDL that cannot be carried, nil: there is none.
func (t *take) refused() *taken {
	for i := range t.rows {
		if t.rows[i].refusal != nil {
			return &t.rows[i]
		}
	}
	return nil
}

// lastDDL is the last row of DDL, where it can be carried as far as it is looked at.
func (t *take) lastDDL() *taken {
	for i := len(t.rows) - 1; i >= 0; i-- {
		if t.rows[i].what == catalog.TakenDDL && t.rows[i].refusal == nil {
			return &t.rows[i]
		}
	}
	return nil
}

func unknownDDL(reason string) *classify.Refusal {
	return &classify.Refusal{Reason: reason, Hint: "Run the DDL on its own."}
}

// one reads one row of DDL.
func (d *ranDDL) one(ctx context.Context, row *taken) error {
	ran, err := catalog.ReadRan(row.before)
	if err != nil {
		return err
	}
	text, unknown := d.known(row, ran)
	if unknown != "" {
		row.refusal = unknownDDL(unknown)
		return nil
	}
	if ran.Dropped >= 0 && !strings.HasPrefix(ran.Tag, "DROP ") {
		d.altered = row
		row.what = catalog.TakenPart
		return nil
	}
	d.altered = nil
	d.others = d.others || ran.Others
	def, r, err := d.classified(ctx, ran, text)
	if err != nil {
		return err
	}
	if r == nil && d.evaluates && classify.Redefines(ran.Tag) {
		r = unknownDDL("what it redefines may be what DDL before it computed values by")
	}
	if r == nil && d.rows && !classify.Creates(ran.Tag) && !d.apart(def.plan) {
		r = unknownDDL("the statement wrote rows before it, of what may have been another shape")
	}
	row.definition, row.refusal = def, r
	d.evaluates = d.evaluates || def != nil && def.plan.Evaluates
	return nil
}

// apart tells whether DDL leaves the shapes of the tables that have images as they are:
// it adds to others alone, or drops others. Rows without a table are of one that it may
// have been which dropped it.
func (d *ranDDL) apart(p *classify.Plan) bool {
	return p.Apart != nil && !d.early && !d.wrote["."] && !slices.ContainsFunc(p.Apart, func(table string) bool { return d.wrote[table] })
}

// known finds the text of DDL, or says what is not known well enough of what ran it and when.
func (d *ranDDL) known(row *taken, ran *catalog.Ran) (text, unknown string) {
	switch {
	case d.plan == nil:
		return "", "a deferred trigger ran it"
	case ran == nil || ran.Context == nil:
		return "", "what such DDL did is not known"
	case d.altered != nil && !sameCommand(d.altered, row, ran):
		return "", "what it dropped is not known"
	case ran.Extension:
		return "", "an extension's script ran it"
	case ran.Nested:
		return "", "an event trigger ran it, as one may on the backups"
	case ran.Temporary:
		return "", "it is about temporary and other objects"
	}
	text, told := classify.Told(string(row.after), ran.Tag)
	if !told {
		return "", "its text is not known: only that of DDL which PL/pgSQL or the like runs is, one command at a time"
	}
	return text, ""
}

// sameCommand tells whether a row is the end of the command that another one is of.
func sameCommand(dropped, end *taken, ran *catalog.Ran) bool {
	return ran.Dropped < 0 && bytes.Equal(dropped.after, end.after)
}

// classified plans DDL as it would be on its own.
func (d *ranDDL) classified(ctx context.Context, ran *catalog.Ran, text string) (*definition, *classify.Refusal, error) {
	c, err := contextOf(ran.Context, d.s.serverEncoding)
	if err != nil {
		return nil, nil, err
	}
	const replication = "session_replication_role"
	switch {
	case c.user != d.before.user || c.setting("role") != d.before.setting("role"):
		return nil, unknownDDL("it ran as " + c.user + ", and not as the session's role (SECURITY DEFINER, SET ROLE)"), nil
	case c.setting(replication) != d.before.setting(replication):
		return nil, unknownDDL("it ran under another " + replication), nil
	}
	if (c.lenient || d.s.wasLenient) && !pgstrings.Same(text) {
		return nil, unknownDDL("it has a constant with a backslash, which reads in another way under " + stringsSetting + " = off"), nil
	}
	plan, err := d.s.deps.Classifier.Ran(ctx, classify.Input{SQL: text, Level: d.s.cfg.Level, Schemas: c.schemas,
		Settings: event.Context{User: c.user, Settings: c.settings}, InBlock: true, Querier: d.q,
		Behind: &classify.Behind{Dropped: ran.Dropped, Tables: ran.Tables}})
	if err == nil {
		plan, err = d.s.rebuilds(ctx, plan)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("DDL inside of a statement: %w", err)
	}
	if plan.Kind == classify.Refused {
		r := *plan.Refusal
		r.Position = 0 // it is one in the inner text
		return nil, &r, nil
	}
	if r, err := d.s.readOffsets(ctx, d.q, plan); r != nil || err != nil {
		return nil, r, err
	}
	return &definition{plan: plan, context: c}, nil, nil
}

// contextOf reads a context as an event trigger noted it.
func contextOf(noted []string, database string) (*sessionContext, error) {
	row := make([]pgwire.DataRowValue, contextColumn, probeColumns+len(catalog.ContextSettings))
	for _, v := range noted {
		row = append(row, pgwire.DataRowValue{Value: []byte(v)})
	}
	return newContext(row, rawContext(row), database)
}

// define puts DDL on the log, between changes of the settings where it ran under
// others. Callers hold s.mu, but for DDL that is refused by policy reject.
func (t *take) define(row *taken) error {
	if row.refusal != nil {
		r := *row.refusal
		what := row.note + " inside of a statement"
		if r.Construct != "" {
			r.Reason = r.Construct + ": " + r.Reason
		}
		if r.Construct = what; r.Always {
			return &r
		}
		return t.cannot("*", r.Construct, r.Reason, r.Hint)
	}
	t.flush()
	d := row.definition
	ops, err := d.plan.Operations(classify.Execution{First: true, Affected: -1, TxTime: t.tx.probe.now})
	if err != nil || d.plan.Kind != classify.DDL {
		return err
	}
	t.tx.catalogVersion = max(t.tx.catalogVersion, d.plan.CatalogVersion)
	before := t.tx.effective()
	t.under(d.context)
	for _, op := range ops {
		op.Reason += " inside of " + t.construct()
		t.put(op)
	}
	t.s.deps.Metrics.count(ops)
	t.under(before)
	return nil
}

// under puts a context on the log for what follows.
func (t *take) under(c *sessionContext) {
	if t.tx.effective().raw != c.raw {
		t.tx.enter(c)
		t.item = nil
	}
}

// changedCatalogue notes that the statement changed the catalogue: names are looked up on the
// session from now on, and what ran before was checked before it. Callers hold s.mu.
func (t *take) changedCatalogue() {
	t.tx.barrier, t.tx.ownDDL = true, true
	t.s.ownObjects, t.s.context, t.s.contextChanged = true, nil, true
	t.tx.forgetPlans()
}
