package classify

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// asRefusal is errors.As for refusals.
func asRefusal(err error, r **Refusal) bool { return errors.As(err, r) }

// target looks up the table that a statement writes and refuses what cannot be
// followed there. events are the catalog.Trigger… bits of what the statement does.
func (j *job) target(rv *pg.RangeVar, events int) (*catalog.Table, error) {
	t, err := j.written(rv, events)
	if err != nil {
		return nil, err
	}
	return t, j.quiet(t, events, nil, rv.Location)
}

// written is target but for triggers.
func (j *job) written(rv *pg.RangeVar, events int) (*catalog.Table, error) {
	t, err := j.resolve(rv)
	if err != nil {
		return nil, err
	}
	j.plan.TableRefs = append(j.plan.TableRefs, t)
	if !t.Temp {
		j.plan.Tables = append(j.plan.Tables, t.Qualified())
	}
	if err := j.writable(t, rv.Location); err != nil {
		return nil, err
	}
	if err := j.misplaced(t, rv.Location); err != nil {
		return nil, err
	}
	if events&(catalog.TriggerUpdate|catalog.TriggerDelete) != 0 && t.Children > 0 && !t.Temp {
		return nil, j.refuse("writing inheritance parent "+t.Qualified(), rv.Location, "its rows are in several tables", "Write each child table by its own name.").all()
	}
	return t, nil
}

// resolve looks a written relation up by name; those of opmux and of the server
// itself are refused whatever the policy.
func (j *job) resolve(rv *pg.RangeVar) (*catalog.Table, error) {
	t, err := j.lookup(rv.Schemaname, rv.Relname)
	if err != nil {
		return nil, err
	}
	switch t.Schema {
	case "opmux":
		return nil, j.never("writing "+t.Qualified(), rv.Location, "schema opmux is opmux's own", "")
	case "pg_catalog", "information_schema", "pg_toast":
		return nil, j.refuse("writing system catalogue "+t.Qualified(), rv.Location, "the catalogue is the server's own", "Use DDL.").beyond()
	}
	return t, nil
}

// never is a refusal that policy flag does not lift.
func (j *job) never(construct string, location int32, reason, hint string) *Refusal {
	r := j.refuse(construct, location, reason, hint)
	r.Always = true
	return r
}

// writable refuses kinds of relations whose rows opmux cannot follow.
func (j *job) writable(t *catalog.Table, location int32) error {
	name := t.Qualified()
	switch t.Kind {
	case catalog.Ordinary, catalog.Partitioned:
	case catalog.View:
		return j.refuse("writing view "+name, location, "the rows are in other tables", "Write the table that the view reads.").all()
	case catalog.Foreign:
		return j.refuse("writing foreign table "+name, location, "the rows are on another server", "").beyond()
	default:
		return fmt.Errorf("%s is no table: %w", name, errMustFail)
	}
	switch {
	case (t.Unlogged || t.OddPartitions > 0) && !j.unfollowed(t):
		return j.refuse("writing unlogged table "+name, location, "its rows do not survive a crash of the primary", unloggedHint).beyond()
	case t.Rules > 0:
		return j.refuse("writing table "+name+" with rewrite rules", location, "rules change what a statement does", "Drop the rules.").all()
	}
	if err := j.checked(t, location); err != nil {
		return err
	}
	facts, err := j.facts()
	if err != nil {
		return err
	}
	if facts.VolatileCasts {
		return j.refuse("writing table "+name, location, "the database has a cast that runs a volatile function", "Declare the cast's function IMMUTABLE if it writes nothing.").all()
	}
	if j.context.replicationRole == "replica" {
		return j.refuse("writing table "+name+" under session_replication_role = replica", location, "triggers and foreign keys do not act there, and do on the backups", "SET session_replication_role = origin.")
	}
	return nil
}

// quiet refuses tables on which the statement would fire a user's trigger; set as for Fires.
func (j *job) quiet(t *catalog.Table, events int, set []string, location int32) error {
	if trigger := t.Fires(events, set); trigger != "" {
		return j.refuse("writing table "+t.Qualified()+" with trigger "+trigger, location, "what a trigger changes is not seen by opmux", "Do in the application what the trigger does, or disable it.").all()
	}
	return nil
}

// access refuses what row security or missing rights would make of an added
// RETURNING of columns.
func (j *job) access(t *catalog.Table, columns []string) error {
	role := j.context.role
	if role == "" || role == "none" {
		if role = j.context.authorization; role == "" {
			role = j.in.Settings.User
		}
	}
	if role == "" && !t.RowSecurity {
		return nil
	}
	a, err := j.c.catalog.Access(j.ctx, j.in.Querier, role, t)
	if err != nil {
		return err
	}
	if t.RowSecurity && (a.RowSecurity || !a.Known) {
		return j.refuse("writing table "+t.Qualified()+" under row level security", -1, "what a policy hides depends on the role", "Use a role with BYPASSRLS, or the table's owner.")
	}
	for _, c := range columns {
		if slices.Contains(a.Hidden, c) {
			return j.refuse(j.plan.Construct+" on "+t.Qualified(), -1, fmt.Sprintf("role %s may not read column %s, which identifies what was changed", role, c),
				fmt.Sprintf("GRANT SELECT ON %s TO %s.", t.Qualified(), role))
		}
	}
	return nil
}

// exact refuses columns whose text form would not be read back as it was.
func (j *job) exact(t *catalog.Table, columns []string) error {
	style := isoStyle(j.context.dateStyle)
	digits := j.context.floatDigits
	short := strings.HasPrefix(digits, "-") || digits == "0"
	for _, name := range columns {
		c := t.Column(name)
		if c == nil {
			continue
		}
		if !style && (slices.Contains(zoned, c.BaseOID) || isOpaque(c)) {
			return j.refuse(j.plan.Construct+" on "+t.Qualified(), -1, "under DateStyle "+j.context.dateStyle+" times are printed ambiguously", "SET DateStyle = 'ISO'.")
		}
		if short && (slices.Contains(rounded, c.BaseOID) || isOpaque(c)) {
			return j.refuse(j.plan.Construct+" on "+t.Qualified(), -1, "extra_float_digits = "+digits+" rounds column "+name, "SET extra_float_digits = 1.")
		}
		if j.context.arrayNulls == "off" && (c.Category == "A" || isOpaque(c)) {
			return j.refuse(j.plan.Construct+" on "+t.Qualified(), -1, "under array_nulls = off a NULL in column "+name+" would be read back as a word", "SET array_nulls = on.")
		}
	}
	return nil
}

// finishWrite makes the common part of a write's plan. touched are tables that
// foreign keys change as well.
func (j *job) finishWrite(t *catalog.Table, touched []*catalog.Table) error {
	p := j.plan
	if len(j.eff.setval) > 0 {
		return j.refuse("setval in a data-modifying statement", j.eff.setval[0].Location, "it is not undone with the statement", "SELECT setval(…) on its own.")
	}
	p.ContextChanges = j.eff.context
	p.Sequences = sequences(append(slices.Clone(j.eff.draws), p.Sequences...))
	p.Deferrable, j.along = t.Deferrable(), touched
	for _, c := range touched {
		p.Deferrable = p.Deferrable || c.Deferrable()
		p.TableRefs = append(p.TableRefs, c)
		if q := c.Qualified(); !slices.Contains(p.Tables, q) {
			p.Tables = append(p.Tables, q)
		}
	}
	return nil
}

// cascades lists the tables that foreign keys change when rows of t are deleted
// (changed nil) or the columns changed are updated. They fire no triggers of
// users there, or the statement is refused.
func (j *job) cascades(t *catalog.Table, changed []string, deleted bool) ([]*catalog.Table, error) {
	c := cascade{job: j, seen: map[string]bool{}}
	return c.list, c.follow(t, changed, deleted)
}

type cascade struct {
	job  *job
	seen map[string]bool
	list []*catalog.Table
}

func (c *cascade) follow(t *catalog.Table, changed []string, deleted bool) error {
	for _, fk := range t.ReferencedBy {
		action := fk.OnDelete
		if !deleted {
			if !overlap(fk.KeyColumns, changed) {
				continue
			}
			action = fk.OnUpdate
		}
		if action != "c" && action != "n" && action != "d" {
			continue
		}
		key := fmt.Sprint(fk.Schema, "\x00", fk.Table, "\x00", fk.Name, "\x00", action, deleted)
		if c.seen[key] {
			continue
		}
		c.seen[key] = true
		if err := c.child(fk, action, deleted); err != nil {
			return err
		}
	}
	return nil
}

func (c *cascade) child(fk catalog.ForeignKey, action string, deleted bool) error {
	j := c.job
	t, err := j.lookup(fk.Schema, fk.Table)
	if err != nil {
		return err
	}
	c.list = append(c.list, t)
	if err := j.writable(t, -1); err != nil {
		return err
	}
	gone := deleted && action == "c"
	set := recomputed(t, slices.Clone(fk.Columns))
	events := t.UpdateEvents(set)
	if gone {
		events = catalog.TriggerDelete
	}
	if err := j.quiet(t, events, set, -1); err != nil {
		return err
	}
	if action == "d" {
		for _, name := range fk.Columns {
			d, err := j.defaultOf(t.Column(name))
			if err != nil {
				return err
			}
			if d.drawn {
				return j.refuse("foreign key "+fk.Name+" ON … SET DEFAULT", -1, "the default of column "+name+" is not immutable", "")
			}
		}
	}
	return c.follow(t, fk.Columns, gone)
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// columnDefault is what leaving a column out of an INSERT does.
type columnDefault struct {
	// drawn: the value is not the same on every server.
	drawn bool
	draws []SequenceRef
}

// defaultOf judges a column's default.
func (j *job) defaultOf(c *catalog.Column) (columnDefault, error) {
	switch {
	case c == nil || c.Generated:
		return columnDefault{}, nil
	case c.Identity != "" && c.Sequence != nil:
		return columnDefault{drawn: true, draws: []SequenceRef{SequenceRef(*c.Sequence)}}, nil
	case c.Identity != "":
		return columnDefault{drawn: true}, nil
	case c.Default == "":
		return columnDefault{drawn: c.DomainDefault}, nil
	}
	tree, err := parse("SELECT " + c.Default)
	if err != nil || len(tree.Stmts) != 1 || len(tree.Stmts[0].Stmt.GetSelectStmt().GetTargetList()) != 1 {
		return columnDefault{}, j.refuse("the default of column "+c.Name, -1, "it cannot be parsed", "Give the column's value in the statement.")
	}
	expr := tree.Stmts[0].Stmt.GetSelectStmt().TargetList[0].GetResTarget().Val
	inner := &job{ctx: j.ctx, c: j.c, located: c.Default, in: &Input{Schemas: j.in.Schemas, Settings: j.in.Settings, Querier: j.in.Querier, Lenient: j.in.Lenient}, plan: j.plan, path: j.path, loaded: j.loaded, views: j.views}
	switch {
	case j.in.Querier == nil: // the catalogue's own session has printed it
		inner.path = []string{"pg_catalog"}
	case !slices.Contains(inner.path, "pg_catalog"):
		inner.path = append([]string{"pg_catalog"}, inner.path...)
	}
	if err := inner.scan(expr); err != nil {
		var r *Refusal
		if asRefusal(err, &r) {
			return columnDefault{}, j.refuse("the default of column "+c.Name, -1, "it calls "+r.Construct+": "+r.Reason, "Give the column's value in the statement. "+r.Hint).all()
		}
		return columnDefault{}, err
	}
	if len(inner.eff.setval) > 0 || inner.eff.context {
		return columnDefault{}, j.refuse("the default of column "+c.Name, -1, "it changes a sequence or setting", "Give the column's value in the statement.")
	}
	why, err := inner.unsafe(expr, columnCategory(c), scope{})
	// A domain's default can be altered beside writes of its tables.
	return columnDefault{drawn: why != "" || inner.timed || c.DomainDefault, draws: inner.eff.draws}, err
}

// pinsTime says that an expression has a function of the transaction's time.
func (j *job) pinsTime(expr *pg.Node) bool {
	return expr != nil && j.newFreezer(expr).pinTime()
}

// settings that change what writes mean and that no context can carry.
var unsupportedSettings = map[string]struct{ allowed, why string }{
	"transform_null_equals":   {"off", "opmux could not read comparisons with NULL"},
	"event_triggers":          {"on", "opmux could not notice DDL"},
	"allow_system_table_mods": {"off", "the catalogue is the server's own"},
}

// allowSetting refuses values of settings that opmux cannot work under.
func (j *job) allowSetting(name, value string, location int32) error {
	if strings.HasPrefix(strings.ToLower(name), "opmux.") {
		return j.never("SET "+name, location, "settings of that name are opmux's own", "")
	}
	u, listed := unsupportedSettings[strings.ToLower(name)]
	if !listed {
		return nil
	}
	same := strings.EqualFold(value, u.allowed)
	for _, truth := range [...][]string{{"on", "true", "yes", "1", "t", "y", "tr", "tru", "ye"}, {"off", "false", "no", "0", "f", "n", "of", "fa", "fal", "fals"}} {
		same = same || slices.Contains(truth, u.allowed) && slices.Contains(truth, strings.ToLower(value))
	}
	if same {
		return nil
	}
	return j.never("SET "+name+" = "+value, location, u.why, fmt.Sprintf("Leave %s at %s.", name, u.allowed))
}
