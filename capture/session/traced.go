package session

import (
	"context"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// switchOnPrefix goes before a statement that the capture triggers carry.
const switchOnPrefix = catalog.SwitchOn + ";"

// reasonDeferred is why rows are carried that a deferred trigger changed.
const reasonDeferred = "captured by triggers: a deferred trigger ran"

// stateTermination is what a procedure gets that commits in a transaction of others'.
const stateTermination = "2D000"

// endsInside is the answer to a procedure that commits: what it did before is one
// transaction and what follows another, and their places cannot both be held.
var endsInside = &refusal{code: stateNotSupported,
	message: "a procedure or DO that ends transactions inside: the agent holds one place in the stream for one transaction",
	hint:    "Commit in the application, between calls; or take COMMIT and ROLLBACK out of the procedure."}

// explainEnds has the client told why a procedure cannot commit, where it is the
// agent's block that keeps it from doing so.
func (s *Session) explainEnds(p *classify.Plan, e *entry) {
	if !p.ByTriggers || !s.wrapped || p.Construct != "CALL" && p.Construct != "DO" {
		return // a function must not in any case
	}
	e.onError = func(fields []pgwire.Field) bool {
		if pgwire.FieldValue(fields, pgwire.FieldCode) == stateTermination {
			e.refusal = endsInside
		}
		return false
	}
}

// manyRowsError says that rows had to wait, and were too many: for what the transaction's DDL
// is, or tables are that it made, or for rows that they were made of.
type manyRowsError struct{ why, hint string }

func (e *manyRowsError) Error() string { return "a statement wrote more rows than are kept, " + e.why }

var (
	errManyBesideDDL = &manyRowsError{"with DDL in it or before it in its transaction", "Write them in smaller pieces, or commit the DDL first."}
	errManyOvertaken = &manyRowsError{"some of which its triggers or functions wrote, too, before it was done with them", "Write them in smaller pieces."}
)

// take gathers what the capture triggers kept of one statement and makes operations
// of it. It is guarded by the session's mu.
type take struct {
	plan   *classify.Plan // nil: of no statement
	reason string
	tables map[[2]string]*tracedTable
	// rows wait for the end, since tables can be looked up by the session alone.
	rows  []taken
	bytes int
	group *imageGroup
	keyHolders
	leftRows
	onLog
	// own: the statement made or dropped temporary objects; ddl: there is DDL among
	// the rows, early: rows before these are operations already; overtaken: they are
	// still to be put in their order.
	own, ddl, early, overtaken bool
	err                        error
}

// taken is one row of catalog.TakeSQL.
type taken struct {
	what, schema, table, rootSchema, root, note string
	before, after                               []byte
	// was and became tell a version of a row by its place in the table, command what wrote
	// it; empty: there is none, or it is not known.
	was, became, command string
	// emptied is how often its table was truncated before.
	emptied int
	// definition is what DDL is, or refusal why it cannot be carried.
	definition *definition
	refusal    *classify.Refusal
}

func (s *Session) newTake(tx *txn, plan *classify.Plan) *take {
	t := &take{onLog: onLog{s: s, tx: tx}, plan: plan, reason: reasonDeferred, tables: map[[2]string]*tracedTable{}}
	if plan != nil {
		t.reason = plan.Reason
	}
	return t
}

// entry is that of the Execute which takes the images.
func (t *take) entry(ctx context.Context) *entry {
	e := &entry{silent: true, onError: t.s.failedBefore}
	e.onRow = func(values []pgwire.DataRowValue) { t.add(ctx, values) }
	return e
}

// ask sends the question behind the statement. The code is a parameter, so that it
// shows in no list of what sessions run.
func (t *take) ask(ctx context.Context) error {
	mac := pgwire.Param{Value: []byte(t.s.deps.Catalog.CaptureMAC(t.s.who.pid))}
	return t.s.runOwn(ownTake, t.entry(ctx), mac)
}

// takeSimple takes the images in the simple protocol, and has the session's state
// told anew. The probe goes first: nothing is written out before its answer.
func (s *Session) takeSimple(ctx context.Context, tx *txn, plan *classify.Plan, quiet bool) error {
	s.locked(func() { tx.opaque, tx.traced = true, true })
	t := s.newTake(tx, plan)
	if err := s.probeBehind(ctx, tx, quiet, t.ask); err != nil {
		return err
	}
	return t.end(ctx, false)
}

// takeExtended is takeSimple for the extended protocol. What comes behind the
// statement in the pipeline is planned upon its effect.
func (s *Session) takeExtended(ctx context.Context, tx *txn, plan *classify.Plan) error {
	s.locked(func() { tx.opaque, tx.traced = true, true })
	if err := s.runOwn(ownProbe, s.probeEntry(ctx, tx)); err != nil {
		return err
	}
	t := s.newTake(tx, plan)
	if err := t.ask(ctx); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	return t.end(ctx, true)
}

// takeDeferred takes what deferred triggers changed. True: that failed, and the
// client has been told.
func (s *Session) takeDeferred(ctx context.Context, tx *txn, extended bool) (bool, error) {
	t := s.newTake(tx, nil)
	if err := t.ask(ctx); err != nil {
		return false, err
	}
	finish := s.drain
	if !extended {
		finish = s.drainSynced
	}
	if err := finish(); err != nil {
		return false, err
	}
	if s.failing() {
		return true, nil
	}
	return false, t.end(ctx, extended)
}

// add takes one row of the answer. Callers hold s.mu.
func (t *take) add(ctx context.Context, values []pgwire.DataRowValue) {
	if t.tx.broken != nil || t.err != nil {
		return
	}
	texts, ok := t.s.charset().row(values)
	if !ok {
		t.err = encodingRefusal(t.s.charset())
		return
	}
	row, err := readTaken(texts)
	if err != nil {
		t.err = err
		return
	}
	t.rows = append(t.rows, row)
	t.ddl = t.ddl || row.what == catalog.TakenDDL
	t.overtaken = t.overtaken || row.what == catalog.TakenOvertaken
	t.bytes += len(row.before) + len(row.after) + itemBytes
	if t.bytes < t.s.piece() {
		return
	}
	if t.ddl || t.overtaken || t.s.looksItself(t.tx) {
		if t.bytes > t.s.withheld() {
			t.err = errManyBesideDDL
			if t.overtaken && !t.ddl {
				t.err = errManyOvertaken
			}
		}
		return
	}
	t.early = true
	t.make(ctx, nil)
}

// end makes operations of what is left. The session is drained.
func (t *take) end(ctx context.Context, extended bool) error {
	s := t.s
	s.mu.Lock()
	if t.overtaken {
		t.reorder()
	}
	if t.ddl {
		t.changedCatalogue()
	}
	own := s.looksItself(t.tx)
	s.mu.Unlock()
	failing := s.failing()
	if own && !failing {
		if err := t.look(ctx, querier{s: s, extended: extended}); err != nil {
			if ended := s.lookFailed(err, extended); ended != nil {
				return ended
			}
			t.err = err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if failing && t.ddl { // it was not looked at, and its transaction ends anyway
		t.rows = nil
	}
	t.make(ctx, nil)
	if !s.skipping && s.status != pgwire.StatusFailed && t.tx.broken == nil {
		t.tx.untaken--
	}
	if t.own {
		s.ownObjects, s.context, s.contextChanged = true, nil, true
	}
	t.tx.depends = s.ledger.High()
	return nil
}

// look looks up what DDL is, and the tables that rows are of.
func (t *take) look(ctx context.Context, q catalog.Querier) error {
	if t.ddl {
		if err := t.defines(ctx, q); err != nil {
			return err
		}
		if row := t.refused(); row != nil && !t.s.cfg.Flag {
			return t.define(row) // tables may have gone: there is nothing more to look up
		}
	}
	for i := range t.rows {
		switch t.rows[i].what {
		case catalog.TakenInsert, catalog.TakenUpdate, catalog.TakenDelete, catalog.TakenTruncate:
			if _, err := t.of(ctx, q, &t.rows[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// make turns the rows that have come into operations on the log. Callers hold s.mu.
func (t *take) make(ctx context.Context, q catalog.Querier) {
	for i := range t.rows {
		if t.err == nil {
			t.err = t.one(ctx, q, &t.rows[i])
		}
	}
	t.rows, t.bytes = t.rows[:0], 0
	t.flush()
	if t.err != nil {
		t.tx.fail(t.err)
		return
	}
	t.spill(ctx)
}

// flush ends the group of images that is under way.
func (t *take) flush() {
	g := t.group
	if t.group = nil; g == nil || t.tx.broken != nil || t.err != nil {
		return
	}
	t.asleep(g.operation(t.reason, t.plan))
}
