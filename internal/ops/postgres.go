package ops

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// connectTimeout bounds opening a connection to a database.
const connectTimeout = 5 * time.Second

// connect opens a connection under a name that pg_stat_activity shows. role says
// whose database it is ("primary (catalog.dsn)"), for the error.
func connect(ctx context.Context, dsn, role string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("%s: the connection string cannot be read", role) // it may hold a password
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "opmux"
	}
	cfg.RuntimeParams["standard_conforming_strings"] = "on" // opmux's own texts have backslashes
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot connect to %s:%d, database %q, as %q: %w", role, cfg.Host, cfg.Port, cfg.Database, cfg.User, connectCause(err))
	}
	return conn, nil
}

// connectCause leaves out pgconn's own repetition of host, user and database.
func connectCause(err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return fmt.Errorf("%s: %s (SQLSTATE %s)", server.Severity, server.Message, server.Code)
	}
	var whole *pgconn.ConnectError
	if errors.As(err, &whole) {
		if inner := errors.Unwrap(whole); inner != nil {
			return inner
		}
	}
	return err
}

// disconnect closes a connection, also when ctx has ended.
func disconnect(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it was only read from, or its work is committed
}

// one reads a single value.
func one[T any](ctx context.Context, q querier, sql string, args ...any) (T, error) {
	var v T
	err := q.QueryRow(ctx, sql, args...).Scan(&v)
	if err != nil {
		return v, fmt.Errorf("%s: %w", sql, err)
	}
	return v, nil
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// column reads all values of a one-column result.
func column[T any](ctx context.Context, q querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}
	return list, nil
}
