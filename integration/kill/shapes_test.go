package kill

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// errGivenUp is of a transaction that its client rolled back.
var errGivenUp = errors.New("rolled back by the client")

// shapes are the ways in which a token is written. Each says whether what
// commits was sent, and what came of it.
var shapes = []func(ctx context.Context, c *client, token string) (asked bool, err error){
	block, block, block, blockSimple, blockSimple, implicitBlock, implicitBlock, pipelined, pipelined, pipelined,
	autocommit, autocommit, autocommitSerial, autocommitSerial, autocommitSimple, autocommitSimple, serialBlock, serialBlock,
	savepoints, savepoints, newest, newest, givenUp, large, twoPhase, twoPhase,
}

func (c *client) hot() int { return c.random.IntN(hotRows) }

func exec(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	_, err := tx.Exec(ctx, sql, args...)
	return err
}

// inBlock runs f between BEGIN and COMMIT, each message on its own.
func (c *client) inBlock(ctx context.Context, f func(pgx.Tx) error) (bool, error) {
	tx, err := c.conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	if err := f(tx); err != nil {
		return false, err
	}
	return true, tx.Commit(ctx)
}

func block(ctx context.Context, c *client, token string) (bool, error) {
	hot := c.hot()
	return c.inBlock(ctx, func(tx pgx.Tx) error {
		if err := exec(ctx, tx, "INSERT INTO plain (token, hot) VALUES ($1, $2)", token, hot); err != nil {
			return err
		}
		return exec(ctx, tx, "UPDATE hot SET n = n + 1 WHERE id = $1", hot)
	})
}

func serialBlock(ctx context.Context, c *client, token string) (bool, error) {
	hot := c.hot()
	return c.inBlock(ctx, func(tx pgx.Tx) error {
		if err := exec(ctx, tx, "UPDATE hot SET n = n + 1 WHERE id = $1", hot); err != nil {
			return err
		}
		var id int
		return tx.QueryRow(ctx, "INSERT INTO serials (token, hot) VALUES ($1, $2) RETURNING id", token, hot).Scan(&id)
	})
}

// blockSimple is a whole block in one message.
func blockSimple(ctx context.Context, c *client, token string) (bool, error) {
	hot := c.hot()
	return c.simple(ctx, fmt.Sprintf("BEGIN; UPDATE hot SET n = n + 1 WHERE id = %d; INSERT INTO journal (token, hot) VALUES ('%s', %d); COMMIT", hot, token, hot))
}

// implicitBlock is two statements of one message, which commit together.
func implicitBlock(ctx context.Context, c *client, token string) (bool, error) {
	hot := c.hot()
	return c.simple(ctx, fmt.Sprintf("INSERT INTO serials (token, hot) VALUES ('%s', %d); UPDATE hot SET n = n + 1 WHERE id = %d", token, hot, hot))
}

func autocommitSimple(ctx context.Context, c *client, token string) (bool, error) {
	return c.simple(ctx, fmt.Sprintf("INSERT INTO plain (token) VALUES ('%s')", token))
}

func (c *client) simple(ctx context.Context, sql string) (bool, error) {
	return true, c.conn.PgConn().Exec(ctx, sql).Close()
}

// pipelined sends a block without waiting for answers.
func pipelined(ctx context.Context, c *client, token string) (bool, error) {
	hot := c.hot()
	var b pgx.Batch
	b.Queue("BEGIN")
	b.Queue("INSERT INTO journal (token, hot) VALUES ($1, $2)", token, hot)
	b.Queue("UPDATE hot SET n = n + 1 WHERE id = $1", hot)
	b.Queue("COMMIT")
	return true, c.conn.SendBatch(ctx, &b).Close()
}

func autocommit(ctx context.Context, c *client, token string) (bool, error) {
	_, err := c.conn.Exec(ctx, "INSERT INTO journal (token) VALUES ($1)", token)
	return true, err
}

func autocommitSerial(ctx context.Context, c *client, token string) (bool, error) {
	var id int
	return true, c.conn.QueryRow(ctx, "INSERT INTO serials (token) VALUES ($1) RETURNING id", token).Scan(&id)
}

// savepoints takes back a part, whose token must be nowhere.
func savepoints(ctx context.Context, c *client, token string) (bool, error) {
	hot := c.hot()
	return c.inBlock(ctx, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"SAVEPOINT a", fmt.Sprintf("INSERT INTO journal (token, hot) VALUES ('%s undone', %d)", token, hot), "ROLLBACK TO a",
			fmt.Sprintf("INSERT INTO journal (token, hot) VALUES ('%s', %d)", token, hot),
		} {
			if err := exec(ctx, tx, sql); err != nil {
				return err
			}
		}
		return exec(ctx, tx, "UPDATE hot SET n = n + 1 WHERE id = $1", hot)
	})
}

// newest replaces what the client wrote before, so that order counts.
func newest(ctx context.Context, c *client, token string) (bool, error) {
	return c.inBlock(ctx, func(tx pgx.Tx) error {
		if err := exec(ctx, tx, "INSERT INTO plain (token) VALUES ($1)", token); err != nil {
			return err
		}
		return exec(ctx, tx, `INSERT INTO newest (client, token, times) VALUES ($1, $2, 1)
			ON CONFLICT (client) DO UPDATE SET token = excluded.token, times = newest.times + 1`, c.random.IntN(2), token)
	})
}

// givenUp rolls back.
func givenUp(ctx context.Context, c *client, token string) (bool, error) {
	tx, err := c.conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	if err := exec(ctx, tx, "INSERT INTO serials (token) VALUES ($1)", token); err != nil {
		return false, err
	}
	if err := tx.Rollback(ctx); err != nil {
		return false, err
	}
	return false, errGivenUp
}

// large is more than one record.
func large(ctx context.Context, c *client, token string) (bool, error) {
	return c.inBlock(ctx, func(tx pgx.Tx) error {
		if err := exec(ctx, tx, "INSERT INTO filler SELECT $1, i, repeat(md5(i::text), $2) FROM generate_series(1, $3) i",
			token, fillerBytes/32, fillerRows); err != nil {
			return err
		}
		return exec(ctx, tx, "INSERT INTO journal (token) VALUES ($1)", token)
	})
}
