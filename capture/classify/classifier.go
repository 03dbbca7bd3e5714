// Package classify decides how each statement of an application may travel:
// as text, with pinned values, as row images, or not at all. It reads the parse
// tree and the catalogue, and what it does not know is not text (fail closed).
//
// The way through it: Classify looks into the cache, else a job takes the
// statement by its kind (statement.go), gathers what it would set off beside its
// own rows (effects.go), and for writes asks the catalogue about the table
// (target.go). An INSERT, UPDATE or DELETE then tries to be text (safe.go says
// which expressions may travel) and falls back to rows. Plan.Operations turns one
// execution into what is published.
package classify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// Config configures a Classifier.
type Config struct {
	Catalog *catalog.Catalog
	// Roles is RolesRefuse (or empty), RolesPass or RolesPublish.
	Roles string
	// Unlogged is UnloggedSkip, or anything else to refuse writes of unlogged tables.
	Unlogged string
	// Predicates are rules for tables, the first of which that fits counts.
	Predicates []Predicates
	// CacheEntries and CacheBytes bound the plans that are kept (0: 4096 and 16 MiB).
	CacheEntries int
	CacheBytes   int
}

// Input is one statement with what its meaning depends on.
type Input struct {
	SQL       string
	ParamOIDs []uint32
	// Schemas is current_schemas(true) of the session.
	Schemas  []string
	Settings event.Context
	Level    event.Level
	// Querier looks up on the session itself (its open transaction has changed the
	// catalogue); nil: the shared, cached look-ups.
	Querier catalog.Querier `json:"-"`
	InBlock bool
	// Inline says that values are written into the text, as in the simple protocol:
	// others like it will come with other values.
	Inline bool
	// Unlockable says that no lock orders the statement: its snapshot, or a lock on the
	// table that its transaction has, may be older.
	Unlockable bool
	// InHex asks for hidden columns as hexadecimal digits: the session's client_encoding is
	// not UTF8.
	InHex bool
	// Lenient says that the session has standard_conforming_strings off, or had: functions whose
	// texts have a backslash may have been read by the session under either. SQL is what it says under on.
	Lenient bool
	// Behind is set for DDL that ran inside of a statement, see Ran.
	Behind *Behind `json:"-"`
}

// Classifier classifies statements. It is safe for concurrent use.
type Classifier struct {
	catalog   *catalog.Catalog
	roles     string
	unlogged  string
	carryings []carrying
	plans     *planCache // by exact text
	templates *planCache // by text without its constants
	singles   singles
	seen      seen
}

// New returns a Classifier on a catalogue.
func New(cfg Config) *Classifier {
	if cfg.CacheEntries == 0 {
		cfg.CacheEntries = 4096
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 16 << 20
	}
	return &Classifier{catalog: cfg.Catalog, roles: cfg.Roles, unlogged: cfg.Unlogged, carryings: carryings(cfg.Predicates), plans: newPlanCache(cfg.CacheEntries, cfg.CacheBytes/2),
		templates: newPlanCache(cfg.CacheEntries, cfg.CacheBytes/2)}
}

// Classify says how one statement may travel. An error is about the catalogue
// look-up or the text's syntax (*SyntaxError), never a refusal.
func (c *Classifier) Classify(ctx context.Context, in Input) (*Plan, error) {
	version, restarts := c.catalog.Known(), c.catalog.Restarts()
	cached := in.Querier == nil && in.Behind == nil
	if cached {
		if p := c.known(&in, version, restarts); p != nil {
			return p, nil
		}
	}
	// The plan keeps them, and the caller may use its slices again.
	in.ParamOIDs, in.Schemas = slices.Clone(in.ParamOIDs), slices.Clone(in.Schemas)
	plan, keep, valued, err := c.classify(ctx, in, version)
	if err == nil && plan.Kind == MustFail && in.Querier == nil {
		// What is missing may just have been made: look at the counter first.
		if now, verr := c.catalog.Version(ctx); verr != nil {
			return nil, verr
		} else if now != version {
			version = now
			plan, keep, valued, err = c.classify(ctx, in, version)
		}
	}
	if err != nil {
		return nil, err
	}
	if cached && keep && plan.CatalogVersion == version {
		if !in.Inline || !c.keepTemplate(&in, plan, valued, restarts) {
			c.plans.put(&in, plan, restarts, nil)
		}
	}
	return plan, nil
}

// known returns a plan that was made before.
func (c *Classifier) known(in *Input, version, restarts int64) *Plan {
	if in.Inline {
		if p := c.filled(in, version, restarts); p != nil {
			return p
		}
	}
	p, _ := c.plans.find(in, version, restarts)
	return p
}

// classify plans a statement anew; keep says that the plan is worth caching, valued
// that it was made by looking at values.
func (c *Classifier) classify(ctx context.Context, in Input, version int64) (plan *Plan, keep, valued bool, err error) {
	tree, err := parse(in.SQL)
	if isLate(err) {
		return newJob(ctx, c, &in, version).bare(MustFail, "the server is expected to reject it: "+err.Error()), false, false, nil
	}
	if err != nil {
		return nil, false, false, err
	}
	if len(tree.Stmts) != 1 {
		return nil, false, false, fmt.Errorf("classify: one statement expected, got %d", len(tree.Stmts))
	}
	j := newJob(ctx, c, &in, version)
	j.grammar = tree.Version
	if plan, err = j.run(tree.Stmts[0]); err != nil {
		return nil, false, false, err
	}
	return plan, !j.uncacheable, j.valued, nil
}

// errMustFail says that the server will reject the statement, by what the
// catalogue says.
var errMustFail = errors.New("names something that does not exist")

// job is the classification of one statement.
type job struct {
	ctx  context.Context
	c    *Classifier
	in   *Input
	plan *Plan
	// stmt is the statement itself.
	stmt *pg.Node
	// located is the text that the nodes' locations are places of: in.SQL, or the
	// PREPARE around it.
	located string
	// grammar is the version of the grammar that parsed the statement.
	grammar int32
	// body is the text up to the statement's end, without its semicolon.
	body string
	// path are the schemas that unqualified names are looked up in.
	path []string
	eff  effects
	// local are the relations of stmt that are table expressions, outer the names of those
	// that are in sight around it.
	local map[*pg.RangeVar]bool
	outer map[string]bool
	// context is what matters of the session's settings.
	context meaning
	// imagesFor is why whatever it writes travels as rows, "" where it need not; triggered are
	// the columns that calm triggers compute besides.
	imagesFor string
	triggered []string
	// along are the tables that its foreign keys change.
	along []*catalog.Table
	// timed: unsafe met a function of the transaction's time.
	timed bool
	// loaded are the database's facts, once asked for.
	loaded *catalog.Facts
	// uncacheable: the answer holds for this session and moment alone.
	uncacheable bool
	// valued: the answer holds for these constants alone.
	valued bool
	// views that are being looked into, against recursion.
	views map[string]bool
}

func newJob(ctx context.Context, c *Classifier, in *Input, version int64) *job {
	j := &job{ctx: ctx, c: c, in: in, located: in.SQL, path: in.Schemas, context: meaningOf(in.Settings), views: map[string]bool{}}
	if len(j.path) == 0 {
		j.path = []string{"pg_catalog", "public"}
	}
	j.plan = &Plan{Kind: Pass, Class: event.ClassNone, SQL: in.SQL, CatalogVersion: version, in: *in}
	j.plan.in.Querier = nil // it is the session's, for this moment
	return j
}

// run classifies and turns refusals into plans.
func (j *job) run(raw *pg.RawStmt) (*Plan, error) {
	stmt := raw.Stmt
	j.stmt = stmt
	j.body = j.in.SQL
	if raw.StmtLen > 0 {
		j.body = j.in.SQL[:raw.StmtLocation+raw.StmtLen]
	}
	j.plan.Construct = construct(stmt)
	err := j.statement(stmt)
	var refusal *Refusal
	if errors.As(err, &refusal) {
		err = j.nameTargets(stmt, err)
	}
	switch {
	case err == nil:
		j.plan.ListsPrepared = strings.Contains(strings.ToLower(j.body), "pg_prepared_statement")
		return j.plan, nil
	case errors.As(err, &refusal) && j.c.catalog.Triggers() && j.byTriggers(stmt, refusal):
		return j.traced(refusal), nil
	case errors.As(err, &refusal):
		if !j.c.catalog.Triggers() && j.byTriggers(stmt, refusal) {
			refusal.Hint = strings.TrimSpace(refusal.Hint + " " + triggersHint)
		}
		p := j.refused(refusal)
		p.Alone = alone(stmt)
		return p, nil
	case errors.Is(err, errMustFail):
		j.uncacheable = true
		return j.bare(MustFail, "the server is expected to reject it: "+err.Error()), nil
	}
	return nil, err
}

// bare is a plan that leaves the client's text alone.
func (j *job) bare(kind Kind, reason string) *Plan {
	return &Plan{
		Kind: kind, Class: event.ClassNone, Reason: reason, SQL: j.in.SQL, Construct: j.plan.Construct,
		ContextChanges: j.plan.ContextChanges, CatalogChanges: true, Barrier: true,
		CatalogVersion: j.plan.CatalogVersion, TableRefs: j.plan.TableRefs, Tables: j.plan.Tables, in: j.plan.in,
	}
}

func (j *job) refused(r *Refusal) *Plan {
	p := j.bare(Refused, r.Reason)
	p.Class, p.Refusal, p.Diverged = event.ClassRefused, r, p.Tables
	p.Sequences = sequences(append(slices.Clone(j.plan.Sequences), j.eff.draws...))
	p.Deferrable, p.CopyIn, p.Defines = true, j.plan.CopyIn, j.plan.CatalogChanges
	switch {
	case r.reach == reachNone:
		p.Diverged = nil
	case r.reach == reachAll || len(p.Diverged) == 0:
		p.Diverged = []string{"*"}
	}
	switch p.Construct {
	case "INSERT", "UPDATE", "DELETE":
		// Where its tables are known, nothing that it sets off makes objects: names
		// need not be looked up on the session from then on.
		p.CatalogChanges = r.reach == reachAll
	}
	if r.Position > 0 { // from a byte offset to characters
		r.Position = 1 + utf8.RuneCountInString(j.located[:min(r.Position-1, len(j.located))])
	}
	return p
}

// refuse makes a refusal; location is a byte offset in the statement, -1 for none.
func (j *job) refuse(construct string, location int32, reason, hint string) *Refusal {
	return (&Refusal{Construct: construct, Reason: reason, Hint: hint}).at(location)
}

// saw lowers the plan's version where an answer is unsettled.
func (j *job) saw(version int64) {
	if version == catalog.Unsettled {
		j.plan.CatalogVersion = catalog.Unsettled
	}
}

func (j *job) facts() (*catalog.Facts, error) {
	if j.loaded != nil {
		return j.loaded, nil
	}
	f, err := j.c.catalog.Facts(j.ctx, j.in.Querier)
	if err != nil {
		return nil, err
	}
	j.saw(f.Version)
	j.loaded = f
	return f, nil
}
