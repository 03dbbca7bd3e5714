package position

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// schema is the DDL of opmux's tables on a target. The rows of position are
// narrow and keep free space in their page, so that updates stay in it (HOT).
const schema = `
CREATE SCHEMA IF NOT EXISTS opmux;
CREATE TABLE IF NOT EXISTS opmux.stream (
	stream text PRIMARY KEY,
	topic  text NOT NULL,
	origin bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS opmux.position (
	stream text NOT NULL,
	lane   integer NOT NULL,
	fence  bigint NOT NULL,
	seq    bigint NOT NULL,
	low    bigint NOT NULL,
	done   text NOT NULL,
	heads  text NOT NULL,
	PRIMARY KEY (stream, lane)
) WITH (fillfactor = 30);
CREATE TABLE IF NOT EXISTS opmux.snapshot (
	stream   text PRIMARY KEY,
	start    bigint NOT NULL,
	mark     bigint NOT NULL,
	snapshot text NOT NULL,
	at       timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS opmux.diverged (
	stream    text NOT NULL,
	tbl       text NOT NULL,
	reason    text NOT NULL,
	statement text NOT NULL,
	tx        bigint NOT NULL,
	at        timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream, tbl)
);
CREATE TABLE IF NOT EXISTS opmux.standalone (
	stream  text NOT NULL,
	tx      bigint NOT NULL,
	invalid text NOT NULL,
	at      timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream, tx)
);
`

// tables is the number of tables that schema makes.
const tables = 5

const countTables = `SELECT count(*) FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'opmux' AND c.relkind = 'r'
	AND c.relname IN ('stream', 'position', 'snapshot', 'diverged', 'standalone')`

// EnsureSchema makes opmux's tables on a target where they are missing. Where
// they all exist it needs no privilege beyond reading the catalogue.
func EnsureSchema(ctx context.Context, conn *pgx.Conn) error {
	var n int
	if err := conn.QueryRow(ctx, countTables).Scan(&n); err != nil {
		return fmt.Errorf("looking for schema opmux on the target: %w", err)
	}
	if n == tables {
		return nil
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Two workers at once: IF NOT EXISTS alone would fail in one of them.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('opmux schema'))`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, schema)
		return err
	})
	if err != nil {
		return fmt.Errorf("making schema opmux on the target (its role needs CREATE on the database): %w", err)
	}
	return nil
}
