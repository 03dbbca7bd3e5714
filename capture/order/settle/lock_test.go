package settle_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/internal/testkit"
)

func TestLockExcludes(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	dsn := pg.DSN(pg.CreateDB(t))
	take := func(source string, shared bool) (*settle.Lock, error) {
		l, err := settle.Acquire(context.Background(), dsn, source, shared)
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return l, err
	}
	first, err := take("orders", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, shared := range []bool{false, true} {
		if _, err := take("orders", shared); !errors.Is(err, settle.ErrLocked) {
			t.Errorf("shared %v beside one that excludes: %v", shared, err)
		}
	}
	if _, err := take("stock", false); err != nil {
		t.Errorf("another source: %v", err)
	}
	first.Close()
	first.Close()
	for range 2 {
		if _, err := take("orders", true); err != nil {
			t.Errorf("shared: %v", err)
		}
	}
	if _, err := take("orders", false); !errors.Is(err, settle.ErrLocked) {
		t.Errorf("excluding beside shared ones: %v", err)
	}
}

func TestLockIsLostWithItsConnection(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	l, err := settle.Acquire(context.Background(), pg.DSN(db), "orders", false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// It outlives the watcher's questions.
	select {
	case <-l.Lost():
		t.Fatal("lost while the connection lives")
	case <-time.After(2500 * time.Millisecond):
	}
	pg.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
	select {
	case <-l.Lost():
	case <-time.After(time.Second):
		t.Error("the loss is not noticed")
	}
}
