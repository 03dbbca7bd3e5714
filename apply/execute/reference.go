package execute

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/opmux/opmux/event"
)

// Where rows refer to rows of their own table, one statement on the primary may have written
// a row before the one that it refers to. Written in several statements here, the foreign
// key is checked too early, and refuses what the primary did not. So that attempt is made
// again with the key deferrable, until the end of the target transaction: it is checked all
// the same.

const constraintsNowSQL = "SET CONSTRAINTS ALL IMMEDIATE"

// reference is a foreign key of a table on itself.
type reference struct{ schema, table, name string }

// referenceError is a refusal of an operation's rows by a foreign key.
type referenceError struct {
	reference
	at  operationAt
	err error
}

func (e *referenceError) Error() string { return e.err.Error() }

func (e *referenceError) Unwrap() error { return e.err }

// byReference marks refusals of an operation's rows by a foreign key of their table.
func (r *replay) byReference(images *event.RowImages, fail func(error) error) func(error) error {
	at := r.operationAt()
	return func(err error) error {
		var pg *pgconn.PgError
		wrapped := fail(err)
		if errors.As(err, &pg) && pg.Code == foreignKeyViolation && pg.SchemaName == images.Schema && pg.TableName == images.Table {
			return &referenceError{reference{pg.SchemaName, pg.TableName, pg.ConstraintName}, at, wrapped}
		}
		return wrapped
	}
}

// deferReference says whether a refusal is one by a foreign key that can be checked
// later; in the next attempt it is.
func (l *Lane) deferReference(job *Job, err error) bool {
	var by *referenceError
	if !errors.As(err, &by) || job.deferred[by.at].name == by.name {
		return false
	}
	if job.deferred == nil {
		job.deferred = map[operationAt]reference{}
	}
	job.deferred[by.at] = by.reference
	l.cfg.Log.Info("rows of an operation may refer to one another; checking the foreign key behind them",
		zap.Int64("offset", by.at.offset), zap.Int32("operation", by.at.index), zap.Error(err))
	return true
}

// ownReferenceSQL asks whether a foreign key is one of a table on itself that is not
// deferrable.
const ownReferenceSQL = `SELECT 1 FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND NOT k.condeferrable AND k.conparentid = 0 AND k.confrelid = k.conrelid
	AND n.nspname = $1 AND c.relname = $2 AND k.conname = $3`

// await makes a foreign key that has refused the operation's rows wait for them.
func (r *replay) await() error {
	ref, ok := r.job.deferred[r.operationAt()]
	if !ok {
		return nil
	}
	own := false
	err := r.pipe.query(ownReferenceSQL, [][]byte{[]byte(ref.schema), []byte(ref.table), []byte(ref.name)}, []uint32{oidText, oidText, oidText}, nil,
		request{row: func([]event.Value) { own = true }})
	if err == nil {
		err = r.pipe.drain()
	}
	if err != nil || !own { // it is another table's, or waits already
		return err
	}
	r.awaited = append(r.awaited, ref)
	return r.alterReference(ref, "DEFERRABLE")
}

// alterReference alters a foreign key as the worker's own login.
func (a *attempt) alterReference(ref reference, to string) error {
	for _, sql := range []string{
		"SELECT pg_catalog.set_config('" + keptRole + "', pg_catalog.current_setting('" + role + "'), true), pg_catalog.set_config('" + role + "', '" + noRole + "', true)",
		"ALTER TABLE IF EXISTS " + quoteIdent(ref.schema) + "." + quoteIdent(ref.table) + " ALTER CONSTRAINT " + quoteIdent(ref.name) + " " + to,
		"SELECT pg_catalog.set_config('" + role + "', pg_catalog.current_setting('" + keptRole + "'), true)",
	} {
		fail := func(err error) error {
			return fmt.Errorf("making foreign key %s of %s.%s %s: %w", ref.name, ref.schema, ref.table, to, err)
		}
		if err := a.pipe.query(sql, nil, nil, nil, request{fail: fail}); err != nil {
			return err
		}
	}
	return nil
}

// checkReferences checks what was made to wait, and leaves the foreign keys as they were.
func (a *attempt) checkReferences(fail func(error) error) error {
	if len(a.awaited) == 0 {
		return nil
	}
	if err := a.pipe.query(constraintsNowSQL, nil, nil, nil, request{fail: fail}); err != nil {
		return err
	}
	for _, ref := range a.awaited {
		if err := a.alterReference(ref, "NOT DEFERRABLE"); err != nil {
			return err
		}
	}
	return nil
}
