package verify

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

func totals(verdicts []*event.VerdictRecord) Totals {
	t := newTally()
	for _, v := range verdicts {
		t.add(v)
	}
	var sum Totals
	t.into(&sum)
	return sum
}

func verdict(n int, target string, match, mismatch, missing, skipped int32) *event.VerdictRecord {
	return &event.VerdictRecord{Source: "orders", Target: target, Tx: txid(n), Match: match, Mismatch: mismatch, Missing: missing, Skipped: skipped}
}

func TestTotalsCountOneVerdictPerTransactionAndTarget(t *testing.T) {
	for name, c := range map[string]struct {
		verdicts []*event.VerdictRecord
		want     Totals
	}{
		"duplicates":               {[]*event.VerdictRecord{verdict(1, "a", 2, 0, 0, 0), verdict(1, "a", 2, 0, 0, 0)}, Totals{Match: 2}},
		"two targets":              {[]*event.VerdictRecord{verdict(1, "a", 2, 0, 0, 0), verdict(1, "b", 0, 2, 0, 0)}, Totals{Match: 2, Mismatch: 2}},
		"late":                     {[]*event.VerdictRecord{verdict(1, "a", 0, 0, 2, 0), verdict(1, "a", 1, 1, 0, 0)}, Totals{Match: 1, Mismatch: 1}},
		"missing of a zombie":      {[]*event.VerdictRecord{verdict(1, "a", 2, 0, 0, 0), verdict(1, "a", 0, 0, 2, 0)}, Totals{Match: 2}},
		"skip after the real one":  {[]*event.VerdictRecord{verdict(1, "a", 2, 0, 0, 0), verdict(1, "a", 0, 0, 0, 2)}, Totals{Match: 2}},
		"skip before the real one": {[]*event.VerdictRecord{verdict(1, "a", 0, 0, 0, 2), verdict(1, "a", 2, 0, 0, 0)}, Totals{Match: 2}},
		"missing, then skipped":    {[]*event.VerdictRecord{verdict(1, "a", 0, 0, 2, 0), verdict(1, "a", 0, 0, 0, 2)}, Totals{Skipped: 2}},
		"replayed after a repair":  {[]*event.VerdictRecord{verdict(1, "a", 0, 2, 0, 0), verdict(1, "a", 2, 0, 0, 0)}, Totals{Match: 2}},
	} {
		if got := totals(c.verdicts); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestI7_SumReadsAgainRatherThanHoldEverything(t *testing.T) {
	codec := avro.New()
	var messages []topics.Message
	for round := range 2 {
		for n := range 1000 {
			v := verdict(n, "a", int32(round), 0, int32(1-round), 0)
			value, err := codec.EncodeVerdict(v)
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, topics.Message{Value: value})
		}
	}
	passes := 0
	got, err := sum(codec, 100, func(f func(topics.Message) error) error {
		passes++
		for _, m := range messages {
			if err := f(m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || got != (Totals{Match: 1000}) || passes < 10 {
		t.Errorf("%+v, %v after %d passes", got, err, passes)
	}
}

// What a verdict takes while it is held decides what `opmux verdicts` needs for a
// long stream: with ids of UUIDv7's kind, about 30 bytes, and less than 60.
func TestI7_AHeldVerdictIsSmall(t *testing.T) {
	const count, most = 300_000, 60
	r := rand.New(rand.NewPCG(1, 1))
	v := event.VerdictRecord{Source: "orders", Target: "standby"}
	before := inUse()
	held := newTally()
	for n := range count {
		binary.BigEndian.PutUint64(v.Tx[:], uint64(n)<<20)
		binary.BigEndian.PutUint64(v.Tx[8:], r.Uint64())
		v.Match = 1 + int32(n%7)
		held.add(&v)
	}
	each := float64(inUse()-before) / count
	if held.held != count || held.size() > count+100 {
		t.Errorf("%d verdicts are held, of size %d, want %d", held.held, held.size(), count)
	}
	t.Logf("%.1f bytes for each verdict", each)
	if each > most {
		t.Errorf("a verdict takes %.1f bytes, want less than %d", each, most)
	}
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Counts that hardly two transactions share are held too, so they count.
func TestI7_DifferentCountsAreBounded(t *testing.T) {
	held := newTally()
	const limit = 1000
	n := 0
	for ; held.size() <= limit; n++ {
		held.add(verdict(1, "a", int32(n+1), 0, 0, 0)) // always the same transaction
	}
	if n > limit {
		t.Errorf("%d different counts are held within a bound of %d", n, limit)
	}
}
