package position

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/opmux/opmux/event"
)

func TestRangesAreASetOfOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Ranges
		model := map[int64]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			from := int64(rapid.IntRange(0, 60).Draw(t, "from"))
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				r.TrimBelow(from)
				for o := range model {
					if o < from {
						delete(model, o)
					}
				}
			case 1:
				to := from + int64(rapid.IntRange(0, 5).Draw(t, "length"))
				r.AddRange(from, to)
				for o := from; o < to; o++ {
					model[o] = true
				}
			default:
				r.Add(from)
				model[from] = true
			}
		}
		parsed, err := ParseRanges(r.String())
		if err != nil {
			t.Fatal(err)
		}
		var merged Ranges
		merged.Merge(parsed)
		if merged.String() != r.String() {
			t.Fatalf("%q became %q", r.String(), merged.String())
		}
		for o := int64(-1); o < 70; o++ {
			if r.Has(o) != model[o] {
				t.Fatalf("%s: Has(%d) is %v", r.String(), o, r.Has(o))
			}
		}
		for i := 1; i < len(r.list); i++ {
			if r.list[i-1].To >= r.list[i].From {
				t.Fatalf("%s is not in order or has neighbours that are not joined", r.String())
			}
		}
	})
}

func TestParseRangesRefuses(t *testing.T) {
	for _, text := range []string{"x", "1-", "5-3", "1,,2", "-"} {
		if _, err := ParseRanges(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestHeadsKeepTheirForm(t *testing.T) {
	h := Heads{
		{Agent: "a-ü", Epoch: 7}: {N: 3, Hash: []byte{1, 2}},
		{Agent: "b", Epoch: 2}:   {N: 9, Hash: []byte{3}, Ended: 11},
	}
	const want = `[{"a":"b","e":2,"n":9,"h":"Aw==","x":11},{"a":"a-\u00fc","e":7,"n":3,"h":"AQI="}]`
	if got := h.Encode(); got != want {
		t.Fatalf("got %s, expected %s", got, want)
	}
	back, err := ParseHeads(want)
	if err != nil || back.Encode() != want || back[event.EpochRef{Agent: "a-ü", Epoch: 7}].N != 3 {
		t.Fatalf("read back as %v, %v", back, err)
	}
	empty, err := ParseHeads(Heads{}.Encode())
	if err != nil || len(empty) != 0 {
		t.Fatalf("%v, %v", empty, err)
	}
}

func TestNotVisible(t *testing.T) {
	const snapshot = "100:110:100,105"
	for xid, want := range map[uint64]bool{99: false, 100: true, 101: false, 105: true, 109: false, 110: true, 1 << 40: true} {
		if got, err := NotVisible(snapshot, xid); err != nil || got != want {
			t.Errorf("NotVisible(%s, %d) is %v, %v", snapshot, xid, got, err)
		}
	}
	for _, bad := range []string{"", "1:2", "1:x:", "1:2:y"} {
		if _, err := NotVisible(bad, 1); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
