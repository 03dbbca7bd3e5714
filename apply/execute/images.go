package execute

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
)

// rowImages sends one part of a rows operation: its rows together, in as few
// statements as their bounds allow, or one by one where that has failed or cannot be.
func (r *replay) rowImages(op *event.Operation) error {
	plan, err := newRowPlan(op.Rows)
	if err != nil {
		return fmt.Errorf("transaction at offset %d, operation %d: %w", r.tx.Offset, r.current.index, err)
	}
	if plan.returning != "" && r.current.rows == nil {
		r.current.rows = &digest.Rows{}
	}
	if r.current.affected < 0 {
		r.current.affected = 0
	}
	b, err := r.batchOf(op, plan)
	if err != nil {
		return err
	}
	if whole, err := r.whole(op, b); whole || err != nil {
		return err
	}
	req := r.counted()
	for i := 0; i < len(op.Rows.Rows); {
		n := 1
		if b != nil && !r.isApart() {
			n = b.take(i)
		}
		if n > 1 {
			err = r.sendBatch(b, i, n)
		} else {
			st := plan.single(i)
			err = r.send(st.sql, st.params, make([]uint32, len(st.params)), nil, req)
		}
		if err != nil {
			return err
		}
		i += n
	}
	return nil
}

// batchOf returns nil where there is one row, or rows cannot be sent together.
func (r *replay) batchOf(op *event.Operation, plan *rowPlan) (*batch, error) {
	if len(plan.images.Rows) < 2 && !op.More && !r.current.held {
		return nil, nil
	}
	types, err := r.columnTypes(plan.images)
	if err != nil {
		return nil, err
	}
	return newBatch(plan, types), nil
}

// isApart says that the rows of the current operation go one by one.
func (r *replay) isApart() bool { return r.job.apart.has(r.operationAt()) }

// sendBatch sends a statement for n rows. It is planned each time, since the best
// plan depends on how many rows there are.
func (r *replay) sendBatch(b *batch, i, n int) error {
	req := r.counted()
	req.rows = n
	fail, at := req.fail, r.operationAt()
	req.fail = func(err error) error {
		if err = fail(err); refused(err) {
			return &togetherError{at: at, err: err}
		}
		return err
	}
	return r.pipe.query(b.sql, b.params(i, n), b.types, []int16{1}, req)
}

// operationAt names an operation of a job.
type operationAt struct {
	offset int64
	index  int32
}

func (r *replay) operationAt() operationAt { return operationAt{r.tx.Offset, r.current.index} }

// togetherError says that the target refused the rows of an operation together.
// That may be for their order: a unique index is checked row by row, and on the
// primary the rows were written in the order of their images.
type togetherError struct {
	at  operationAt
	err error
}

func (e *togetherError) Error() string { return e.err.Error() }

func (e *togetherError) Unwrap() error { return e.err }

// maxApart is the number of operations of a group from which on all of them go
// row by row: each costs an attempt of the group.
const maxApart = 4

// apart are the operations of a job whose rows go one by one.
type apart struct {
	some map[operationAt]bool
	all  bool
}

func (a *apart) has(at operationAt) bool { return a.all || a.some[at] }

// takeApart says whether a refusal is one of rows together; they go one by one in
// the next attempt, which has the last word.
func (l *Lane) takeApart(job *Job, err error) bool {
	var together *togetherError
	if !errors.As(err, &together) || job.apart.has(together.at) {
		return false
	}
	l.cfg.Log.Info("the target refuses the rows of an operation together; trying them one by one",
		zap.Int64("offset", together.at.offset), zap.Int32("operation", together.at.index), zap.Error(err))
	if job.apart.some == nil {
		job.apart.some = map[operationAt]bool{}
	}
	job.apart.some[together.at] = true
	job.apart.all = len(job.apart.some) > maxApart
	return true
}
