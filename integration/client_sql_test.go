package integration

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// sqlFeatures is what programs do with database/sql over pgx, in each of its modes.
func sqlFeatures(b *bench, dsn string) string {
	b.t.Helper()
	var s transcript
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		config := b.pgxConfig(dsn)
		config.DefaultQueryExecMode = mode
		db := stdlib.OpenDB(*config)
		db.SetMaxOpenConns(1)
		s.say("==", mode)
		sqlWrites(b.ctx, db, &s)
		sqlTransactions(b.ctx, db, &s)
		b.must(db.Close())
	}
	return s.String()
}

func (s *transcript) exec(result sql.Result, err error) {
	if err != nil {
		s.err(err)
		return
	}
	n, err := result.RowsAffected()
	s.say(n, err)
}

func sqlWrites(ctx context.Context, db *sql.DB, s *transcript) {
	s.exec(db.ExecContext(ctx, "DROP TABLE IF EXISTS sq"))
	s.exec(db.ExecContext(ctx, "CREATE TABLE sq (id serial PRIMARY KEY, name text UNIQUE, n int, at timestamptz DEFAULT now())"))
	st, err := db.PrepareContext(ctx, "INSERT INTO sq (name, n) VALUES ($1, $2) RETURNING id")
	if err != nil {
		s.err(err)
		return
	}
	defer st.Close()
	for _, name := range []string{"a", "ö", "a", "c"} {
		var id int
		if err := st.QueryRowContext(ctx, name, 5).Scan(&id); err != nil {
			s.err(err)
		}
		s.say(id)
	}
	s.exec(db.ExecContext(ctx, "UPDATE sq SET n = n + $1 WHERE name = $2", 1, "ö"))
	s.exec(db.ExecContext(ctx, "UPDATE sq SET n = $1 WHERE n > $2", 9, 4))
	s.exec(db.ExecContext(ctx, "DELETE FROM sq WHERE id = $1", 1))
	s.exec(db.ExecContext(ctx, "INSERT INTO sq (nothere) VALUES ($1)", 1))
	var n sql.NullInt32
	s.say(db.QueryRowContext(ctx, "SELECT n FROM sq WHERE name = $1", "nobody").Scan(&n), n)
	rows, err := db.QueryContext(ctx, "UPDATE sq SET n = n + 1 RETURNING name, n")
	if err != nil {
		s.err(err)
		return
	}
	// Two of three rows are read, and the rest is left.
	s.say(rows.Next(), rows.Next(), rows.Close(), rows.Err())
}

func sqlTransactions(ctx context.Context, db *sql.DB, s *transcript) {
	for _, level := range []sql.IsolationLevel{sql.LevelDefault, sql.LevelRepeatableRead, sql.LevelSerializable} {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: level})
		if err != nil {
			s.err(err)
			return
		}
		s.exec(tx.ExecContext(ctx, "INSERT INTO sq (name) VALUES ($1)", level.String()))
		s.exec(tx.ExecContext(ctx, "SAVEPOINT p"))
		s.exec(tx.ExecContext(ctx, "INSERT INTO sq (name) VALUES ($1)", "ö"))
		s.exec(tx.ExecContext(ctx, "ROLLBACK TO p"))
		s.say(tx.Commit())
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		s.err(err)
		return
	}
	s.exec(tx.ExecContext(ctx, "DELETE FROM sq"))
	s.say(tx.Rollback())
	// A context that ends in a transaction rolls it back.
	short, cancel := context.WithCancel(ctx)
	tx, err = db.BeginTx(short, nil)
	if err != nil {
		cancel()
		s.err(err)
		return
	}
	s.exec(tx.ExecContext(ctx, "DELETE FROM sq"))
	cancel()
	if err := tx.Commit(); err == nil {
		s.say("committed after the context's end")
	}
	var count, sum int
	err = db.QueryRowContext(ctx, "SELECT count(*), sum(n) FROM sq").Scan(&count, &sum)
	s.say(count, sum, err)
}
