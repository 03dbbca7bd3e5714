package testkit

import (
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestPostgresSurvivesItsOwnCrash(t *testing.T) {
	t.Parallel()
	p := Postgres(t, WithTLS(), WithSCRAM(), WithConf("max_prepared_transactions = 3"))
	db := p.CreateDB(t)
	p.Exec(t, db, "CREATE TABLE a (id int PRIMARY KEY, v text)", "INSERT INTO a VALUES (1, 'x'), (2, NULL)")
	p.Kill(t)
	p.Start(t)
	p.Freeze(t)
	p.Thaw(t)
	rows := p.Query(t, db, "SELECT * FROM a ORDER BY id")
	if len(rows) != 2 || rows[0][1] != "x" || rows[1][1] != Null {
		t.Fatalf("rows after the crash: %v", rows)
	}
	if got := p.Query(t, db, "SHOW max_prepared_transactions")[0][0]; got != "3" {
		t.Errorf("max_prepared_transactions is %s, want 3", got)
	}
	p.Stop(t)
	p.Start(t)
	if got := p.Query(t, db, "SELECT count(*) FROM a")[0][0]; got != "2" {
		t.Errorf("%s rows after Stop and Start, want 2", got)
	}
}

func TestSharedPostgresIsOneServer(t *testing.T) {
	t.Parallel()
	a, b := SharedPostgres(t), SharedPostgres(t)
	if a != b {
		t.Fatal("two servers")
	}
	x, y := a.CreateDB(t), b.CreateDB(t)
	if x == y {
		t.Fatalf("CreateDB gave %s twice", x)
	}
	SameRows(t, "SELECT 1", a, x, b, y)
}

func TestEventuallyReturnsAtTheFirstSuccess(t *testing.T) {
	t.Parallel()
	calls := 0
	Eventually(t, time.Minute, func() error {
		calls++
		if calls < 3 {
			return os.ErrNotExist
		}
		return nil
	})
	if calls != 3 {
		t.Errorf("%d calls, want 3", calls)
	}
}
