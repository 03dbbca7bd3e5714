package session

import (
	"bytes"
	"testing"

	"github.com/opmux/opmux/event"
)

func TestRecordValues(t *testing.T) {
	null := event.Value{Null: true}
	text := func(s string) event.Value { return event.Value{Text: []byte(s)} }
	for image, want := range map[string][]event.Value{
		`()`:                       {null},
		`(1)`:                      {text("1")},
		`(1,,x)`:                   {text("1"), null, text("x")},
		`(,)`:                      {null, null},
		`("")`:                     {text("")},
		`("a,b","c""d","e\\f")`:    {text("a,b"), text(`c"d`), text(`e\f`)},
		`("(1,""(2)"")",{1,NULL})`: nil, // below
		`("{""a"": 1}",ü)`:         {text(`{"a": 1}`), text("ü")},
	} {
		got, err := recordValues([]byte(image))
		if want == nil {
			want = []event.Value{text(`(1,"(2)")`), text("{1"), text("NULL}")}
		}
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %v, %v", image, got, err)
			continue
		}
		for i := range want {
			if got[i].Null != want[i].Null || !bytes.Equal(got[i].Text, want[i].Text) {
				t.Errorf("%s: field %d is %q, want %q", image, i+1, got[i].Text, want[i].Text)
			}
		}
	}
	for _, image := range []string{"", "(", ")", "1", `("a)`, `("a"b)`, `("a\b")`, `("a"""`} {
		if got, err := recordValues([]byte(image)); err == nil {
			t.Errorf("%q was read as %v", image, got)
		}
	}
}

// A value that PostgreSQL can print comes back as it was.
func FuzzRecordValues(f *testing.F) {
	f.Add([]byte(`(1,"a ""b""",)`), []byte(`x,"\`))
	f.Fuzz(func(t *testing.T, image, value []byte) {
		_, _ = recordValues(image) // it may be refused, and must not panic
		quoted := bytes.ReplaceAll(bytes.ReplaceAll(value, []byte(`\`), []byte(`\\`)), []byte(`"`), []byte(`""`))
		got, err := recordValues([]byte(`(,"` + string(quoted) + `",7)`))
		if err != nil || len(got) != 3 || !got[0].Null || !bytes.Equal(got[1].Text, value) || string(got[2].Text) != "7" {
			t.Errorf("%q came back as %v, %v", value, got, err)
		}
	})
}
