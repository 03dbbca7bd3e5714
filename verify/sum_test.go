package verify

import (
	"testing"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

func totals(verdicts []*event.VerdictRecord) Totals {
	t := tally{}
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
