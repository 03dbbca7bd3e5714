package verify

import "github.com/opmux/opmux/event"

func totals(verdicts []*event.VerdictRecord) Totals {
	t := tally{}
	for _, v := range verdicts {
		t.add(v)
	}
	var sum Totals
	t.into(&sum)
	return sum
}
