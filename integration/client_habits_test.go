package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
)

// heldLocks lists the advisory locks of the session that asks.
const heldLocks = "SELECT mode || ' ' || classid || ' ' || objid || ' ' || objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1"

// asks is a session that answers a question with rows of text.
type asks func(query string, args ...any) ([]string, error)

// pgxHabits are cursors, COPY, LISTEN and advisory locks with pgx, in its modes.
func pgxHabits(b *bench, dsn string) string {
	b.t.Helper()
	var s transcript
	pool, err := pgxpool.New(b.ctx, dsn)
	b.must(err)
	defer pool.Close()
	_, err = pool.Exec(b.ctx, "CREATE TABLE gxh (id serial PRIMARY KEY, name text UNIQUE, n int, at timestamptz DEFAULT now())")
	b.must(err)
	one, err := pool.Acquire(b.ctx)
	b.must(err)
	defer one.Release()
	two, err := pool.Acquire(b.ctx)
	b.must(err)
	defer two.Release()
	pgxCopies(b.ctx, one.Conn(), two.Conn(), &s)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		s.say("==", mode)
		first, second := pgxAsks(b.ctx, one.Conn(), mode), pgxAsks(b.ctx, two.Conn(), mode)
		s.cursors(first, "gxh", mode.String())
		s.locks(first, second, "gxh", mode.String())
		pgxListens(b.ctx, one.Conn(), second, &s)
	}
	return s.String()
}

func pgxAsks(ctx context.Context, conn *pgx.Conn, mode pgx.QueryExecMode) asks {
	return func(query string, args ...any) ([]string, error) {
		rows, err := conn.Query(ctx, query, append([]any{mode}, args...)...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
			values, err := row.Values()
			return fmt.Sprint(values), err
		})
	}
}

// ask says what a session answers.
func (s *transcript) ask(of asks, query string, args ...any) {
	rows, err := of(query, args...)
	s.say(rows)
	if err != nil {
		s.anyErr(err)
	}
}

// anyErr says an error of either driver's.
func (s *transcript) anyErr(err error) {
	if pqErr := (*pq.Error)(nil); errors.As(err, &pqErr) {
		s.pqErr(err)
		return
	}
	s.err(err)
}

// cursors are declared, read beside writes, and held over the end of their transaction.
func (s *transcript) cursors(of asks, table, mode string) {
	for _, query := range []string{
		"BEGIN", "DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id, name FROM %s ORDER BY id",
		"DECLARE walk CURSOR FOR SELECT id, n FROM %s ORDER BY id FOR UPDATE", "FETCH 3 FROM walk", "MOVE 2 IN walk", "FETCH 1 FROM walk",
		"UPDATE %s SET n = coalesce(n, 0) + 1 WHERE CURRENT OF walk", "INSERT INTO %s (name) VALUES ('beside " + mode + "')", "FETCH BACKWARD 1 FROM walk", "ROLLBACK",
		"BEGIN", "DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id, name FROM %s ORDER BY id LIMIT 4",
		"UPDATE %s SET n = 7 WHERE id = 2", "COMMIT", "FETCH 2 FROM held", "INSERT INTO %s (name) VALUES ('while held " + mode + "')",
		"FETCH LAST FROM held", "FETCH ABSOLUTE -2 FROM held", "CLOSE held", "FETCH 1 FROM held", "DECLARE outside CURSOR FOR SELECT 1",
	} {
		if strings.Contains(query, "%s") {
			query = fmt.Sprintf(query, table)
		}
		s.ask(of, query)
	}
}

// locks are taken by a session and its transactions, and another one finds them so.
func (s *transcript) locks(one, two asks, table, mode string) {
	s.ask(one, "SELECT pg_try_advisory_lock($1::int), pg_try_advisory_lock_shared(2, 3)", 1)
	s.ask(one, "BEGIN")
	s.ask(one, "SELECT pg_try_advisory_xact_lock(4)")
	s.ask(one, "INSERT INTO "+table+" (name) VALUES ($1)", "locked "+mode)
	s.ask(one, heldLocks)
	s.ask(two, "SELECT pg_try_advisory_lock($1::int), pg_try_advisory_xact_lock(4)", 1)
	s.ask(one, "SAVEPOINT a")
	s.ask(one, "SELECT pg_try_advisory_xact_lock(5), pg_try_advisory_lock(6)")
	s.ask(one, "ROLLBACK TO a")
	s.ask(one, heldLocks)
	s.ask(one, "COMMIT")
	s.ask(one, heldLocks)
	s.ask(two, "SELECT pg_try_advisory_xact_lock(4)")
	s.ask(two, heldLocks)
	s.ask(one, "SELECT pg_advisory_unlock($1::int), pg_advisory_unlock(99)", 1)
	s.ask(one, "SELECT pg_advisory_unlock_all()::text")
	s.ask(one, heldLocks)
}

func pgxCopies(ctx context.Context, conn, other *pgx.Conn, s *transcript) {
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"gxh"}, []string{"name", "n"}, pgx.CopyFromSlice(20, func(i int) ([]any, error) {
		return []any{fmt.Sprint("copied ", i), i}, nil
	}))
	s.say(n, err)
	for _, copied := range []struct{ sql, data string }{
		{"COPY gxh (name, n) FROM STDIN (FORMAT csv)", "\"csv, 1\",1\ncsv 2,\n"}, {"COPY gxh (name, n) FROM STDIN", "x\tnot a number\n"}, {"COPY gxh (name, n) FROM STDIN", "copied 3\t1\n"},
	} {
		tag, err := conn.PgConn().CopyFrom(ctx, strings.NewReader(copied.data), copied.sql)
		s.say(tag)
		if err != nil {
			s.err(err)
		}
	}
	for _, query := range []string{"COPY (SELECT name, n FROM gxh WHERE name LIKE 'csv%' ORDER BY 1) TO STDOUT (FORMAT csv, HEADER)", "COPY (SELECT 1/(n - 5) FROM gxh WHERE n < 9 ORDER BY n) TO STDOUT"} {
		var out strings.Builder
		tag, err := other.PgConn().CopyTo(ctx, &out, query)
		s.say(tag, out.String())
		if err != nil {
			s.err(err)
		}
	}
}

func pgxListens(ctx context.Context, conn *pgx.Conn, tells asks, s *transcript) {
	_, err := conn.Exec(ctx, "LISTEN gxh")
	s.say(err)
	for _, query := range []string{"NOTIFY gxh, 'first'", "BEGIN", "NOTIFY gxh, 'with a write'", "UPDATE gxh SET n = 1 WHERE id = 1", "COMMIT",
		"BEGIN", "NOTIFY gxh, 'never'", "ROLLBACK", "SELECT pg_notify('gxh', 'last')::text"} {
		s.ask(tells, query)
	}
	waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for range 3 {
		n, err := conn.WaitForNotification(waiting)
		if err != nil {
			s.err(err)
			return
		}
		s.say(n.Channel, n.Payload, n.PID == conn.PgConn().PID())
	}
	_, err = conn.Exec(ctx, "UNLISTEN *")
	s.say(err)
}

// sqlAsks asks by one connection of database/sql.
func sqlAsks(ctx context.Context, conn *sql.Conn) asks {
	return func(query string, args ...any) ([]string, error) {
		rows, err := conn.QueryContext(ctx, query, args...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		names, err := rows.Columns()
		if err != nil {
			return nil, err
		}
		var out []string
		for rows.Next() {
			values, into := make([]any, len(names)), make([]any, len(names))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				return out, err
			}
			for i, v := range values { // lib/pq gives text as bytes
				if bytes, ok := v.([]byte); ok {
					values[i] = string(bytes)
				}
			}
			out = append(out, fmt.Sprint(values))
		}
		return out, rows.Err()
	}
}

// sqlHabits are cursors, COPY, LISTEN and advisory locks with database/sql over pgx,
// whose COPY and notifications are those of the connection under it.
func sqlHabits(b *bench, dsn string) string {
	b.t.Helper()
	return sqlSession(b, dsn, "pgx", "sqh", func(conn *sql.Conn, two asks, s *transcript) {
		b.must(conn.Raw(func(c any) error {
			under := c.(*stdlib.Conn).Conn()
			n, err := under.CopyFrom(b.ctx, pgx.Identifier{"sqh"}, []string{"name", "n"}, pgx.CopyFromRows([][]any{{"copied 1", 1}, {"copied 2", nil}}))
			s.say(n, err)
			var out strings.Builder
			tag, err := under.PgConn().CopyTo(b.ctx, &out, "COPY (SELECT name, n FROM sqh WHERE name LIKE 'copied%' ORDER BY 1) TO STDOUT")
			s.say(tag, err, out.String())
			if _, err := under.Exec(b.ctx, "LISTEN sqh"); err != nil {
				return err
			}
			s.ask(two, "SELECT pg_notify('sqh', $1)::text", "hello")
			notification, err := under.WaitForNotification(b.ctx)
			if err != nil {
				return err
			}
			s.say(notification.Channel, notification.Payload)
			_, err = under.Exec(b.ctx, "UNLISTEN *")
			return err
		}))
	})
}

// pqHabits are the same with lib/pq. COPY is a prepared statement there, and is not
// to be had the other way.
func pqHabits(b *bench, dsn string) string {
	b.t.Helper()
	return sqlSession(b, dsn, "postgres", "lph", func(conn *sql.Conn, two asks, s *transcript) {
		for _, last := range []string{"kept", "copied 1"} { // the second time it is there already
			tx, err := conn.BeginTx(b.ctx, nil)
			b.must(err)
			copying, err := tx.PrepareContext(b.ctx, pq.CopyIn("lph", "name", "n")) //nolint:staticcheck // what programs in the field do
			b.must(err)
			for i, name := range []string{last, "copied 1", "copied 2"} {
				if _, err := copying.ExecContext(b.ctx, name, i); err != nil {
					s.pqErr(err)
				}
			}
			if _, err = copying.ExecContext(b.ctx); err != nil {
				s.pqErr(err)
			}
			_ = copying.Close() // it tells of the same error
			if err := tx.Commit(); err != nil {
				s.pqErr(err)
			}
		}
		s.ask(sqlAsks(b.ctx, conn), "COPY lph TO STDOUT")
		listener := pq.NewListener(dsn, time.Second, time.Second, nil)
		defer listener.Close()
		b.must(listener.Listen("lph"))
		s.ask(two, "BEGIN")
		s.ask(two, "SELECT pg_notify('lph', $1)::text", "with a write")
		s.ask(two, "INSERT INTO lph (name) VALUES ('told')")
		s.ask(two, "COMMIT")
		select {
		case n := <-listener.Notify:
			s.say(n.Channel, n.Extra)
		case <-time.After(20 * time.Second):
			s.say("no notification")
		}
		s.say(listener.UnlistenAll())
	})
}

// sqlSession runs what all drivers of database/sql do alike, and more.
func sqlSession(b *bench, dsn, driver, table string, more func(conn *sql.Conn, two asks, s *transcript)) string {
	b.t.Helper()
	var s transcript
	db, err := sql.Open(driver, dsn)
	b.must(err)
	defer db.Close()
	db.SetMaxOpenConns(2)
	_, err = db.ExecContext(b.ctx, "CREATE TABLE "+table+" (id serial PRIMARY KEY, name text UNIQUE, n int, at timestamptz DEFAULT now())")
	b.must(err)
	_, err = db.ExecContext(b.ctx, "INSERT INTO "+table+" (name, n) SELECT 'h' || i, i FROM generate_series(1, 20) i")
	b.must(err)
	one, err := db.Conn(b.ctx)
	b.must(err)
	defer one.Close()
	two, err := db.Conn(b.ctx)
	b.must(err)
	defer two.Close()
	first, second := sqlAsks(b.ctx, one), sqlAsks(b.ctx, two)
	s.cursors(first, table, driver)
	s.locks(first, second, table, driver)
	more(one, second, &s)
	s.ask(first, "SELECT name, n FROM "+table+" ORDER BY name") // a COPY that fails may draw other numbers
	return s.String()
}
