package apply

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/event"
)

// adds are transactions that each add to a row of t, and the offsets of them.
func (a *agent) adds(rows ...string) (offsets []int64) {
	for _, row := range rows {
		id, n, _ := strings.Cut(row, " ")
		op := text("UPDATE t SET n = n + $1 WHERE id = $2", n, id)
		op.Digest = event.Digest{SQLState: "00000", Affected: 1}
		offsets = append(offsets, a.commit(op))
	}
	return offsets
}

// setsFailed makes the rig's log one that is kept, and counts sets that failed.
func (r *rig) setsFailed() func() int {
	core, logs := observer.New(zap.InfoLevel)
	r.log = zap.New(core)
	return func() int {
		return logs.FilterMessage("sets of operations failed; running the group's operations one by one").Len()
	}
}

// A row that is missing on the target is found by the count, and told by the digest
// of the operation that should have hit it, and of no other. Where a group ends is up
// to what has been read by then, so it is tried until the operation was part of a set.
func TestSetThatDoesNotAddUpRunsOneByOne(t *testing.T) {
	for range 50 {
		switch failed := missingRowIsTold(t); {
		case failed == 1:
			return
		case failed > 1 || t.Failed():
			t.Fatalf("sets failed %d times, expected once", failed)
		}
	}
	t.Fatal("what hit no row was never part of a set")
}

// missingRowIsTold applies additions of which one hits no row, and returns how many
// sets failed.
func missingRowIsTold(t *testing.T) int {
	t.Helper()
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 0), (2, 0), (4, 0)")
	failed := r.setsFailed()
	offsets := r.agent("a1").adds("1 1", "2 1", "4 1", "1 2", "2 2", "1 4", "3 1", "4 2", "1 8", "2 4")
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	for i, offset := range offsets {
		want := int64(1)
		if i == 6 {
			want = 0
		}
		if d := r.digest(offset); d.Affected != want {
			t.Errorf("transaction %d: %d rows affected, expected %d", i, d.Affected, want)
		}
	}
	r.want("SELECT id, n FROM t ORDER BY id", "1|15 2|7 4|3")
	return failed()
}

// A sum that passes although one of its parts overflows is no set; the part is named.
func TestOverflowOnTheWayToASumIsFound(t *testing.T) {
	for name, test := range map[string]struct {
		start   int
		rows    []string
		culprit int // -1: there is none
		end     string
	}{
		"over":   {2147483640, []string{"1 1", "1 -1", "1 1", "1 -1", "1 5", "1 20", "1 -20", "1 1", "1 1"}, 5, "1|2147483645"},
		"under":  {-2147483640, []string{"1 1", "1 -1", "1 1", "1 -1", "1 -5", "1 -20", "1 20", "1 1", "1 1"}, 5, "1|-2147483645"},
		"within": {2147483640, []string{"1 1", "1 -1", "1 1", "1 -1", "1 7", "1 -20", "1 20", "1 -1", "1 1"}, -1, "1|2147483647"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY, n int)", fmt.Sprintf("INSERT INTO t VALUES (1, %d)", test.start))
			failed := r.setsFailed()
			offsets := r.agent("a1").adds(test.rows...)
			err := r.replay()
			var op *execute.OperationError
			switch {
			case test.culprit < 0 && (err != nil || failed() != 0):
				t.Errorf("sets failed %d times: %v", failed(), err)
			case test.culprit >= 0 && (!errors.As(err, &op) || op.Offset != offsets[test.culprit]):
				t.Errorf("got %v, expected an error that names offset %d", err, offsets[test.culprit])
			}
			r.want("SELECT id, n FROM t", test.end)
		})
	}
}

// A group is sent in parts while the rest is gathered: whichever part does not add up,
// nothing of the group stays, and it runs one by one.
func TestPartOfAGroupThatDoesNotAddUpTakesTheOthersBack(t *testing.T) {
	const transactions = 1_200
	for name, missing := range map[string]int{"none": -1, "first": 10, "second": 700, "last": 1_190} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t SELECT i, 0 FROM generate_series(0, 999) i")
			failed := r.setsFailed()
			a := r.agent("a1")
			first := r.end()
			for i := range transactions {
				id := i % 1_000
				if i == missing {
					id = -1
				}
				op := text("UPDATE t SET n = n + $1 WHERE id = $2", "1", fmt.Sprint(id))
				op.Digest = event.Digest{SQLState: "00000", Affected: 1}
				a.later(a.tx(op))
			}
			if err := r.replay(); err != nil {
				t.Fatal(err)
			}
			want := transactions
			if missing >= 0 {
				want--
				if d := r.digest(first + int64(missing)); d.Affected != 0 {
					t.Errorf("the digest of what hit no row has %d", d.Affected)
				}
				if d := r.digest(first + int64(missing) - 1); d.Affected != 1 {
					t.Errorf("the digest of the one before has %d rows", d.Affected)
				}
			}
			r.want("SELECT sum(n), max(n) FROM t", fmt.Sprintf("%d|2", want))
			if (failed() > 0) != (missing >= 0) {
				t.Errorf("sets failed %d times", failed())
			}
		})
	}
}
