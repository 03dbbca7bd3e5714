package position

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

func open(t *testing.T) (*testkit.PG, string, *pgx.Conn) {
	t.Helper()
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	conn := pg.Connect(t, db)
	if err := EnsureSchema(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	return pg, db, conn
}

func TestI4TakeOverJoinsWhatLanesHaveDone(t *testing.T) {
	pg, db, conn := open(t)
	ctx := t.Context()
	first, err := TakeOver(ctx, conn, "orders", "id1", 3)
	if err != nil || first.Low != 0 || first.Done.Len() != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	heads := Heads{event.EpochRef{Agent: "a", Epoch: 1}: {N: 4, Hash: []byte{1}}}
	pg.Exec(t, db,
		"UPDATE opmux.position SET low = 5, done = '7,9-10' WHERE lane = 0",
		"UPDATE opmux.position SET low = 8, done = '11-12', heads = '"+heads.Encode()+"' WHERE lane = 1",
	)
	second, err := TakeOver(ctx, conn, "orders", "id1", 2)
	if err != nil {
		t.Fatal(err)
	}
	if second.Fence <= first.Fence || second.Low != 8 || second.Done.String() != "9-12" || second.Heads.Encode() != heads.Encode() {
		t.Fatalf("%+v", second)
	}
	if got := pg.Query(t, db, "SELECT count(*) FROM opmux.position WHERE fence = 1"); got[0][0] != "0" {
		t.Fatalf("%s rows keep the old fence", got[0][0])
	}
	// What was joined is not forgotten by the one after.
	third, err := TakeOver(ctx, conn, "orders", "id1", 4)
	if err != nil || third.Low != 8 || third.Done.String() != "9-12" {
		t.Fatalf("%+v, %v", third, err)
	}
	var topic *TopicError
	if _, err := TakeOver(ctx, conn, "orders", "id2", 4); !errors.As(err, &topic) {
		t.Fatalf("another topic: %v", err)
	}
}

// TestI4TakeOverEndsFrozenSessions: the session of a worker that is frozen in
// mid-transaction holds its lane's row.
func TestI4TakeOverEndsFrozenSessions(t *testing.T) {
	pg, db, conn := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := TakeOver(ctx, conn, "orders", "id", 2); err != nil {
		t.Fatal(err)
	}
	frozen := pg.Connect(t, db)
	if _, err := frozen.Exec(ctx, "SELECT set_config('application_name', $1, false)", Application("orders")); err != nil {
		t.Fatal(err)
	}
	if _, err := frozen.Exec(ctx, "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := frozen.Exec(ctx, "UPDATE opmux.position SET low = 99"); err != nil {
		t.Fatal(err)
	}
	held, err := TakeOver(ctx, conn, "orders", "id", 2)
	if err != nil || held.Low != 0 {
		t.Fatalf("%+v, %v", held, err)
	}
	if _, err := frozen.Exec(ctx, "COMMIT"); err == nil {
		t.Fatal("the frozen session could commit")
	}
}

// TestI4TakeOverWaitsForWhatIsUnderWay: what a session commits while its lane's row is
// wanted is not forgotten, nor is the highest fence.
func TestI4TakeOverWaitsForWhatIsUnderWay(t *testing.T) {
	pg, db, conn := open(t)
	ctx := t.Context()
	if _, err := TakeOver(ctx, conn, "orders", "id", 2); err != nil {
		t.Fatal(err)
	}
	pg.Exec(t, db, "UPDATE opmux.position SET fence = 9 WHERE lane = 0")
	lane := pg.Connect(t, db)
	for _, sql := range []string{"BEGIN", "UPDATE opmux.position SET low = 7, done = '8-9' WHERE lane = 1"} {
		if _, err := lane.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	type result struct {
		held *Held
		err  error
	}
	taken := make(chan result)
	go func() {
		held, err := TakeOver(ctx, conn, "orders", "id", 2)
		taken <- result{held, err}
	}()
	testkit.Eventually(t, testkit.Patience, func() error {
		if rows := pg.Query(t, db, "SELECT FROM pg_locks WHERE NOT granted"); len(rows) == 0 {
			return errors.New("the take-over does not wait")
		}
		return nil
	})
	if _, err := lane.Exec(ctx, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if r := <-taken; r.err != nil || r.held.Low != 7 || r.held.Done.String() != "8-9" || r.held.Fence != 10 {
		t.Fatalf("%+v, %v", r.held, r.err)
	}
}

func TestSnapshotAndReset(t *testing.T) {
	pg, db, conn := open(t)
	ctx := t.Context()
	before, err := TakeOver(ctx, conn, "orders", "id", 1)
	if err != nil {
		t.Fatal(err)
	}
	pg.Exec(t, db, "INSERT INTO opmux.diverged VALUES ('orders', 'public.t', 'r', 's', 3)",
		"INSERT INTO opmux.standalone VALUES ('orders', 4, '11 12')")
	held, err := TakeOver(ctx, conn, "orders", "id", 1)
	if err != nil || len(held.Diverged) != 1 || len(held.Standalone) != 1 || len(held.Standalone[0].Invalid) != 2 {
		t.Fatalf("%+v, %v", held, err)
	}
	s := Snapshot{Source: "orders", Start: 50, Mark: 60, Snapshot: "10:20:", TopicID: "id"}
	if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return InstallSnapshot(ctx, tx, s) }); err != nil {
		t.Fatal(err)
	}
	fenced(t, conn, before.Fence+1)
	held, err = TakeOver(ctx, conn, "orders", "id", 1)
	if err != nil || held.Low != 50 || held.Origin != 50 || held.Snapshot == nil || *held.Snapshot != s ||
		len(held.Diverged)+len(held.Standalone) != 0 || held.Fence <= before.Fence {
		t.Fatalf("%+v, %v", held, err)
	}
	if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return Reset(ctx, tx, "orders", "other", 7) }); err != nil {
		t.Fatal(err)
	}
	all, err := Read(ctx, conn)
	if err != nil || all["orders"].Low != 7 || all["orders"].Topic != "other" {
		t.Fatalf("%+v, %v", all, err)
	}
	fenced(t, conn, held.Fence)
	if held, err = TakeOver(ctx, conn, "orders", "other", 1); err != nil || held.Snapshot != nil {
		t.Fatalf("%+v, %v", held, err)
	}
}

// fenced says that whoever holds the stream by a fence does not any more (I4).
func fenced(t *testing.T, conn *pgx.Conn, before int64) {
	t.Helper()
	if fence, err := Fence(t.Context(), conn, "orders"); err != nil || fence <= before {
		t.Fatalf("the fence is %d, and was %d (%v)", fence, before, err)
	}
}

func TestEnsureSchemaOfTwoAtOnce(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	errs := make(chan error)
	for range 4 {
		conn := pg.Connect(t, db)
		go func() { errs <- EnsureSchema(t.Context(), conn) }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
