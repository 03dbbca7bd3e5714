package verify

import (
	"strings"
	"testing"
)

func TestI7_MemoryIsBoundedAndNothingIsLost(t *testing.T) {
	r := newRig(t, "standby")
	r.start([]string{"standby"}, 20_000, 0)
	const count = 300
	for n := range count {
		r.feed(primaryOf(n, 1))
	}
	if r.j.resume < 0 {
		t.Fatal("all were admitted: the test does not reach the bound")
	}
	for n := range count {
		rows := int64(1)
		if n%100 == 99 {
			rows = 0
		}
		r.feed(backupOf("standby", n, rows))
	}
	rounds := 0
	for {
		from, ok := r.j.rewind()
		if !ok {
			break
		}
		if rounds++; rounds > count {
			t.Fatal("rewinding does not come to an end")
		}
		for o := from; o < r.offset; o++ {
			r.j.take(o, r.log[o], r.now)
			if r.j.bytes > r.j.max+1000 {
				t.Fatalf("%d bytes are held, %d are allowed", r.j.bytes, r.j.max)
			}
			r.settle(o + 1)
		}
	}
	sum := totals(r.verdicts)
	if sum != (Totals{Match: count - 3, Mismatch: 3}) {
		t.Errorf("totals are %+v", sum)
	}
	r.wantEmpty()
}

func TestI7_LingeringGivesWay(t *testing.T) {
	r := newRig(t, "standby")
	r.start([]string{"standby"}, 20_000, 0)
	for n := range 10 {
		r.feed(primaryOf(n, 1))
	}
	r.pass(testTimeout)
	if len(r.verdicts) != 10 || r.j.lingering.Len() != 10 {
		t.Fatalf("%d verdicts, %d linger", len(r.verdicts), r.j.lingering.Len())
	}
	for n := 100; r.j.lingering.Len() > 0; n++ {
		r.feed(primaryOf(n, 1))
		if r.j.resume >= 0 {
			t.Fatal("a new transaction was passed over while others linger")
		}
	}
}

func TestOneLargeTransactionIsAdmitted(t *testing.T) {
	r := newRig(t, "standby")
	r.start([]string{"standby"}, 1000, 0)
	rows := make([]int64, 1000)
	r.feed(primaryOf(1, rows...))
	r.feed(backupOf("standby", 1, rows...))
	r.want("standby:match=1000")
	r.wantEmpty()
}

func TestStatementsAreShared(t *testing.T) {
	r := newRig(t, "standby")
	long := strings.Repeat("x", 1000)
	for n := range 10 {
		rec := primaryOf(n, 1)
		rec.Operations[0].Statement = strings.Clone(long)
		r.feed(rec)
	}
	if r.j.bytes > 11_000 {
		t.Errorf("%d bytes are counted for ten transactions that share a statement", r.j.bytes)
	}
}
