package execute

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/apply/position"
)

// Confirmed is what the target has confirmed to the sessions of a stream. A server that
// crashes with synchronous_commit = off, or a standby that takes its place, may lack the
// last of that, while those who know of it go on from it: the transactions would be on no
// target, and nobody would look at them again. (I4)
type Confirmed struct {
	mu sync.Mutex
	// seqs are those of the rows of opmux.position, by lane.
	seqs map[int]int64
	// losses counts the connections that were lost. Whatever was confirmed on one from
	// before the last of them is looked at again, on another.
	losses int64
}

// Lose notes that a connection was lost, before there is another one.
func (c *Confirmed) Lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.losses++
}

// Losses are to be noted before a connection is made that Check is to pass.
func (c *Confirmed) Losses() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.losses
}

// Note notes what a lane's row has come to by a commit on a connection that was made at
// so many losses; false where others were lost since, and the commit may be gone.
func (c *Confirmed) Note(lane int, seq, losses int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if losses != c.losses {
		return false
	}
	if c.seqs == nil {
		c.seqs = map[int]int64{}
	}
	c.seqs[lane] = seq
	return true
}

const confirmedSQL = `SELECT lane, seq, fence FROM opmux.position WHERE stream = $1`

// Check fails with *position.LostError where a server lacks what was confirmed, and with
// *position.FencedError where another worker has the stream.
func (c *Confirmed) Check(ctx context.Context, conn *pgconn.PgConn, source string, fence int64) error {
	c.mu.Lock()
	want := make(map[int]int64, len(c.seqs))
	for lane, seq := range c.seqs {
		want[lane] = seq
	}
	c.mu.Unlock()
	result := conn.ExecParams(ctx, confirmedSQL, [][]byte{[]byte(source)}, []uint32{oidText}, nil, nil).Read()
	if result.Err != nil {
		return result.Err
	}
	have := map[int]int64{}
	for _, row := range result.Rows {
		lane, laneErr := strconv.Atoi(string(row[0]))
		seq, err := strconv.ParseInt(string(row[1]), 10, 64)
		if err = errors.Join(laneErr, err); err != nil {
			return fmt.Errorf("opmux.position on the target: %w", err)
		}
		if string(row[2]) != strconv.FormatInt(fence, 10) {
			return &position.FencedError{Source: source, Fence: fence}
		}
		have[lane] = seq
	}
	for lane, seq := range want {
		if have[lane] < seq {
			return &position.LostError{Source: source, Fence: fence, Lane: lane, Confirmed: seq, Found: have[lane]}
		}
	}
	return nil
}

// errGone is a commit that was confirmed by a server that is no longer the target's.
var errGone = errors.New("the target does not have a commit that it had confirmed")

// confirm notes the commit of the attempt that has just ended, and makes sure of it
// where the connection that confirmed it may have been to another server by now.
func (l *Lane) confirm(ctx context.Context) error {
	for !l.cfg.Shared.Note(l.cfg.Lane, l.seq+1, l.losses) {
		err := l.connect(ctx)
		if err == nil {
			return errors.Join(errClosed, errGone)
		}
		if !errors.Is(err, errCommitted) {
			return err
		}
	}
	return nil
}
