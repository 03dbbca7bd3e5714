package integration

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/lib/pq"
)

func (s *transcript) pqErr(err error) {
	var pqErr *pq.Error
	if errors.As(err, &pqErr) {
		s.say(pqErr.Severity, pqErr.Code, pqErr.Message, pqErr.Position, pqErr.Constraint)
		return
	}
	s.say(err)
}

// pqFeatures is what programs do with lib/pq, which sends Parse and Sync first
// and binds later.
func pqFeatures(b *bench, dsn string) string {
	b.t.Helper()
	var s transcript
	db := b.openPq(dsn)
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, part := range []func(context.Context, *sql.DB, *transcript){pqWrites, pqPrepared, pqTransactions, pqCopy, pqCancel} {
		part(b.ctx, db, &s)
	}
	pqListen(b.listenPq(dsn), db, &s)
	return s.String()
}

func pqExec(ctx context.Context, s *transcript, exec func(context.Context, string, ...any) (sql.Result, error), query string, args ...any) {
	result, err := exec(ctx, query, args...)
	if err != nil {
		s.pqErr(err)
		return
	}
	n, err := result.RowsAffected()
	s.say(n, err)
}

func pqWrites(ctx context.Context, db *sql.DB, s *transcript) {
	pqExec(ctx, s, db.ExecContext, "CREATE TABLE lp (id serial PRIMARY KEY, name text UNIQUE, n int, at timestamptz, tags text[])")
	pqExec(ctx, s, db.ExecContext, "INSERT INTO lp (name, n, at, tags) VALUES ($1, $2, $3, $4)", "ü", 1, time.Unix(1700000000, 0).UTC(), pq.Array([]string{"a", "b c"}))
	pqExec(ctx, s, db.ExecContext, "INSERT INTO lp (name, n) SELECT 'many ' || i, i FROM generate_series(1, $1::int) i", 5)
	pqExec(ctx, s, db.ExecContext, "UPDATE lp SET n = n + $1 WHERE id = $2", 10, 1)
	pqExec(ctx, s, db.ExecContext, "UPDATE lp SET n = n + 1 WHERE n < $1", 4)
	pqExec(ctx, s, db.ExecContext, "DELETE FROM lp WHERE id = $1", 2)
	pqExec(ctx, s, db.ExecContext, "INSERT INTO lp (name) VALUES ($1)", "ü")
	pqExec(ctx, s, db.ExecContext, "INSERT INTO lp (name) VALUES ('simple 1'); INSERT INTO lp (name) VALUES ('simple 2')")
	pqExec(ctx, s, db.ExecContext, "INSERT INTO lp (name) VALUES ('simple 3'); SELECT 1/0")
	pqExec(ctx, s, db.ExecContext, "SELEC 1")
	var id, n sql.NullInt64
	err := db.QueryRowContext(ctx, "INSERT INTO lp (name) VALUES ($1) RETURNING id, n", "returned").Scan(&id, &n)
	s.say(id, n, err)
	rows, err := db.QueryContext(ctx, "SELECT id, name, n FROM lp ORDER BY id")
	if err != nil {
		s.pqErr(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		err := rows.Scan(&id, &name, &n)
		s.say(id, name, n, err)
	}
	s.say(rows.Err())
}

func pqPrepared(ctx context.Context, db *sql.DB, s *transcript) {
	statement, err := db.PrepareContext(ctx, "UPDATE lp SET n = $2 WHERE name = $1 RETURNING n")
	if err != nil {
		s.pqErr(err)
		return
	}
	defer statement.Close()
	for i := range 4 {
		var n int
		err := statement.QueryRowContext(ctx, "ü", i).Scan(&n)
		s.say(n, err)
	}
	// The row is abandoned, not read.
	rows, err := db.QueryContext(ctx, "SELECT i FROM generate_series(1, 10000) i")
	if err != nil {
		s.pqErr(err)
		return
	}
	s.say(rows.Next(), rows.Close(), rows.Err())
}

func pqTransactions(ctx context.Context, db *sql.DB, s *transcript) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	if err != nil {
		s.pqErr(err)
		return
	}
	pqExec(ctx, s, tx.ExecContext, "UPDATE lp SET n = 50 WHERE name = 'ü'")
	pqExec(ctx, s, tx.ExecContext, "SAVEPOINT here")
	pqExec(ctx, s, tx.ExecContext, "INSERT INTO lp (name) VALUES ('ü')")
	pqExec(ctx, s, tx.ExecContext, "SELECT 1")
	pqExec(ctx, s, tx.ExecContext, "ROLLBACK TO here")
	pqExec(ctx, s, tx.ExecContext, "INSERT INTO lp (name) VALUES ('in a transaction')")
	s.say(tx.Commit())
	tx, err = db.BeginTx(ctx, nil)
	if err != nil {
		s.pqErr(err)
		return
	}
	pqExec(ctx, s, tx.ExecContext, "DELETE FROM lp")
	s.say(tx.Rollback())
	tx, err = db.BeginTx(ctx, nil)
	if err != nil {
		s.pqErr(err)
		return
	}
	pqExec(ctx, s, tx.ExecContext, "SELECT 1/0")
	s.pqErr(tx.Commit())
}

func pqCopy(ctx context.Context, db *sql.DB, s *transcript) {
	pqExec(ctx, s, db.ExecContext, "CREATE TABLE lp_copy (id serial, name text PRIMARY KEY, n int, at timestamptz DEFAULT now())")
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		s.pqErr(err)
		return
	}
	defer tx.Rollback()
	statement, err := tx.PrepareContext(ctx, pq.CopyIn("lp_copy", "name", "n")) //nolint:staticcheck // what programs in the field do
	if err != nil {
		s.pqErr(err)
		return
	}
	for i := range 300 {
		if _, err := statement.ExecContext(ctx, "copied "+time.Duration(i).String(), i); err != nil {
			s.pqErr(err)
		}
	}
	_, err = statement.ExecContext(ctx)
	s.say(err, statement.Close(), tx.Commit())
	var n, sum int
	err = db.QueryRowContext(ctx, "SELECT count(*), sum(n * id) FROM lp_copy").Scan(&n, &sum)
	s.say(n, sum, err)
}

func pqCancel(ctx context.Context, db *sql.DB, s *transcript) {
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err := db.ExecContext(short, "SELECT pg_sleep(20)")
	s.pqErr(err)
	var one int
	err = db.QueryRowContext(ctx, "SELECT 1").Scan(&one)
	s.say(one, err)
}

func pqListen(listener *pq.Listener, db *sql.DB, s *transcript) {
	defer listener.Close()
	s.say(listener.Listen("lp"))
	_, err := db.Exec("NOTIFY lp, 'hello'")
	s.say(err)
	select {
	case n := <-listener.Notify:
		s.say(n.Channel, n.Extra)
	case <-time.After(10 * time.Second):
		s.say("no notification")
	}
}
