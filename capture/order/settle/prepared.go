package settle

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/capture/prepared"
)

// byAttempt is Verdict.By of an intent whose transaction was prepared, and which was
// not the attempt that ended it.
const byAttempt = "attempt given up"

// ended is how an intent ended whose backend is gone, or over is false.
func ended(ctx context.Context, server Primary, i Intent, over bool) (Verdict, error) {
	v, err := server.Status(ctx, i.Tx.XID)
	if err != nil || v.State != Committed && (v.State != Pending || !over) {
		return v, err
	}
	return server.Attempt(ctx, i, v)
}

// Attempt implements Primary. A prepared transaction is in progress without a backend:
// an attempt whose own is gone did not commit it, and is kept from doing so for good
// before that is said. Its status is that of its last attempt alone (I4).
func (a asker) Attempt(ctx context.Context, i Intent, v Verdict) (Verdict, error) {
	id := uuid.UUID(i.ID).String()
	sql, args := prepared.AttemptSQL, []any{fmt.Sprint(i.Tx.XID)}
	if v.State == Pending {
		sql, args = prepared.GiveUpSQL, append(args, id)
	}
	var has *string
	err := a.conn.QueryRow(ctx, sql, args...).Scan(&has)
	var server *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.As(err, &server) && server.Code == "42P01":
		return v, nil // it was not prepared, or had but one attempt
	case server != nil && server.Code == "42501":
		return a.unread(ctx, v)
	case err != nil:
		return Verdict{}, fmt.Errorf("asking whose attempt ended transaction %d: %w", i.Tx.XID, err)
	case has == nil || *has != id:
		return Verdict{State: Aborted, By: byAttempt}, nil
	}
	return v, nil
}

// unread is what a status means where the login may not look into opmux.prepared: what
// it says, if there is none.
func (a asker) unread(ctx context.Context, v Verdict) (Verdict, error) {
	var there bool
	err := a.conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'opmux' AND c.relname = 'prepared')`).Scan(&there)
	switch {
	case err != nil:
		return Verdict{}, fmt.Errorf("looking for opmux.prepared: %w", err)
	case there:
		return Verdict{State: Pending, Reason: "the catalogue login may not see whether it was prepared: " +
			"GRANT USAGE ON SCHEMA opmux, and SELECT, INSERT, UPDATE, DELETE ON opmux.prepared, to it"}, nil
	}
	return v, nil
}
