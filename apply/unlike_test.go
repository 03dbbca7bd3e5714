package apply

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/event"
)

// Without a verifier, too, it is told that a target had diverged: an operation hits fewer
// rows there than it did on the primary. One that hits as many is not told of.
func TestOperationsUnlikeThePrimarysAreTold(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
	core, logs := observer.New(zap.WarnLevel)
	r.log = zap.New(core)
	a := r.agent("a1")
	a.commit(rowsOp(images(event.ActionUpdate, "t", "id", "v", "1 x", "2 y")))
	a.commit(rowsOp(images(event.ActionInsert, "t", "", "id v", "3 c")))
	at := a.commit(rowsOp(images(event.ActionUpdate, "t", "id", "v", "1 x", "7 y", "8 z")), rowsOp(images(event.ActionDelete, "t", "id", "", "9")))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id, v FROM t ORDER BY id", "1|x 2|y 3|c")
	told := logs.FilterMessageSnippet("another number of rows").All()
	if len(told) != 1 {
		t.Fatalf("told %d times, want once: %v", len(told), logs.All())
	}
	fields := told[0].ContextMap()
	if fields["offset"] != at || fields["rows"] != int64(1) || fields["on_the_primary"] != int64(3) || fields["of_the_transaction"] != int64(2) {
		t.Errorf("told %v", fields)
	}
}
