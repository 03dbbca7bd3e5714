package session

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// What each kind of row that the capture triggers kept becomes.

// one deals with one row.
func (t *take) one(ctx context.Context, q catalog.Querier, row *taken) error {
	switch row.what {
	case catalog.TakenTemporary:
		t.own = true
		return nil
	case catalog.TakenSequence:
		t.tx.drawn(classify.SequenceRef{Schema: row.schema, Name: row.table})
		return nil
	case catalog.TakenDDL:
		return t.define(row)
	case catalog.TakenPart, catalog.TakenOvertaken:
		return nil
	case catalog.TakenOthers:
		return errTaken
	case catalog.TakenComputed, catalog.TakenComputedF:
		return t.computed(ctx, q, row)
	case catalog.TakenHeld:
		if t.tx.holds[row.note] {
			return nil
		}
		return t.cannot("*", "a cursor WITH HOLD that "+t.construct()+" has declared", "it runs in the COMMIT, unseen",
			"DECLARE it on its own, or without HOLD.")
	case catalog.TakenRoles:
		if t.s.cfg.Flag { // as on its own: no table differs for it
			return nil
		}
		return t.s.deps.Classifier.RolesInside(t.construct())
	case catalog.TakenUnseen:
		if row.note == catalog.NoteUnlogged && t.s.deps.Classifier.SkipsUnlogged() {
			return nil
		}
		table, what := "*", t.construct()
		if row.table != "" {
			table = row.schema + "." + row.table
			what = "writing " + table + " in " + what
		}
		return t.cannot(table, what, row.note, "")
	}
	table, err := t.of(ctx, q, row)
	if err != nil {
		return err
	}
	if given, err := t.otherwise(row, table); given || err != nil {
		return err
	}
	if row.what == catalog.TakenTruncate {
		if table.self.Misplaced() {
			r := classify.Misplaced("TRUNCATE in "+t.construct(), table.self)
			return t.cannot(table.root.Qualified(), r.Construct, r.Reason, r.Hint)
		}
		return t.truncate(row, table)
	}
	if reason, hint := classify.CheckedAgain(table.root); reason != "" {
		return t.cannot(table.root.Qualified(), "writing "+table.root.Qualified()+" in "+t.construct(), reason, hint)
	}
	if c := t.tx.effective(); c != nil && c.setting("array_nulls") == "off" {
		return t.cannot(table.root.Qualified(), t.construct(), "under array_nulls = off a NULL in an array would be read back as a word", "SET array_nulls = on.")
	}
	return t.image(row, table)
}

// otherwise gives up a row of a table for which something acts that would on a backup, too,
// or that gives something else there.
func (t *take) otherwise(row *taken, table *tracedTable) (given bool, err error) {
	if awake := table.root.Awake; awake != "" {
		return true, t.cannot(table.root.Qualified(), "writing "+table.root.Qualified()+" in "+t.construct(), awake+" acts ALWAYS or on replicas, and would on a backup behind the rows that it made",
			"ALTER TABLE … ENABLE "+strings.ToUpper(strings.Fields(awake)[0])+" instead.")
	}
	if ahead := table.root.Ahead; ahead != "" && row.what != catalog.TakenTruncate {
		return true, t.cannot(table.root.Qualified(), "writing "+table.root.Qualified()+" in "+t.construct(), "trigger "+strconv.Quote(ahead)+" runs before the agent's own, by its name: what it wrote would come before the row that set it off",
			"ALTER TRIGGER … RENAME TO a name that begins with a letter.")
	}
	if r := classify.ReadsElsewhere(table.root, t.s.wasLenient); r != nil && row.what != catalog.TakenDelete && row.what != catalog.TakenTruncate {
		return true, t.cannot(table.root.Qualified(), r.Construct+" in "+t.construct(), r.Reason, r.Hint)
	}
	return false, nil
}

// computed gives up what wrote generated columns under other settings than those that a
// target computes them under.
func (t *take) computed(ctx context.Context, q catalog.Querier, row *taken) error {
	under, schemas, err := catalog.ComputedUnder(row.what, row.note)
	if err != nil {
		return err
	}
	c := t.tx.effective()
	for _, set := range under {
		if c == nil || c.setting(set.Name) != set.Value {
			return t.otherSetting(row, set.Name, "Set "+set.Name+" for the session, before the statement.")
		}
	}
	if schemas == nil || slices.Equal(schemas, c.schemas) {
		return nil
	}
	table, err := t.of(ctx, q, row)
	if err != nil || table.self.ComputesAlike(schemas, c.schemas) {
		return err
	}
	return t.otherSetting(row, "search_path", "Give the functions that compute them a SET search_path of their own, or name the schemas of what they call.")
}

func (t *take) otherSetting(row *taken, name, hint string) error {
	table := row.schema + "." + row.table
	return t.cannot(table, "writing "+table+" in "+t.construct(), "its generated columns were computed under another "+name+" than the session's, under which a backup computes them", hint)
}

// construct names the statement.
func (t *take) construct() string {
	if t.plan != nil {
		return t.plan.Construct
	}
	return "a deferred trigger"
}

// cannot gives up what cannot be carried: by policy reject the transaction, by flag
// the table.
func (t *take) cannot(table, construct, reason, hint string) error {
	if t.s.cfg.Flag {
		t.flush()
	}
	return t.giveUp(table, &classify.Refusal{Construct: construct, Reason: reason, Hint: hint})
}

// truncate carries TRUNCATE as text. Tables that a foreign key connects were
// truncated together, and are again.
func (t *take) truncate(row *taken, table *tracedTable) error {
	t.flush()
	name := catalog.QuoteIdent(row.schema) + "." + catalog.QuoteIdent(row.table)
	if table.self.Kind == catalog.Ordinary {
		name = "ONLY " + name
	}
	t.tx.barrier = true
	if ops := t.lastOps(); len(ops) > 1 { // the last one wakes the triggers again
		last := &ops[len(ops)-2]
		if strings.HasPrefix(last.Text, "TRUNCATE ") && last.Kind == event.OpStatement {
			last.Text += ", " + name
			last.Tables = append(last.Tables, table.self.Qualified())
			return nil
		}
	}
	t.asleep(event.Operation{Kind: event.OpStatement, Class: event.ClassText, Reason: t.reason, Text: "TRUNCATE " + name,
		Tables: []string{table.self.Qualified()}, Digest: event.Digest{SQLState: "00000", Affected: -1}})
	return nil
}
