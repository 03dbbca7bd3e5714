package apply

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/apply/position"
)

// Position is where a stream stands on a target.
type Position = position.Position

// Snapshot says that a target was filled with what a snapshot of a source shows.
type Snapshot = position.Snapshot

// DivergedTable is a table of the target that no longer follows its source.
type DivergedTable = position.Diverged

// ReadPosition returns the positions of every source that the target follows;
// none where the target does not have opmux's tables yet.
func ReadPosition(ctx context.Context, dsn string) (map[string]Position, error) {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	all, err := position.Read(ctx, conn)
	if noTables(err) {
		return map[string]Position{}, nil
	}
	return all, err
}

// Diverged returns the tables of the target that no longer follow their source.
func Diverged(ctx context.Context, dsn string) ([]DivergedTable, error) {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	list, err := position.ReadDiverged(ctx, conn)
	if noTables(err) {
		return nil, nil
	}
	return list, err
}

// EnsureSchema makes opmux's tables on a target where they are missing.
func EnsureSchema(ctx context.Context, conn *pgx.Conn) error {
	return position.EnsureSchema(ctx, conn)
}

// InstallSnapshot makes the source begin where the snapshot ends, in the
// transaction that fills the target. EnsureSchema has to come before. A worker
// that holds the stream is fenced.
func InstallSnapshot(ctx context.Context, tx pgx.Tx, s Snapshot) error {
	return position.InstallSnapshot(ctx, tx, s)
}

// Reset makes the target follow the source from an offset of the topic with that
// id on, as an empty target does. A worker that holds the stream is fenced.
func Reset(ctx context.Context, dsn, source, topicID string, from int64) error {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	if err := position.EnsureSchema(ctx, conn); err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		return position.Reset(ctx, tx, source, topicID, from)
	})
	if err != nil {
		return fmt.Errorf("resetting stream %s on the target: %w", source, err)
	}
	return nil
}

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("connecting to the target: %w", err)
	}
	return conn, nil
}

func closeConn(conn *pgx.Conn) {
	_ = conn.Close(context.Background()) // nothing is left to lose
}

// noTables says that opmux's tables are missing.
func noTables(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "42P01" || pgErr.Code == "3F000")
}
