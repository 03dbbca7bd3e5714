package execute

import (
	"testing"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/shape"
)

// adding is a shape that adds its one parameter to a column.
func adding(column, param uint32, typmod int) *setShape {
	return &setShape{
		Statement: &shape.Statement{Action: event.ActionUpdate, Set: []shape.Item{{Column: "c", Kind: shape.Plus, Param: 1}}},
		formats:   []int16{0}, types: []uint32{param}, sum: []uint32{column},
		table: &facts{columns: []factColumn{{name: "c", oid: column, typmod: typmod}}},
	}
}

func TestSumsGoByTheHighestAndTheLowestValue(t *testing.T) {
	for _, test := range []struct {
		name   string
		s      *setShape
		values []string
		want   string // the three parts, or "" where there is no sum
	}{
		{"up and down", adding(oidInt4, oidInt4, -1), []string{"5", "-8", "2"}, "5 -8 2"},
		{"only down", adding(oidInt8, oidInt4, -1), []string{"-5", "-8"}, "0 -13 0"},
		{"out of the type on the way", adding(oidInt2, oidInt4, -1), []string{"30000", "30000", "-30000"}, ""},
		{"further down than the type is wide", adding(oidInt2, oidInt4, -1), []string{"20000", "-20000", "-20000"}, ""},
		{"no value of the column", adding(oidInt4, oidInt8, -1), []string{"1", "3000000000"}, ""},
		{"no value of the parameter", adding(oidInt8, oidInt4, -1), []string{"1", "3000000000"}, ""},
		{"decimals", adding(oidNumeric, oidNumeric, -1), []string{"0.5", "-0.75", "2"}, "1.75 -2.00 2.00"},
		{"rounded one by one", adding(oidNumeric, oidNumeric, 4+8<<16+1), []string{"0.5", "0.25"}, ""},
		{"as many digits as fit", adding(oidNumeric, oidNumeric, -1), []string{"999999999999999999", "-0.5"}, ""},
		{"more digits than fit", adding(oidNumeric, oidNumeric, -1), []string{"1", "1000000000000000000"}, ""},
		{"as far as it goes", adding(oidInt8, oidInt8, -1), []string{"9223372036854775807", "-9223372036854775807", "-1"}, "9223372036854775807 -9223372036854775808 0"},
		{"further than it goes", adding(oidInt8, oidInt8, -1), []string{"9223372036854775807", "-9223372036854775807", "-2"}, ""},
		{"beyond the largest", adding(oidInt8, oidInt8, -1), []string{"9223372036854775807", "1"}, ""},
		{"the smallest", adding(oidInt8, oidInt8, -1), []string{"-9223372036854775808"}, ""},
		{"small decimals", adding(oidNumeric, oidNumeric, -1), []string{"-0.05", "0.5"}, "0.45 -0.50 0.50"},
		{"no whole part", adding(oidNumeric, oidNumeric, -1), []string{".5"}, ""},
		{"two signs", adding(oidNumeric, oidNumeric, -1), []string{"--5"}, ""},
		{"not a number", adding(oidNumeric, oidNumeric, -1), []string{"1", "NaN"}, ""},
		{"a form of its own", adding(oidInt4, oidInt4, -1), []string{"1", "+1"}, ""},
	} {
		r := &running{}
		ok := true
		for _, v := range test.values {
			ok = ok && test.s.advance(r, &test.s.Set[0], []byte(v))
		}
		got := ""
		if p, _ := r.parts(); ok {
			got = string(r.text(p[0])) + " " + string(r.text(p[1])) + " " + string(r.text(p[2]))
		}
		if got != test.want {
			t.Errorf("%s: got %q, expected %q", test.name, got, test.want)
		}
	}
}

func TestEqualKeysHaveOneForm(t *testing.T) {
	for _, test := range []struct {
		f     family
		a, b  string
		equal bool // and b is known
	}{
		{integers, "7", "007", true}, {integers, "7", "8", false}, {integers, "7", " 7", false},
		{decimals, "7", "7", true}, {decimals, "7", "7.0", false},
		{texts, "a", "a", true}, {texts, "a", "a ", false},
		{uuids, "0189F7E5-0000-7000-8000-000000000001", "0189f7e5-0000-7000-8000-000000000001", true},
		{uuids, "0189f7e5-0000-7000-8000-000000000001", "{0189f7e5-0000-7000-8000-000000000001}", false},
		{dates, "2026-01-02", "2026-01-02", true}, {dates, "2026-01-02", "02.01.2026", false},
	} {
		a, known := canonical(nil, test.f, false, []byte(test.a))
		b, ok := canonical(nil, test.f, false, []byte(test.b))
		if equal := ok && string(a) == string(b); !known || equal != test.equal {
			t.Errorf("%q and %q: got %t, expected %t", test.a, test.b, equal, test.equal)
		}
	}
	day, _ := canonical(nil, dates, false, []byte("2000-01-11"))
	if same, ok := canonical(nil, dates, true, []byte{0, 0, 0, 10}); !ok || string(day) != string(same) {
		t.Error("a date has another form in binary")
	}
	if n, ok := canonical(nil, integers, true, []byte{0xff, 0xfe}); !ok || string(n) != "\x03" {
		t.Errorf("-2 in binary: %x", n)
	}
}
