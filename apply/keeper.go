package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/apply/position"
)

// keeper is the session of a stream that writes what is not part of a group.
type keeper struct {
	*stream
	mu   sync.Mutex
	conn *pgx.Conn // nil: not connected
	// losses are execute.Confirmed's that the connection was made at.
	losses int64
}

func newKeeper(st *stream) *keeper { return &keeper{stream: st} }

func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn != nil {
		closeConn(k.conn)
		k.conn = nil
	}
}

// do runs something that may be done twice, until it succeeds or cannot.
func (k *keeper) do(ctx context.Context, f func(conn *pgx.Conn) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	troubled := false
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := k.try(ctx, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			if k.losses != k.shared.Losses() {
				continue // that server may not be the target any more
			}
			if troubled {
				k.trouble("", nil)
			}
			return nil
		}
		reason, again := execute.Transient(err)
		if !again {
			return err
		}
		k.trouble(reason, err)
		troubled = true
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

func (k *keeper) try(ctx context.Context, f func(conn *pgx.Conn) error) error {
	if err := k.reach(ctx); err != nil {
		return err
	}
	return f(k.conn)
}

// reach makes sure of a connection to a server that has all that was confirmed: what is
// written by it says that all of that is done.
func (k *keeper) reach(ctx context.Context) error {
	if k.conn != nil && k.conn.IsClosed() {
		k.shared.Lose()
		k.conn = nil
	}
	losses := k.shared.Losses()
	if k.conn != nil && k.losses == losses {
		return nil
	}
	if k.conn != nil {
		closeConn(k.conn)
		k.conn = nil
	}
	conn, err := k.connect(ctx)
	if err != nil {
		return err
	}
	if err := k.shared.Check(ctx, conn.PgConn(), k.source, k.held.Fence); err != nil {
		closeConn(conn)
		return err
	}
	k.conn, k.losses = conn, losses
	return nil
}

// look makes sure that the target still has what it has confirmed.
func (k *keeper) look(ctx context.Context) error {
	return k.do(ctx, func(conn *pgx.Conn) error {
		if err := k.shared.Check(ctx, conn.PgConn(), k.source, k.held.Fence); err != nil {
			return fmt.Errorf("looking at the position of stream %s on the target: %w", k.source, err)
		}
		return nil
	})
}

const saveSQL = `UPDATE opmux.position SET low = $4, done = $5, heads = $6 WHERE stream = $1 AND lane = $2 AND fence = $3`

// save stores a position, unless another worker has the stream (I4).
func (k *keeper) save(ctx context.Context, p position.Position) error {
	return k.do(ctx, func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, saveSQL, k.source, position.Keeper, k.held.Fence, p.Low, p.Done.String(), p.Heads.Encode())
		if err != nil {
			return fmt.Errorf("saving the position of stream %s on the target: %w", k.source, err)
		}
		if tag.RowsAffected() == 0 {
			return &position.FencedError{Source: k.source, Fence: k.held.Fence}
		}
		return nil
	})
}

// sequenceSQL moves sequences forward to their marks, never back, and returns
// those that do not exist: the same transaction has dropped them, or their
// creation was aborted. The mark of one that nothing was drawn from yet is the
// value before its first, which may be out of its bounds: it stays as it is. It
// does nothing once another worker has the stream. The keeper's row tells whether a
// server still has it.
//
// A sequence made with CYCLE, which comes round, goes where its latest mark is. Marks of transactions
// that ran beside one another come in any order, so one that is a little behind (up to a 16th of the
// round, and 1000 draws) is taken for older.
const sequenceSQL = `
WITH moved AS (UPDATE opmux.position SET seq = seq + 1 WHERE stream = $2 AND lane = $3 AND fence = $4 RETURNING seq)
SELECT p.seq, m.schema || '.' || m.name, CASE
	WHEN c.oid IS NULL THEN NULL
	WHEN t.value NOT BETWEEN q.seqmin AND q.seqmax THEN 0
	WHEN s.at IS NULL THEN pg_catalog.setval(c.oid, t.value)
	WHEN q.seqcycle AND t.behind <= least(t.round / 16, 1000 * abs(q.seqincrement::numeric)) THEN 0
	WHEN NOT q.seqcycle AND m.ascending AND s.at >= t.value THEN 0
	WHEN NOT q.seqcycle AND NOT m.ascending AND s.at <= t.value THEN 0
	ELSE pg_catalog.setval(c.oid, t.value) END
FROM pg_catalog.json_to_recordset($1::json) AS m(schema text, name text, value bigint, last bigint, ascending boolean)
CROSS JOIN moved p
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = m.schema
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = m.name AND c.relkind = 'S'
LEFT JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid
CROSS JOIN LATERAL (SELECT pg_catalog.pg_sequence_last_value(c.oid) AS at) s
CROSS JOIN LATERAL (SELECT CASE WHEN q.seqcycle THEN m.last ELSE m.value END AS value, q.seqmax::numeric - q.seqmin + 1 AS round,
	(CASE WHEN m.ascending THEN s.at::numeric - m.last ELSE m.last::numeric - s.at END + q.seqmax::numeric - q.seqmin + 1) % (q.seqmax::numeric - q.seqmin + 1) AS behind) t`

type markJSON struct {
	Schema    string `json:"schema"`
	Name      string `json:"name"`
	Value     int64  `json:"value"`
	Last      int64  `json:"last"`
	Ascending bool   `json:"ascending"`
}

// setSequences moves sequences to their marks.
func (k *keeper) setSequences(ctx context.Context, marks execute.Marks) error {
	if len(marks) == 0 {
		return nil
	}
	list := make([]markJSON, 0, len(marks))
	for _, m := range marks {
		list = append(list, markJSON{m.Schema, m.Name, m.Value, m.Last, m.Ascending})
	}
	text, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("sequence marks of source %s: %w", k.source, err)
	}
	return k.do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sequenceSQL, string(text), k.source, position.Keeper, k.held.Fence)
		if err != nil {
			return fmt.Errorf("source %s: moving sequences forward on the target (%s): %w", k.source, text, err)
		}
		var seq int64
		var name string
		var value *int64
		_, err = pgx.ForEachRow(rows, []any{&seq, &name, &value}, func() error {
			if value == nil {
				k.log.Warn("the target does not have a sequence that was drawn from", zap.String("sequence", name))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("source %s: moving sequences forward on the target (%s): %w", k.source, text, err)
		}
		if seq > 0 {
			k.shared.Note(position.Keeper, seq, k.losses) // where it is not taken, do does it again
		}
		return nil
	})
}
