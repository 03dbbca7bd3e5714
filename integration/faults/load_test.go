package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// load is clients that write one token in each transaction, count it in a row that
// all share, and remember what they were told.
type load struct {
	s      *stage
	cancel context.CancelFunc
	all    sync.WaitGroup
	failed atomic.Int64

	mu    sync.Mutex
	acked []string
}

func (s *stage) load(clients int, dsn string) *load {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	l := &load{s: s, cancel: cancel}
	run := time.Now().UnixNano()
	for c := range clients {
		l.all.Go(func() { l.client(ctx, dsn, fmt.Sprintf("%d-%d", run, c)) })
	}
	s.t.Cleanup(l.stop)
	return l
}

func (l *load) client(ctx context.Context, dsn, name string) {
	var conn *pgx.Conn
	for seq := 0; ctx.Err() == nil; seq++ {
		token := fmt.Sprintf("load-%s-%d", name, seq)
		err := l.step(ctx, &conn, dsn, token, seq%4)
		if err == nil {
			l.mu.Lock()
			l.acked = append(l.acked, token)
			l.mu.Unlock()
			continue
		}
		l.failed.Add(1)
		if conn != nil && conn.IsClosed() {
			conn = nil
		}
		select { // a client that is refused does not try again at once
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	if conn != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // its server may be dead
	}
}

func (l *load) step(ctx context.Context, conn **pgx.Conn, dsn, token string, counter int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	if *conn == nil {
		if *conn, err = pgx.Connect(ctx, dsn); err != nil {
			*conn = nil
			return err
		}
	}
	tx, err := (*conn).Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback(ctx))
		}
	}()
	if _, err := tx.Exec(ctx, "INSERT INTO token (id) VALUES ($1)", token); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE counter SET v = v + 1 WHERE id = $1", counter); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// more waits for so many further acknowledged commits.
func (l *load) more(n int) {
	l.s.t.Helper()
	want := l.count() + n
	l.s.eventually(func() error {
		if have := l.count(); have < want {
			return fmt.Errorf("%d acknowledged commits, want %d", have, want)
		}
		return nil
	})
}

// fails waits for a further failure.
func (l *load) fails() {
	l.s.t.Helper()
	before := l.failed.Load()
	l.s.eventually(func() error {
		if l.failed.Load() == before {
			return errors.New("no transaction has failed")
		}
		return nil
	})
}

// stop ends the clients; it may be called twice.
func (l *load) stop() {
	l.cancel()
	l.all.Wait()
}

// check demands that the sides are the same, that everything acknowledged is there,
// and that each token is counted once.
func (l *load) check() {
	l.s.t.Helper()
	l.stop()
	l.s.identical()
	have := map[string]bool{}
	for _, row := range l.s.query(l.s.backup(), "SELECT id FROM token WHERE id LIKE 'load-%'") {
		have[row[0]] = true
	}
	for _, token := range l.acked {
		if !have[token] {
			l.s.t.Errorf("%s was acknowledged and is not on the backup", token)
		}
	}
	sum := l.s.query(l.s.backup(), "SELECT (SELECT sum(v) FROM counter) - (SELECT count(*) FROM token WHERE id LIKE 'load-%')")[0][0]
	if sum != "0" {
		l.s.t.Errorf("tokens counted less tokens there: %s", sum)
	}
}
