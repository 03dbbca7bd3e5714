package position

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Querier is what reading needs of a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Application returns the application_name of the sessions that apply a source,
// by which a take-over finds those of the worker before.
func Application(source string) string {
	name := "opmux apply " + source
	return name[:min(len(name), 63)] // the server cuts it there
}

// Read returns the positions of every stream that the target has.
func Read(ctx context.Context, q Querier) (map[string]Position, error) {
	rows, err := q.Query(ctx, `SELECT s.stream, s.topic, s.origin, p.low, p.done, p.heads
		FROM opmux.stream s JOIN opmux.position p USING (stream) ORDER BY s.stream, p.lane`)
	if err != nil {
		return nil, fmt.Errorf("reading the target's positions: %w", err)
	}
	defer rows.Close()
	lanes := map[string][]Position{}
	for rows.Next() {
		var source, done, heads string
		var p Position
		if err := rows.Scan(&source, &p.Topic, &p.Origin, &p.Low, &done, &heads); err != nil {
			return nil, fmt.Errorf("reading the target's positions: %w", err)
		}
		if p.Done, err = ParseRanges(done); err == nil {
			p.Heads, err = ParseHeads(heads)
		}
		if err != nil {
			return nil, fmt.Errorf("position of stream %s on the target: %w", source, err)
		}
		lanes[source] = append(lanes[source], p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the target's positions: %w", err)
	}
	all := map[string]Position{}
	for source, list := range lanes {
		all[source] = Join(list)
	}
	return all, nil
}

// Fence returns the highest fence of a stream, 0 where the target has none.
func Fence(ctx context.Context, q Querier, source string) (int64, error) {
	rows, err := q.Query(ctx, `SELECT coalesce(max(fence), 0) FROM opmux.position WHERE stream = $1`, source)
	if err != nil {
		return 0, fmt.Errorf("reading the fence of stream %s on the target: %w", source, err)
	}
	fence, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("reading the fence of stream %s on the target: %w", source, err)
	}
	return fence, nil
}

// ReadDiverged returns the tables that no longer follow their source.
func ReadDiverged(ctx context.Context, q Querier) ([]Diverged, error) {
	rows, err := q.Query(ctx, `SELECT stream, tbl, reason, statement, tx FROM opmux.diverged ORDER BY stream, tbl`)
	if err != nil {
		return nil, fmt.Errorf("reading opmux.diverged: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Diverged])
	if err != nil {
		return nil, fmt.Errorf("reading opmux.diverged: %w", err)
	}
	return list, nil
}

// Reset makes a stream begin at an offset, as on an empty target. A worker that
// holds the stream is fenced.
func Reset(ctx context.Context, tx pgx.Tx, source, topic string, from int64) error {
	fence, err := clearStream(ctx, tx, source)
	if err != nil {
		return err
	}
	return begin(ctx, tx, source, topic, from, fence+1)
}

// InstallSnapshot makes a stream begin where a snapshot ends, in the transaction
// that filled the target. A worker that holds the stream is fenced.
func InstallSnapshot(ctx context.Context, tx pgx.Tx, s Snapshot) error {
	if _, err := parseSnapshot(s.Snapshot); err != nil {
		return err
	}
	fence, err := clearStream(ctx, tx, s.Source)
	if err != nil {
		return err
	}
	if err := begin(ctx, tx, s.Source, s.TopicID, s.Start, fence+1); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO opmux.snapshot (stream, start, mark, snapshot) VALUES ($1, $2, $3, $4)`,
		s.Source, s.Start, s.Mark, s.Snapshot)
	if err != nil {
		return fmt.Errorf("stream %s: noting the snapshot on the target: %w", s.Source, err)
	}
	return nil
}

// clearStream removes what the target knows of a stream and returns its highest
// fence.
func clearStream(ctx context.Context, tx pgx.Tx, source string) (int64, error) {
	fence, err := lockRows(ctx, tx, source)
	if err != nil {
		return 0, err
	}
	for _, table := range []string{"position", "stream", "snapshot", "diverged", "standalone"} {
		if _, err := tx.Exec(ctx, `DELETE FROM opmux.`+table+` WHERE stream = $1`, source); err != nil {
			return 0, fmt.Errorf("stream %s: clearing opmux.%s on the target: %w", source, table, err)
		}
	}
	return fence, nil
}

func begin(ctx context.Context, tx pgx.Tx, source, topic string, from, fence int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO opmux.stream (stream, topic, origin) VALUES ($1, $2, $3)`, source, topic, from)
	if err == nil {
		err = setLane(ctx, tx, source, Keeper, fence, Position{Low: from})
	}
	if err != nil {
		return fmt.Errorf("stream %s: writing its position on the target: %w", source, err)
	}
	return nil
}

func setLane(ctx context.Context, tx pgx.Tx, source string, lane int, fence int64, p Position) error {
	_, err := tx.Exec(ctx, `INSERT INTO opmux.position (stream, lane, fence, seq, low, done, heads)
		VALUES ($1, $2, $3, 0, $4, $5, $6)
		ON CONFLICT (stream, lane) DO UPDATE SET fence = excluded.fence, low = excluded.low,
			done = excluded.done, heads = excluded.heads, seq = 0`,
		source, lane, fence, p.Low, p.Done.String(), p.Heads.Encode())
	return err
}

// lockRows ends the sessions of the worker that holds the stream, frozen ones
// too, locks the stream's rows and returns the highest fence.
func lockRows(ctx context.Context, tx pgx.Tx, source string) (int64, error) {
	// A frozen worker's session would keep its lane's row locked until its
	// timeout; and whoever takes over fences it anyway.
	_, err := tx.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = $1 AND datname = current_database() AND usename = current_user
		AND pid <> pg_backend_pid()`, Application(source))
	if err != nil {
		return 0, fmt.Errorf("stream %s: ending the sessions of the worker before: %w", source, err)
	}
	rows, err := tx.Query(ctx, `SELECT fence FROM opmux.position WHERE stream = $1 ORDER BY lane FOR UPDATE`, source)
	if err != nil {
		return 0, fmt.Errorf("stream %s: locking its position on the target: %w", source, err)
	}
	fences, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("stream %s: locking its position on the target: %w", source, err)
	}
	var fence int64
	for _, f := range fences {
		fence = max(fence, f)
	}
	return fence, nil
}

// TakeOver makes the caller the one that applies the stream: in one transaction
// it locks every lane's row, raises their fences, and joins what the lanes have
// done. topic is the id of the topic that will be read. (I4)
func TakeOver(ctx context.Context, conn *pgx.Conn, source, topic string, lanes int) (*Held, error) {
	var held *Held
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// The row of a stream that is new here has to exist before it can be
		// locked; two workers that meet there wait for each other.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('opmux take-over ' || $1))`, source); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, durableSQL); err != nil {
			return err
		}
		var err error
		held, err = takeOver(ctx, tx, source, topic, lanes)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("taking over stream %s: %w", source, err)
	}
	return held, nil
}

// durableSQL has a transaction flushed at its commit: a crash must not bring a fence back
// that somebody goes on by, for the next one to take the same number.
const durableSQL = `SELECT pg_catalog.set_config('synchronous_commit',
	CASE pg_catalog.current_setting('synchronous_commit') WHEN 'off' THEN 'local' ELSE pg_catalog.current_setting('synchronous_commit') END, true)`

func takeOver(ctx context.Context, tx pgx.Tx, source, topic string, lanes int) (*Held, error) {
	fence, err := lockRows(ctx, tx, source)
	if err != nil {
		return nil, err
	}
	all, err := Read(ctx, tx)
	if err != nil {
		return nil, err
	}
	p, ok := all[source]
	if !ok {
		p = Position{Topic: topic, Heads: Heads{}}
		if err := begin(ctx, tx, source, topic, 0, fence+1); err != nil {
			return nil, err
		}
	}
	if p.Topic != topic {
		return nil, &TopicError{Source: source, Have: p.Topic, Want: topic}
	}
	// What lanes know is joined in the keeper's row; lanes start empty. Rows of
	// lanes that this worker does not have go away.
	if _, err := tx.Exec(ctx, `DELETE FROM opmux.position WHERE stream = $1`, source); err != nil {
		return nil, err
	}
	for lane := Keeper; lane < lanes; lane++ {
		state := Position{Low: p.Low, Heads: p.Heads}
		if lane == Keeper {
			state = p
		}
		if err := setLane(ctx, tx, source, lane, fence+1, state); err != nil {
			return nil, err
		}
	}
	held := &Held{Position: p, Fence: fence + 1}
	return held, readRest(ctx, tx, source, held)
}

func readRest(ctx context.Context, tx pgx.Tx, source string, held *Held) error {
	s := Snapshot{Source: source, TopicID: held.Topic}
	err := tx.QueryRow(ctx, `SELECT start, mark, snapshot FROM opmux.snapshot WHERE stream = $1`, source).
		Scan(&s.Start, &s.Mark, &s.Snapshot)
	switch {
	case err == nil:
		held.Snapshot = &s
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	diverged, err := ReadDiverged(ctx, tx)
	if err != nil {
		return err
	}
	for _, d := range diverged {
		if d.Source == source {
			held.Diverged = append(held.Diverged, d)
		}
	}
	held.Standalone, err = readStandalone(ctx, tx, source)
	return err
}

func readStandalone(ctx context.Context, q Querier, source string) ([]Standalone, error) {
	rows, err := q.Query(ctx, `SELECT tx, invalid FROM opmux.standalone WHERE stream = $1 ORDER BY tx`, source)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Standalone, error) {
		var s Standalone
		var text string
		if err := row.Scan(&s.Offset, &text); err != nil {
			return s, err
		}
		var err error
		s.Invalid, err = parseOIDs(text)
		return s, err
	})
}

func parseOIDs(text string) ([]uint32, error) {
	var list []uint32
	for _, f := range strings.Fields(text) {
		oid, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("opmux.standalone: %w", err)
		}
		list = append(list, uint32(oid))
	}
	return list, nil
}
