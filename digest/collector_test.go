package digest

import (
	"reflect"
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
)

func TestCollectorNumbersWholeOperations(t *testing.T) {
	c := Collector{Normalise: strings.ToUpper}
	for _, op := range []event.Operation{
		{Kind: event.OpStatement, Text: "a", Digest: event.Digest{SQLState: "00000", Affected: 1}},
		{Kind: event.OpSavepoint, Text: "s"},
		{Kind: event.OpCopy, Text: "copy", More: true},
		{Kind: event.OpCopy, More: true},
		{Kind: event.OpCopy, Digest: event.Digest{SQLState: "00000", Affected: 9}},
		{Kind: event.OpSequence},
		{Kind: event.OpFlagged, Text: "do", Diverged: []string{"*"}},
		{Kind: event.OpRows, Text: "b", Digest: event.Digest{SQLState: "00000", Affected: 2, Hash: []byte{1}}},
	} {
		c.Add(&op)
	}
	var r event.DigestRecord
	c.Fill(&r)
	want := []event.OpDigest{
		{Index: 0, Statement: "A", Digest: event.Digest{SQLState: "00000", Affected: 1}},
		{Index: 2, Statement: "COPY", Digest: event.Digest{SQLState: "00000", Affected: 9}},
		{Index: 4, Statement: "DO", Skipped: "flagged: no target can follow it"},
		{Index: 5, Statement: "B", Digest: event.Digest{SQLState: "00000", Affected: 2, Hash: []byte{1}}},
	}
	if !reflect.DeepEqual(r.Operations, want) || r.Count != 4 || r.Skipped != "" {
		t.Errorf("got %+v\ncount %d, skipped %q\nwant %+v", r.Operations, r.Count, r.Skipped, want)
	}
}

func TestI7_CollectorIsBounded(t *testing.T) {
	var c Collector
	op := event.Operation{Kind: event.OpStatement, Text: "x"}
	for range MaxOperations {
		c.Add(&op)
	}
	var r event.DigestRecord
	if c.Fill(&r); len(r.Operations) != MaxOperations || r.Skipped != "" {
		t.Fatalf("at the bound: %d operations, skipped %q", len(r.Operations), r.Skipped)
	}
	c.Add(&op)
	c.Add(&op)
	if c.Fill(&r); r.Operations != nil || r.Skipped != TooMany || r.Count != MaxOperations+2 {
		t.Errorf("above the bound: %d operations, skipped %q, count %d", len(r.Operations), r.Skipped, r.Count)
	}
}

func TestCutKeepsCharacters(t *testing.T) {
	long := strings.Repeat("ä", event.MaxInfoText)
	got := cut("x" + long)
	if len(got) != event.MaxInfoText-1 || !strings.HasSuffix(got, "ä") {
		t.Errorf("cut to %d bytes ending in %q", len(got), got[len(got)-3:])
	}
}
