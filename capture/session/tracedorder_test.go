package session

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// images reads rows from words "name:command:was>became", of which each may be empty.
func images(words string) []taken {
	var rows []taken
	for _, w := range strings.Fields(words) {
		p := strings.Split(w, ":")
		was, became, _ := strings.Cut(p[2], ">")
		row := taken{note: p[0], command: p[1], was: was, became: became}
		if row.note == "truncate" {
			row.what = catalog.TakenTruncate
		}
		rows = append(rows, row)
	}
	return rows
}

// I6: rows come behind those that they were made of, and nothing else moves.
func TestI6ImagesAreInTheOrderOfTheWrites(t *testing.T) {
	for name, c := range map[string]struct{ kept, want string }{
		"as they came":                                  {"a:1:>A b:2:A>B c:1:>C x:: d:3:B>", "a b c x d"},
		"a row that was passed over":                    {"a:1:>A b:3:B>b c::>B d:4:b>", "a c b d"},
		"passed over twice":                             {"a:3:B>b c:2:A>B d::>A", "d c a"},
		"a function that writes while its command does": {"f:2:A>F a:1:X>A b:1:Y>B", "a f b"},
		"what its command wrote before comes with it":   {"f:2:B>F a:1:X>A b:1:Y>B c:1:Z>C", "a b f c"},
		"a command began when all was there":            {"f:2:Q>q g:2:B>F a:1:X>A b:1:Y>B c:1:Z>C", "a b f g c"},
		"two levels":                                    {"g:3:F>G f:2:A>F h:2:Q>q a:1:X>A b:1:Y>B", "a f g h b"},
		"a place that comes again behind a TRUNCATE":    {"a:1:>A b:2:A>B truncate:: c:3:>A d:5:E>F e:4:>E", "a b truncate c e d"},
		"other places of one name":                      {"a:1:>A b:2:C> c:3:C>D", "a b c"},
	} {
		got, err := inWriteOrder(images(c.kept))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var names []string
		for _, r := range got {
			names = append(names, r.note)
		}
		if s := strings.Join(names, " "); s != c.want {
			t.Errorf("%s: %s, want %s", name, s, c.want)
		}
	}
	for _, kept := range []string{"a:1:B>A b:1:A>B", "a:1:D>A b:2:A>B c:1:B>C d:2:C>D"} {
		if _, err := inWriteOrder(images(kept)); !errors.Is(err, errNoOrder) {
			t.Errorf("%s: %v, want an error", kept, err)
		}
	}
}

// I6: a key that early rows had is told from that of another row.
func TestI6KeysOfEarlyRows(t *testing.T) {
	table := &tracedTable{self: &catalog.Table{Schema: "s", Name: "t"}, root: &catalog.Table{Schema: "s", Name: "t"}, key: &catalog.Key{}, keyAt: []int{0}}
	values := func(key string) []event.Value {
		if key == "" {
			return nil
		}
		return []event.Value{{Text: []byte(key)}}
	}
	// Words are "note:was>became:key>key".
	for words, last := range map[string]bool{
		"early:>A:>1 :A>B:1>1 :B>:1> :>C:>1":      true,
		"early:>A:>1 :B>:1>":                      false, // deleted before, says the key
		":B>:1> early:>A:>1":                      true,
		"early:A>:1> :>B:>1":                      true,
		"early:A>B:1>2 :C>D:3>1 :B>E:2>3":         true,
		"early:A>B:1>2 :>D:>2":                    false,
		"early:A>B:1>1 :C>D:1>1":                  false,
		":>A:>1 :B>:1>":                           true, // not early: the order is known
		"early:A>B:1>2 :B>A:2>1 early:A>B:1>2":    true,
		"early:>A:>1 :A>B:1>5 :>C:>1 :C>D:1>1":    true,
		"early:>A:>1 :A>B:1>5 :>C:>1 early:X>:1>": false,
	} {
		tk, ok := &take{}, false
		list := strings.Fields(words)
		for i, w := range list {
			p := strings.Split(w, ":")
			was, became, _ := strings.Cut(p[1], ">")
			before, after, _ := strings.Cut(p[2], ">")
			if ok = tk.follows(table, &taken{note: p[0], was: was, became: became}, values(before), values(after)); !ok && i < len(list)-1 {
				t.Errorf("%s: %s is refused", words, w)
			}
		}
		if ok != last {
			t.Errorf("%s: %v, want %v", words, ok, last)
		}
	}
}

// I7: of a table with too many early rows, others are refused, and those of other tables are not.
func TestI7EarlyKeysAreBounded(t *testing.T) {
	table := &tracedTable{root: &catalog.Table{Schema: "s", Name: "t"}, keyAt: []int{0}}
	other := &tracedTable{root: &catalog.Table{Schema: "s", Name: "other"}, keyAt: []int{0}}
	var h keyHolders
	early := &taken{note: catalog.NoteEarly}
	for i := range maxHolders + 9 {
		if !h.holds(table, early, []event.Value{{Text: []byte{byte(i), byte(i >> 8), byte(i >> 16)}}}, 0, 1) {
			t.Fatal("a key of its own is refused")
		}
	}
	fresh := []event.Value{{Text: []byte("fresh")}}
	if len(h.holders) > maxHolders || h.holds(table, &taken{}, fresh, 0, 1) || !h.holds(other, &taken{}, slices.Clone(fresh), 0, 1) {
		t.Errorf("%d keys are remembered; a table of more is refused: %v, another: %v", len(h.holders), !h.holds(table, &taken{}, fresh, 0, 1), !h.holds(other, &taken{}, fresh, 0, 1))
	}
}
