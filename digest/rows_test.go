package digest

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/opmux/opmux/event"
)

func text(values ...string) []event.Value {
	row := make([]event.Value, 0, len(values))
	for _, v := range values {
		row = append(row, event.Value{Text: []byte(v)})
	}
	return row
}

func sum(rows ...[]event.Value) []byte {
	var r Rows
	for _, row := range rows {
		r.Add(row)
	}
	return r.Sum()
}

func TestRowsTellApart(t *testing.T) {
	null := []event.Value{{Null: true}}
	forms := map[string][]byte{
		"nothing":          sum(),
		"a row of nothing": sum(text()),
		"empty text":       sum(text("")),
		"null":             sum(null),
		"a":                sum(text("a")),
		"a twice":          sum(text("a"), text("a")),
		"a three times":    sum(text("a"), text("a"), text("a")),
		"a b in one row":   sum(text("a", "b")),
		"ab":               sum(text("ab")),
		"b a in one row":   sum(text("b", "a")),
		"a, b in two rows": sum(text("a"), text("b")),
	}
	seen := map[string]string{}
	for name, s := range forms {
		if len(s) != Size {
			t.Errorf("%s: %d bytes, want %d", name, len(s), Size)
		}
		if other, ok := seen[string(s)]; ok {
			t.Errorf("%q and %q have the same sum", name, other)
		}
		seen[string(s)] = name
	}
}

func TestRowsSumIsStable(t *testing.T) {
	// Agents and workers of different builds compare these bytes.
	got := hex.EncodeToString(sum(text("1", "Ä"), []event.Value{{Null: true}, {Text: []byte("x")}}))
	if want := "de4fea6a83bd489ca0c21e90f6da3526"; got != want {
		t.Errorf("sum of the golden rows is %s, want %s", got, want)
	}
}

func TestRowsDoNotDependOnOrder(t *testing.T) {
	value := rapid.Custom(func(t *rapid.T) event.Value {
		if rapid.Bool().Draw(t, "null") {
			return event.Value{Null: true}
		}
		return event.Value{Text: rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "text")}
	})
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.SliceOfN(value, 0, 4), 0, 12).Draw(t, "rows")
		seed := rapid.Uint64().Draw(t, "seed")
		before := sum(rows...)
		shuffled := append([][]event.Value(nil), rows...)
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		if !bytes.Equal(before, sum(shuffled...)) {
			t.Fatalf("the sum of %v depends on the order", rows)
		}
		if len(rows) > 0 && bytes.Equal(before, sum(rows[1:]...)) {
			t.Fatalf("the sum of %v does not notice that a row is missing", rows)
		}
	})
}

func TestRowsSumThenAddMore(t *testing.T) {
	var r Rows
	r.Add(text("a"))
	first := r.Sum()
	r.Add(text("b"))
	if !bytes.Equal(first, sum(text("a"))) || !bytes.Equal(r.Sum(), sum(text("b"), text("a"))) {
		t.Error("Sum changed what is added after it")
	}
	if r.Count() != 2 {
		t.Errorf("Count is %d, want 2", r.Count())
	}
}

func TestI7_RowsAddDoesNotAllocate(t *testing.T) {
	var r Rows
	row := text("12345", "some text", "")
	r.Add(row)
	if n := testing.AllocsPerRun(100, func() { r.Add(row) }); n > 0 {
		t.Errorf("Add allocates %.0f times a row", n)
	}
}

func BenchmarkRowsAdd(b *testing.B) {
	var r Rows
	row := text("12345", "some text", "2026-01-01 00:00:00+00", "")
	for b.Loop() {
		r.Add(row)
	}
}
