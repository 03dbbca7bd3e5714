package verify

import "github.com/opmux/opmux/event"

// Totals are the operations of all transactions on all targets by verdict.
type Totals struct {
	Match    int64 `json:"match"`
	Mismatch int64 `json:"mismatch"`
	Missing  int64 `json:"missing"`
	Skipped  int64 `json:"skipped"`
}

// verdictKey is what has one verdict.
type verdictKey struct {
	tx     event.TxID
	source string
	target string
}

// tally adds verdicts up, each transaction and target once: of several verdicts
// the weightiest counts, and of equals the last.
type tally map[verdictKey]tallied

type tallied struct {
	weight                            int8
	match, mismatch, missing, skipped int32
}

func (t tally) add(v *event.VerdictRecord) {
	key := verdictKey{v.Tx, v.Source, v.Target}
	w := int8(weight(v))
	if old, ok := t[key]; ok && old.weight > w {
		return
	}
	t[key] = tallied{w, v.Match, v.Mismatch, v.Missing, v.Skipped}
}

func (t tally) into(sum *Totals) {
	for _, v := range t {
		sum.Match += int64(v.match)
		sum.Mismatch += int64(v.mismatch)
		sum.Missing += int64(v.missing)
		sum.Skipped += int64(v.skipped)
	}
}
