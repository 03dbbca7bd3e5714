package verify

import (
	"fmt"
	"testing"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

// rig drives a joiner as partition does, with a clock of its own.
type rig struct {
	t        *testing.T
	j        *joiner
	now      time.Time
	offset   int64 // next one of the partition
	log      []*event.DigestRecord
	verdicts []*event.VerdictRecord
	unacked  []*place
	absence  map[string]absence
	ops      map[event.TxID]finding // what a look-up finds
	lookups  int
	manual   bool // acknowledge verdicts by hand
}

const testTimeout = testkit.Patience

func newRig(t *testing.T, targets ...string) *rig {
	r := &rig{t: t, now: time.Unix(1_800_000_000, 0), absence: map[string]absence{}, ops: map[event.TxID]finding{}}
	r.start(targets, 1<<20, 0)
	return r
}

// start begins a life of the verifier, at the offset that the group has.
func (r *rig) start(targets []string, memory, committed int64) {
	r.j = newJoiner(Config{Level: event.LevelCount, Timeout: testTimeout}, targets, memory, committed)
	r.j.say = func(v *event.VerdictRecord, pl *place) {
		r.verdicts = append(r.verdicts, v)
		r.unacked = append(r.unacked, pl)
	}
	r.j.absent = func(target string, _ int64, _ time.Time) absence {
		if a, ok := r.absence[target]; ok {
			return a
		}
		return absence{Verdict: event.VerdictMissing, Reason: "no digest"}
	}
}

// restart kills the verifier; the next life starts at the committed offset less
// the warm-up.
func (r *rig) restart(warm int64) {
	committed := r.j.floor(r.offset)
	targets, memory := r.j.targets, r.j.max
	r.unacked = nil
	r.start(targets, memory, committed)
	for o := max(0, committed-warm); o < r.offset; o++ {
		r.j.take(o, r.log[o], r.now)
		r.settle(o + 1)
	}
	r.settle(r.offset)
}

// feed appends a record to the partition and joins it.
func (r *rig) feed(rec *event.DigestRecord) {
	r.log = append(r.log, rec)
	r.j.take(r.offset, rec, r.now)
	r.offset++
	r.settle(r.offset)
}

func (r *rig) settle(position int64) {
	r.j.tick(r.now)
	if len(r.j.doubtful) > 0 {
		r.j.confirm(r.offset)
	}
	r.j.advance(position, r.now)
	for _, e := range r.j.takeWanted() {
		r.lookups++
		r.j.looked(e, r.ops[e.tx])
	}
	if !r.manual {
		r.ack()
	}
}

func (r *rig) ack() {
	for _, pl := range r.unacked {
		r.j.acked(pl)
	}
	r.unacked = nil
}

func (r *rig) pass(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end); {
		r.now = r.now.Add(min(time.Second, end.Sub(r.now)))
		r.settle(r.offset)
	}
}

// want checks the verdicts since the last call, as "target:verdict counts".
func (r *rig) want(want ...string) {
	r.t.Helper()
	var got []string
	for _, v := range r.verdicts {
		got = append(got, brief(v))
	}
	r.verdicts = nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Fatalf("verdicts are %v, want %v", got, want)
	}
}

func (r *rig) wantFloor(want int64) {
	r.t.Helper()
	if got := r.j.floor(r.offset); got != want {
		r.t.Fatalf("the group may be committed to %d, want %d", got, want)
	}
}

func (r *rig) wantEmpty() {
	r.t.Helper()
	if r.j.bytes != 0 || len(r.j.pending) != 0 || r.j.places.list.Len() != 0 || r.j.lingering.Len() != 0 || len(r.j.due) != 0 {
		r.t.Fatalf("left over: %d bytes, %d pending, %d places, %d lingering, %d due",
			r.j.bytes, len(r.j.pending), r.j.places.list.Len(), r.j.lingering.Len(), len(r.j.due))
	}
	r.wantFloor(r.offset)
}

func brief(v *event.VerdictRecord) string {
	s := v.Target + ":"
	for _, c := range []struct {
		name  string
		count int32
	}{{"match", v.Match}, {"mismatch", v.Mismatch}, {"missing", v.Missing}, {"skipped", v.Skipped}} {
		if c.count > 0 {
			s += fmt.Sprintf("%s=%d", c.name, c.count)
		}
	}
	return s
}

func txid(n int) event.TxID {
	return event.TxID{0: byte(n), 1: byte(n >> 8), 2: byte(n >> 16), 15: 1}
}

// primaryOf and backupOf make the digests of transaction n: one operation for
// each row count.
func primaryOf(n int, rows ...int64) *event.DigestRecord { return digestOf("", n, rows...) }

func backupOf(target string, n int, rows ...int64) *event.DigestRecord {
	return digestOf(target, n, rows...)
}

func digestOf(target string, n int, rows ...int64) *event.DigestRecord {
	rec := &event.DigestRecord{Source: "orders", Tx: txid(n), Offset: int64(n), Target: target, Level: event.LevelCount, Count: int32(len(rows))}
	for i, affected := range rows {
		op := event.OpDigest{Index: int32(i), Digest: event.Digest{SQLState: "00000", Affected: affected}}
		if target == "" {
			op.Statement = "update t set v = $1"
		}
		rec.Operations = append(rec.Operations, op)
	}
	return rec
}

func skipOf(target string, n int, count int32, reason string) *event.DigestRecord {
	return &event.DigestRecord{Source: "orders", Tx: txid(n), Offset: int64(n), Target: target, Level: event.LevelCount, Skipped: reason, Count: count}
}
