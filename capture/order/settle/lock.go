package settle

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrLocked says that another agent holds the lock.
var ErrLocked = errors.New("another agent holds the source's lock on the primary")

// Lock is an advisory lock on the primary, held by a connection of its own for as
// long as that lives. Agents under gate none hold it alone, others share it.
type Lock struct {
	conn *pgx.Conn
	lost chan struct{}

	once   sync.Once
	cancel context.CancelFunc
}

// lockPatience is how long a lock is tried for: the connection of an agent that
// was killed may outlive it by a moment.
const lockPatience = 3 * time.Second

// Acquire takes the lock of a source. ErrLocked: others hold it in a way that
// excludes this one.
func Acquire(ctx context.Context, dsn, source string, shared bool) (*Lock, error) {
	cfg, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	// The server notices within half a minute that the agent's host is gone, and
	// nothing ends the connection merely because it is idle.
	cfg.RuntimeParams["tcp_keepalives_idle"] = "10"
	cfg.RuntimeParams["tcp_keepalives_interval"] = "5"
	cfg.RuntimeParams["tcp_keepalives_count"] = "4"
	cfg.RuntimeParams["application_name"] = "opmux lock"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting to the primary for the agent's lock: %w", err)
	}
	if err := acquire(ctx, conn, source, shared); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // the first error counts
		return nil, err
	}
	watch, cancel := context.WithCancel(context.Background())
	l := &Lock{conn: conn, lost: make(chan struct{}), cancel: cancel}
	go l.watch(watch)
	return l, nil
}

func acquire(ctx context.Context, conn *pgx.Conn, source string, shared bool) error {
	sum := sha256.Sum256([]byte("opmux\x00" + source))
	key := int64(binary.BigEndian.Uint64(sum[:8]))
	take := `SELECT pg_catalog.pg_try_advisory_lock($1)`
	if shared {
		take = `SELECT pg_catalog.pg_try_advisory_lock_shared($1)`
	}
	deadline := time.Now().Add(lockPatience)
	for {
		var got bool
		if err := conn.QueryRow(ctx, take, key).Scan(&got); err != nil {
			return fmt.Errorf("taking the agent's lock on the primary: %w", err)
		}
		if got {
			return nil
		}
		if time.Now().After(deadline) {
			return ErrLocked
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// watch reads the connection, so that its end is noticed at once, and asks the
// server between, so that its silence is noticed too.
func (l *Lock) watch(ctx context.Context) {
	defer close(l.lost)
	for {
		wait, cancel := context.WithTimeout(ctx, time.Second)
		_, err := l.conn.WaitForNotification(wait)
		timeout := wait.Err() != nil
		cancel()
		if ctx.Err() != nil {
			break
		}
		if err != nil && !timeout || l.conn.IsClosed() {
			break
		}
		ask, cancel := context.WithTimeout(ctx, 3*time.Second)
		err = l.conn.Ping(ask)
		cancel()
		if err != nil {
			break
		}
	}
	bounded, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.conn.Close(bounded) // given up either way
}

// Lost is closed when the lock is held no longer.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Close gives the lock up and waits until it is. It may be called twice.
func (l *Lock) Close() error {
	l.once.Do(l.cancel)
	<-l.lost
	return nil
}
