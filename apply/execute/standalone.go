package execute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
)

// RunStandalone executes a command that cannot run in a transaction: its
// beginning is recorded before and its end after, with the position. begun is
// what an earlier worker recorded of it, nil for nothing. When it was begun and
// its end is not recorded, it may have taken effect: what is left of it is
// cleared away and it is run again, and "exists already" or "does not exist" then
// says that it had. (I4)
func (l *Lane) RunStandalone(ctx context.Context, job Job, begun *position.Standalone) ([]Result, error) {
	s := &standalone{Lane: l, job: &job, begun: begun}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.try(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			break
		}
		reason, again := Transient(err)
		if !again {
			return nil, err
		}
		l.trouble(reason, err)
		if err := wait(ctx, pause); err != nil {
			return nil, err
		}
	}
	l.over()
	l.cfg.Shared.schema.Add(1)
	return []Result{s.result}, nil
}

type standalone struct {
	*Lane
	job    *Job
	begun  *position.Standalone
	result Result
}

func (s *standalone) try(ctx context.Context) error {
	err := s.connect(ctx)
	if errors.Is(err, errCommitted) {
		err = s.noted(ctx)
	}
	if err == nil {
		err = s.steps(ctx)
	}
	if err != nil && s.conn != nil {
		s.recover(ctx)
	}
	return err
}

func (s *standalone) steps(ctx context.Context) error {
	tx := s.job.Transactions[0]
	s.result = Result{Tx: tx}
	again := s.begun != nil
	if !again {
		invalid, err := s.invalidIndexes(ctx)
		if err != nil {
			return err
		}
		err = s.note(ctx, false, `INSERT INTO opmux.standalone (stream, tx, invalid) VALUES ($1, $2::int8, $3)
			ON CONFLICT (stream, tx) DO NOTHING`, s.cfg.Source, strconv.FormatInt(tx.Offset, 10), join(invalid))
		if err != nil {
			return err
		}
		s.begun = &position.Standalone{Offset: tx.Offset, Invalid: invalid}
	} else if err := s.clearAway(ctx); err != nil {
		return err
	}
	if err := s.commands(ctx, again); err != nil {
		return s.refused(ctx, err)
	}
	return s.over(ctx, true)
}

func (s *standalone) commands(ctx context.Context, again bool) error {
	ops, err := s.cfg.Open(ctx, s.job.Transactions[0])
	if err != nil {
		return err
	}
	defer func() { _ = ops.Close() }() // it only reads
	var number digest.Numbering
	for {
		op, err := ops.Next(ctx)
		if err != nil || op == nil {
			return err
		}
		index, _ := number.Next(op)
		s.result.Marks.Add(op.Sequences)
		if err := s.command(ctx, op, index, again); err != nil {
			return err
		}
	}
}

// over takes back that the command was begun; done says that it took effect.
func (s *standalone) over(ctx context.Context, done bool) error {
	return s.note(ctx, done, `DELETE FROM opmux.standalone WHERE stream = $1 AND tx = $2::int8`,
		s.cfg.Source, strconv.FormatInt(s.job.Transactions[0].Offset, 10))
}

// refused takes back that the command was begun where the server surely did not
// run it, so that a later attempt does not take errors for success.
func (s *standalone) refused(ctx context.Context, err error) error {
	if !refused(err) {
		return err
	}
	if clearErr := s.clearAway(ctx); clearErr != nil {
		return errors.Join(err, clearErr)
	}
	if overErr := s.over(ctx, false); overErr != nil {
		return errors.Join(err, overErr)
	}
	s.begun = nil
	return err
}

// command runs one operation under the transaction's context.
func (s *standalone) command(ctx context.Context, op *event.Operation, index int32, again bool) error {
	if !digest.Compared(op.Kind) {
		return nil
	}
	for _, table := range tablesOf(op) {
		if s.cfg.Shared.has(table) { // as in a transaction
			s.result.Operations.Add(Count{Kind: op.Kind, All: 1})
			s.result.Digests.AddDigest(event.OpDigest{Index: index, Skipped: "diverged: " + table})
			return nil
		}
	}
	tx := s.job.Transactions[0]
	s.settings.reset()
	if list := s.settings.changes(&tx.Transaction.Context); len(list) > 0 {
		sql, params := setSQL(list, false)
		if r := s.conn.ExecParams(ctx, sql, params, nil, nil, nil).Read(); r.Err != nil {
			return s.refusal(op, index, fmt.Errorf("setting the session context: %w", r.Err))
		}
	}
	_, err := s.conn.Exec(ctx, op.Text).ReadAll()
	if s.conn.IsClosed() {
		return errors.Join(errClosed, err)
	}
	if resetErr := s.exec(ctx, "RESET ALL; RESET ROLE"); resetErr != nil {
		return resetErr
	}
	if err != nil && (!again || !tookEffect(err)) {
		return s.refusal(op, index, err)
	}
	s.result.Operations.Add(Count{Kind: op.Kind, All: 1})
	s.result.Digests.AddDigest(event.OpDigest{Index: index, Digest: event.Digest{SQLState: "00000", Affected: -1}})
	return nil
}

func (s *standalone) refusal(op *event.Operation, index int32, err error) error {
	a := attempt{Lane: s.Lane}
	return a.failure(s.job.Transactions[0].Offset, int(index), op.Text, op.Tables, err)
}

// tookEffect says whether an error means that what a command should do is done.
func tookEffect(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains([]string{
		"42P04", // duplicate_database
		"42P07", // duplicate_table, of indexes too
		"42710", // duplicate_object
		"3D000", // invalid_catalog_name
		"42704", // undefined_object
		"42P01", // undefined_table
		"55000", // object_not_in_prerequisite_state: a partition is detached
	}, pg.Code)
}

// note writes into opmux's tables together with the lane's row, which says that
// the command is done where it is.
func (s *standalone) note(ctx context.Context, done bool, sql string, args ...string) error {
	a := &attempt{Lane: s.Lane, ctx: ctx, job: s.job, once: true}
	if !done {
		a.job = &Job{Base: s.job.Base}
	}
	a.pipe = newPipe(ctx, s.conn)
	params := make([][]byte, len(args))
	for i, arg := range args {
		params[i] = []byte(arg)
	}
	err := a.pipe.query("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", nil, nil, nil, request{})
	if err == nil {
		err = a.move()
	}
	if err == nil {
		err = a.pipe.query(sql, params, nil, nil, request{})
	}
	if err == nil {
		err = a.pipe.query("COMMIT", nil, nil, nil, request{})
	}
	if err == nil {
		s.unsure = true
		err = a.pipe.end()
	}
	if err != nil {
		a.pipe.abandon()
		if errors.Is(err, errNotMoved) {
			return &position.FencedError{Source: s.cfg.Source, Fence: s.cfg.Fence}
		}
		return err
	}
	return s.noted(ctx)
}

// noted is what follows a commit.
func (s *standalone) noted(ctx context.Context) error {
	if err := s.confirm(ctx); err != nil {
		return err
	}
	s.seq++
	s.unsure = false
	return nil
}

func (s *standalone) invalidIndexes(ctx context.Context) ([]uint32, error) {
	rows, err := s.rows(ctx, `SELECT indexrelid FROM pg_catalog.pg_index WHERE NOT indisvalid ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	var list []uint32
	for _, row := range rows {
		list = append(list, parseOID(event.Value{Text: row[0]}))
	}
	return list, nil
}

// clearAway drops the invalid indexes that the attempt before has left behind:
// those that were not there when it began and that nobody builds now.
func (s *standalone) clearAway(ctx context.Context) error {
	rows, err := s.rows(ctx, `SELECT i.indexrelid, pg_catalog.format('%I.%I', n.nspname, c.relname)
		FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE NOT i.indisvalid AND i.indexrelid NOT IN (SELECT index_relid FROM pg_catalog.pg_stat_progress_create_index)`)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if slices.Contains(s.begun.Invalid, parseOID(event.Value{Text: row[0]})) {
			continue
		}
		if err := s.exec(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+string(row[1])); err != nil {
			return err
		}
	}
	return nil
}

func join(list []uint32) string {
	words := make([]string, len(list))
	for i, oid := range list {
		words[i] = strconv.FormatUint(uint64(oid), 10)
	}
	return strings.Join(words, " ")
}
