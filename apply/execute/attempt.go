package execute

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/apply/schedule"
	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/crashpoint"
)

// moveSQL moves the lane's row, and fails with division_by_zero where the row is
// not this worker's any more, so that everything behind it in the pipeline is
// void (I4). seq keeps a lost connection's late arrival out.
const moveSQL = `WITH moved AS (
	UPDATE opmux.position SET seq = seq + 1, low = $5, done = $6, heads = $7
	WHERE stream = $1 AND lane = $2 AND fence = $3 AND seq = $4 RETURNING 1)
SELECT 1 / count(*) FROM moved`

const divisionByZero = "22012"

// OIDs of built-in types.
const (
	oidInt4 = 23
	oidInt8 = 20
	oidText = 25
)

var moveTypes = []uint32{oidText, oidInt4, oidInt8, oidInt8, oidInt8, oidText, oidText}

// attempt is one try to bring a group onto the target.
type attempt struct {
	*Lane
	ctx     context.Context
	job     *Job
	pipe    *pipe
	results []Result
	once    bool // nothing is prepared: the schema may change under way
	// declared are the tables that this attempt declares diverged, and states what it
	// makes of any: false where one is the primary's again.
	declared []position.Diverged
	states   map[string]bool
	// misfitting are tables whose operations did something else than on the primary.
	misfitting []position.Diverged
	sets       *sets       // nil: operations run one by one
	room       []operation // see newOperation
}

func (l *Lane) attempt(ctx context.Context, job *Job) ([]Result, error) {
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	if err := l.refresh(ctx); err != nil {
		return nil, err
	}
	a := &attempt{Lane: l, ctx: ctx, job: job, results: make([]Result, 0, len(job.Transactions)), states: map[string]bool{}}
	l.last = a
	for _, tx := range job.Transactions {
		a.once = a.once || tx.Transaction.Barrier
	}
	l.settings.reset()
	a.pipe = newPipe(ctx, l.conn)
	a.sets = a.newSets()
	err := a.run()
	l.inSets = a.sets != nil && a.sets.used
	if err == nil {
		if a.once {
			l.cfg.Shared.schema.Add(1)
		}
		return a.results, nil
	}
	a.pipe.abandon()
	if errors.Is(err, errNotMoved) {
		l.recover(ctx)
		if err := l.connect(ctx); err != nil {
			return nil, err
		}
		if err := l.look(ctx); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("moving the position of stream %s failed though its row is in place: %w", l.cfg.Source, err)
	}
	l.recover(ctx)
	return nil, err
}

// errNotMoved says that the lane's row was not the expected one.
var errNotMoved = errors.New("the lane's position row is not as expected")

func (a *attempt) run() error {
	if err := a.pipe.query("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", nil, nil, nil, request{}); err != nil {
		return err
	}
	if err := a.move(); err != nil {
		return err
	}
	// The primary has checked its constraints before the ticket; within the group
	// the order of statements may need what the application had deferred.
	if err := a.deferred(nil); err != nil {
		return err
	}
	for _, d := range a.job.diverge {
		if err := a.declare(d); err != nil {
			return err
		}
	}
	for i := range a.job.Transactions {
		if err := a.transaction(i); err != nil {
			return err
		}
		if err := a.sets.hurry(); err != nil {
			return err
		}
	}
	return a.commit()
}

// deferred leaves deferrable constraints to be checked at the commit.
func (a *attempt) deferred(fail func(error) error) error {
	return a.pipe.query("SET CONSTRAINTS ALL DEFERRED", nil, nil, nil, request{fail: fail})
}

func (a *attempt) move() error {
	p := a.job.position(len(a.job.Transactions))
	params := [][]byte{
		[]byte(a.cfg.Source),
		strconv.AppendInt(nil, int64(a.cfg.Lane), 10),
		strconv.AppendInt(nil, a.cfg.Fence, 10),
		strconv.AppendInt(nil, a.seq, 10),
		strconv.AppendInt(nil, p.Low, 10),
		[]byte(p.Done.String()),
		[]byte(p.Heads.Encode()),
	}
	return a.send(moveSQL, params, moveTypes, nil, request{fail: func(err error) error {
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == divisionByZero {
			return errNotMoved
		}
		return err
	}})
}

// commit ends the target transaction.
func (a *attempt) commit() error {
	if err := a.sets.settled(); err != nil {
		return err
	}
	if a.cfg.Shared.has(anyTable) {
		if err := a.pipe.drain(); err != nil { // misfits are known then
			return err
		}
		if err := a.declareMisfits(); err != nil {
			return err
		}
	}
	crashpoint.At(crashpoint.TargetBefore)
	last := a.job.Transactions[len(a.job.Transactions)-1]
	err := a.pipe.query("COMMIT", nil, nil, nil, request{
		done: func(tag pgconn.CommandTag) error {
			if tag.String() != "COMMIT" {
				return fmt.Errorf("the target answered COMMIT with %s", tag)
			}
			return nil
		},
		fail: func(err error) error { return a.failure(last.Offset, -1, "", nil, err) },
	})
	if err != nil {
		return err
	}
	a.unsure = true
	err = a.pipe.end()
	crashpoint.At(crashpoint.TargetAfter)
	return err
}

// failure names what the server's error is about; other errors stay as they are.
func (a *attempt) failure(offset int64, index int, text string, tables []string, err error) error {
	if _, again := Transient(err); again {
		return err
	}
	return &OperationError{
		Source: a.cfg.Source, Offset: offset, Index: index,
		Statement: a.normalise(text), Tables: tables, Err: err,
	}
}

func (l *Lane) normalise(text string) string {
	if text == "" || l.cfg.Normalise == nil {
		return ""
	}
	text = l.cfg.Normalise(text)
	return text[:min(len(text), event.MaxInfoText)]
}

// transaction sends the i-th transaction of the group.
func (a *attempt) transaction(i int) error {
	tx := a.job.Transactions[i]
	a.results = append(a.results, Result{Tx: tx})
	a.results[i].Digests.Expect(len(tx.Transaction.Operations))
	ops, err := a.cfg.Open(a.ctx, tx)
	if err != nil {
		return err
	}
	r := &replay{attempt: a, tx: tx, ops: ops, result: &a.results[i]}
	err = r.run()
	if closeErr := ops.Close(); err == nil {
		err = closeErr
	}
	return err
}

// replay sends one transaction's operations.
type replay struct {
	*attempt
	tx     *schedule.Tx
	ops    Operations
	result *Result

	number  digest.Numbering
	current *operation // the one that the next part continues; nil: none
	inside  bool       // the transaction's context is set
	late    bool       // digests wait for answers; those behind keep their place
	points  []point    // savepoints
}

// operation is an operation whose parts are under way.
type operation struct {
	index    int32
	kind     event.OpKind
	text     string
	instead  string   // what is sent in the place of the text
	leaves   []string // tables that have diverged and that are gone behind it
	tables   []string
	affected int64
	rows     *digest.Rows // nil: no hash is wanted
	skip     string       // why it is not executed
	defines  bool         // it is DDL
	gathered bool         // into a set: its answer is known, or the set fails
	begun    bool         // a part of its rows was sent
	held     bool         // its rows wait on the target for the last of them: see whole
	waiting  int64        // how many do
}

// newOperation takes room for an operation from what is made for many at once.
func (a *attempt) newOperation() *operation {
	if len(a.room) == 0 {
		a.room = make([]operation, 64)
	}
	o := &a.room[0]
	a.room = a.room[1:]
	return o
}

func (r *replay) run() error {
	if err := r.checkShapes(); err != nil {
		return err
	}
	// What the transaction did to such a table before may not fit without the rest:
	// a deferred constraint would refuse it at the commit.
	for i := range r.tx.Transaction.Operations {
		if err := r.flag(&r.tx.Transaction.Operations[i]); err != nil {
			return err
		}
	}
	for {
		op, last, err := r.next()
		if err != nil || op == nil {
			return err
		}
		if op, err = r.part(op); err != nil {
			return err
		}
		if last || !op.More {
			r.finish(op)
		}
	}
}

// next returns the next part of an operation, nil at the end. r.current is the
// operation that it belongs to.
func (r *replay) next() (op *event.Operation, last bool, err error) {
	op, err = r.ops.Next(r.ctx)
	if err != nil || op == nil {
		if err == nil && r.current != nil {
			err = fmt.Errorf("transaction at offset %d ends inside operation %d: a part is missing", r.tx.Offset, r.current.index)
		}
		return nil, false, err
	}
	r.result.Marks.Add(op.Sequences)
	index, last := r.number.Next(op)
	if r.current == nil {
		r.current = r.newOperation()
		*r.current = operation{index: index, kind: op.Kind, text: op.Text, tables: tablesOf(op), affected: -1, defines: r.defines(op)}
		if err := r.checkDiverged(r.current); err != nil {
			return nil, false, err
		}
	}
	return op, last, nil
}

// finish notes the digest of an operation once its last answer is in.
func (r *replay) finish(op *event.Operation) {
	cur := r.current
	r.current = nil
	count := Count{Kind: cur.kind, All: 1}
	if cur.gathered {
		count.InSets = 1
	}
	r.result.Operations.Add(count)
	if !digest.Compared(cur.kind) {
		return
	}
	if cur.gathered && !r.late {
		r.result.Digests.AddDigest(event.OpDigest{Index: cur.index, Digest: event.Digest{SQLState: "00000", Affected: cur.affected}})
		return
	}
	r.late = true
	wantHash, want := len(op.Digest.Hash) > 0, op.Digest.Affected
	offset := r.tx.Offset
	r.pipe.later(func() {
		d := event.OpDigest{Index: cur.index, Skipped: cur.skip}
		if cur.skip == "" {
			d.Digest = event.Digest{SQLState: "00000", Affected: cur.affected}
			if want < 0 {
				d.Affected = -1 // the primary's side has no count either
			} else if cur.affected != want {
				r.result.Unlike.add(cur, want)
			}
			if wantHash && cur.rows != nil {
				d.Hash = cur.rows.Sum()
			}
			r.misfits(offset, cur, want)
		}
		r.result.Digests.AddDigest(d)
	})
}
