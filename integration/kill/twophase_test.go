package kill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// undefinedObject is the SQLSTATE of COMMIT PREPARED where there is nothing of that name.
const undefinedObject = "42704"

// twoPhase prepares a transaction and commits it, for as long as that takes, by way of
// whichever agent is there. What is not known to be prepared is left to endPrepared.
func twoPhase(ctx context.Context, c *client, token string) (bool, error) {
	for _, sql := range []string{"BEGIN", fmt.Sprintf("INSERT INTO journal (token) VALUES ('%s')", token)} {
		if _, err := c.conn.Exec(ctx, sql); err != nil {
			return false, err
		}
	}
	if _, err := c.conn.Exec(ctx, fmt.Sprintf("PREPARE TRANSACTION '%s'", token)); err != nil {
		return true, err
	}
	if c.random.IntN(2) == 0 {
		c.hangUp() // another session commits it, of either agent
	}
	return true, c.commitPrepared(ctx, token)
}

// commitPrepared tries until it is told that there is nothing to commit any more: the
// transaction was prepared, and nobody rolls it back.
func (c *client) commitPrepared(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backTimeout)
	defer cancel()
	for {
		err := c.tryCommitPrepared(ctx, token)
		var pg *pgconn.PgError
		if err == nil || errors.As(err, &pg) && pg.Code == undefinedObject {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *client) tryCommitPrepared(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	if err := c.connect(ctx); err != nil {
		return err
	}
	_, err := c.conn.Exec(ctx, fmt.Sprintf("COMMIT PREPARED '%s'", token))
	if c.conn.IsClosed() {
		c.conn = nil
	}
	return err
}

// endPrepared ends what clients have prepared without being told so.
func (w *world) endPrepared() {
	w.t.Helper()
	end := []string{"COMMIT", "ROLLBACK"}[w.random.IntN(2)]
	testkit.Eventually(w.t, backTimeout, func() error {
		rows, err := rig.Query(w.ctx, w.dsn("primary"), "SELECT gid FROM pg_prepared_xacts")
		for _, row := range rows {
			_, failed := rig.Query(w.ctx, w.agent().DSN(), fmt.Sprintf("%s PREPARED '%s'", end, row[0]))
			err = errors.Join(err, failed, fmt.Errorf("%s was prepared", row[0]))
		}
		return err
	})
}
