package execute

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
)

// part sends one part of the current operation, of a COPY all parts; it returns
// the part that was sent last.
func (r *replay) part(op *event.Operation) (*event.Operation, error) {
	if len(op.Diverged) > 0 {
		if err := r.flag(op); err != nil {
			return nil, err
		}
	}
	if r.current.skip != "" {
		return op, nil
	}
	if op.Kind != event.OpCopy {
		return op, r.sendPart(op)
	}
	if err := r.enter(); err != nil {
		return nil, err
	}
	if err := r.sets.flush(); err != nil {
		return nil, err
	}
	return r.copyIn(op)
}

// contextError says that the transaction's settings could not be brought about.
type contextError struct {
	names []string
	err   error
}

func (e *contextError) Error() string {
	return fmt.Sprintf("setting the session context (%s): %v", strings.Join(e.names, ", "), e.err)
}

func (e *contextError) Unwrap() error { return e.err }

// sendPart sends one part of any kind but COPY.
func (r *replay) sendPart(op *event.Operation) error {
	if op.Kind == event.OpSequence || op.Kind == event.OpFlagged {
		return nil
	}
	if err := r.enter(); err != nil {
		return err
	}
	if taken, err := r.sets.take(r, op); taken || err != nil {
		return err
	}
	if err := r.sets.flush(); err != nil {
		return err
	}
	switch op.Kind {
	case event.OpSet:
		return r.set(r.settings.apply(op.Settings, r.tx.Transaction.Context.User), r.failed())
	case event.OpSavepoint:
		return r.savepoint(op.Text)
	case event.OpRelease:
		return r.release(op.Text)
	case event.OpRollbackTo:
		return r.rollbackTo(op.Text)
	case event.OpStatement:
		return r.statement(op)
	case event.OpRows:
		return r.rowImages(op)
	}
	return fmt.Errorf("transaction at offset %d, operation %d: kind %q is not known to this build; upgrade the workers",
		r.tx.Offset, r.current.index, op.Kind)
}

// enter brings about the transaction's context, once: it may change in its midst.
func (r *replay) enter() error {
	if r.inside {
		return nil
	}
	r.inside = true
	if err := r.sameEncoding(r.tx); err != nil {
		return err
	}
	return r.set(r.settings.changes(&r.tx.Transaction.Context), r.failed())
}

// set sends settings for the rest of the target transaction.
func (a *attempt) set(list []event.Setting, fail func(error) error) error {
	if len(list) == 0 {
		return nil
	}
	if err := a.sets.flush(); err != nil {
		return err
	}
	sql, params := setSQL(list, true)
	oids := make([]uint32, len(params))
	for i := range oids {
		oids[i] = oidText
	}
	return a.pipe.query(sql, params, oids, nil, request{fail: func(err error) error {
		names := make([]string, len(list))
		for i, s := range list {
			names[i] = s.Name // values may be secrets of the application
		}
		return fail(&contextError{names: names, err: err})
	}})
}

func (r *replay) command(sql string) error {
	return r.pipe.query(sql, nil, nil, nil, request{fail: r.failed()})
}

// failed makes the error of the current operation.
func (r *replay) failed() func(error) error {
	cur, offset := r.current, r.tx.Offset
	return func(err error) error {
		err = r.failure(offset, int(cur.index), cur.text, cur.tables, err)
		var op *OperationError
		if errors.As(err, &op) {
			op.text, op.defines = cur.text, cur.defines
		}
		return err
	}
}

// counted makes a request whose result belongs to the current operation.
func (r *replay) counted() request {
	cur := r.current
	req := request{fail: r.failed(), done: func(tag pgconn.CommandTag) error {
		if n, ok := affected(tag); ok {
			cur.affected = max(cur.affected, 0) + n
		}
		return nil
	}}
	if cur.rows != nil {
		req.row = cur.rows.Add
	}
	return req
}

// affected returns the number in a command tag; false where it has none.
func affected(tag pgconn.CommandTag) (int64, bool) {
	s := tag.String()
	if s == "" || s[len(s)-1] < '0' || s[len(s)-1] > '9' {
		return 0, false
	}
	return tag.RowsAffected(), true
}

// send sends a statement, prepared where it comes again.
func (a *attempt) send(sql string, params [][]byte, oids []uint32, formats []int16, req request) error {
	return a.sendIn("", sql, params, oids, formats, req)
}

func (a *attempt) sendIn(context, sql string, params [][]byte, oids []uint32, formats []int16, req request) error {
	if a.once {
		return a.pipe.query(sql, params, oids, formats, req)
	}
	st, drop := a.statements.get(sql, oids, context)
	if drop != nil {
		a.pipe.deallocate(drop)
	}
	if st == nil {
		return a.pipe.query(sql, params, oids, formats, req)
	}
	return a.pipe.exec(st, params, formats, req)
}

// statement sends the text of an operation with its parameters.
func (r *replay) statement(op *event.Operation) error {
	params := make([][]byte, len(op.Params))
	oids := make([]uint32, len(op.Params))
	formats := make([]int16, len(op.Params))
	for i := range op.Params {
		p := &op.Params[i]
		switch {
		case p.Null:
		case p.Value == nil:
			params[i] = []byte{}
		default:
			params[i] = p.Value
		}
		if p.Binary {
			formats[i] = 1
		}
		oid, err := r.typeOf(p)
		if err != nil {
			return r.failed()(err)
		}
		oids[i] = oid
	}
	if len(op.Digest.Hash) > 0 {
		r.current.rows = &digest.Rows{}
	}
	if op.Digest.Affected >= 0 {
		return r.sendIn(r.settings.id, op.Text, params, oids, formats, r.counted())
	}
	err := r.pipe.query(checkedSQL, nil, nil, nil, request{fail: r.failed()})
	if err == nil {
		err = r.sendIn(r.settings.id, cmp.Or(r.current.instead, op.Text), params, oids, formats, r.counted())
	}
	if err == nil {
		err = r.gone(r.current.leaves)
	}
	if err == nil {
		err = r.deferred(r.failed())
	}
	return err
}

// checkedSQL makes the checks that are pending. TRUNCATE and DDL are refused for tables
// that have such, and on the primary theirs had none. Constraints that do not hold yet
// were pending there as well, on other tables: they are left to be checked at the end.
const checkedSQL = `DO $$
DECLARE
  every text := 'SET CONSTRAINTS ALL IMMEDIATE';
  one text;
BEGIN
  FOR one IN SELECT every UNION ALL SELECT DISTINCT pg_catalog.format('SET CONSTRAINTS %I.%I IMMEDIATE', n.nspname, k.conname)
    FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace WHERE k.condeferrable
  LOOP
    BEGIN
      EXECUTE one;
      EXIT WHEN one = every;
    EXCEPTION WHEN integrity_constraint_violation THEN NULL;
    END;
  END LOOP;
END $$`

// typeSQL finds a type by its name as the agent spells it.
const typeSQL = `SELECT coalesce(
	(SELECT t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
		WHERE n.nspname || '.' || t.typname = $1),
	pg_catalog.to_regtype($1)::oid)`

// typeOf returns a parameter's type on the target.
func (a *attempt) typeOf(p *event.Param) (uint32, error) {
	if p.Type == "" {
		if p.OID >= firstNormalOID {
			return 0, nil // another server's number
		}
		return p.OID, nil
	}
	if oid, ok := a.types[p.Type]; ok {
		return oid, nil
	}
	oid, err := a.lookUpType(p.Type)
	if err == nil && !a.once {
		a.types[p.Type] = oid
	}
	return oid, err
}

// firstNormalOID is the first OID that is not built in.
const firstNormalOID = 16384

func (a *attempt) lookUpType(name string) (uint32, error) {
	var oid uint32
	err := a.pipe.query(typeSQL, [][]byte{[]byte(name)}, []uint32{oidText}, nil, request{row: func(v []event.Value) {
		oid = parseOID(v[0])
	}})
	if err == nil {
		err = a.pipe.drain()
	}
	if err != nil {
		return 0, err
	}
	if oid == 0 {
		return 0, fmt.Errorf("the target has no type %s, which a parameter has", name)
	}
	return oid, nil
}

// copyIn runs a COPY whose data is in this and the following parts, and returns
// the last of them.
func (r *replay) copyIn(op *event.Operation) (*event.Operation, error) {
	if err := r.pipe.end(); err != nil {
		return nil, err
	}
	data := &copyReader{replay: r, rest: op.Data, more: op.More, last: op}
	tag, err := r.conn.CopyFrom(r.ctx, data, op.Text)
	switch {
	case data.err != nil:
		err = data.err
	case err != nil:
		var pg *pgconn.PgError
		if !errors.As(err, &pg) && r.conn.IsClosed() {
			err = errors.Join(errClosed, err)
		}
		err = r.failed()(err)
	case data.more:
		err = fmt.Errorf("transaction at offset %d, operation %d: the target ended the COPY before its data did", r.tx.Offset, r.current.index)
	}
	if err != nil {
		return nil, err
	}
	r.current.affected = tag.RowsAffected()
	r.pipe = newPipe(r.ctx, r.conn)
	return data.last, nil
}
