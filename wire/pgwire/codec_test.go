package pgwire

import (
	"bytes"
	"reflect"
	"testing"
)

func TestParseRoundTrip(t *testing.T) {
	in := ParseBody{Name: "s", Text: "SELECT $1", OIDs: []uint32{23, 0, 4000000000}}
	out, err := DecodeParse(in.Append(nil))
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Fatalf("got %+v, %v", out, err)
	}
}

func TestBindRoundTrip(t *testing.T) {
	in := BindBody{Portal: "p", Statement: "s", ResultFormats: []int16{1, 0},
		Params: []Param{{Value: []byte("a")}, {Null: true}, {Binary: true, Value: []byte{}}}}
	out, err := DecodeBind(in.Append(nil))
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Fatalf("got %+v, %v", out, err)
	}
}

func TestBindWithOneFormatForAll(t *testing.T) {
	body := appendCString(appendCString(nil, ""), "s")
	body = appendInt16(appendInt16(body, 1), 1) // one format: binary
	body = appendInt16(body, 2)
	body = appendValue(appendValue(body, []byte{1}, false), []byte{2}, false)
	body = appendInt16(body, 0)
	out, err := DecodeBind(body)
	if err != nil || !out.Params[0].Binary || !out.Params[1].Binary {
		t.Fatalf("got %+v, %v", out, err)
	}
}

func TestSplitDataRow(t *testing.T) {
	body := appendInt16(nil, 3)
	body = appendValue(appendValue(appendValue(body, []byte("one"), false), nil, true), []byte("three"), false)
	kept, rest, err := SplitDataRow(body, 1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := appendValue(appendInt16(nil, 1), []byte("one"), false); !bytes.Equal(kept, want) {
		t.Errorf("kept %x, want %x", kept, want)
	}
	if len(rest) != 2 || !rest[0].Null || string(rest[1].Value) != "three" {
		t.Errorf("rest is %+v", rest)
	}
}

func TestCutRowDescription(t *testing.T) {
	column := func(b []byte, name string) []byte { return append(appendCString(b, name), make([]byte, 18)...) }
	body := column(column(appendInt16(nil, 2), "a"), "b")
	cut, err := CutRowDescription(body, 1)
	if err != nil || !bytes.Equal(cut, column(appendInt16(nil, 1), "a")) {
		t.Fatalf("got %x, %v", cut, err)
	}
}

func TestRowTypes(t *testing.T) {
	column := func(b []byte, name string, table, typ, modifier int32) []byte {
		b = appendInt16(appendInt32(appendCString(b, name), table), 1)
		return appendInt16(appendInt32(appendInt16(appendInt32(b, typ), 4), modifier), 0)
	}
	types := func(table, typ, modifier int32, name string) string {
		s, err := RowTypes(column(column(appendInt16(nil, 2), name, table, typ, modifier), "hidden", 1, 23, -1), 1)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := types(1, 23, -1, "a")
	if again := types(2, 23, -1, "a"); again != first {
		t.Errorf("a table that was made again: %q and %q", first, again)
	}
	for _, other := range []string{types(1, 20, -1, "a"), types(1, 23, 8, "a"), types(1, 23, -1, "b")} {
		if other == first {
			t.Errorf("%q twice", other)
		}
	}
}

func TestFieldsRoundTrip(t *testing.T) {
	in := []Field{{FieldSeverity, "ERROR"}, {FieldCode, "42601"}, {FieldMessage, "no"}}
	out, err := DecodeFields(AppendFields(nil, in))
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Fatalf("got %+v, %v", out, err)
	}
}

func TestAffected(t *testing.T) {
	for tag, want := range map[string]int64{"INSERT 0 5": 5, "UPDATE 12": 12, "COMMIT": -1, "CREATE TABLE": -1, "": -1, "7": -1} {
		if got := Affected(tag); got != want {
			t.Errorf("Affected(%q) = %d, want %d", tag, got, want)
		}
	}
}

func TestWithoutChannelBinding(t *testing.T) {
	body := appendCString(appendCString(appendInt32(nil, AuthSASL), "SCRAM-SHA-256-PLUS"), "SCRAM-SHA-256")
	body = append(body, 0)
	want := append(appendCString(appendInt32(nil, AuthSASL), "SCRAM-SHA-256"), 0)
	if got, had := WithoutChannelBinding(body); !bytes.Equal(got, want) || !had {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSASLChoice(t *testing.T) {
	body := append(appendInt32(appendCString(nil, "SCRAM-SHA-256-PLUS"), 4), "y,,n"...)
	mechanism, first, err := SASLChoice(body)
	if err != nil || mechanism != "SCRAM-SHA-256-PLUS" || string(first) != "y,,n" || !BindsChannel(mechanism) {
		t.Errorf("got %q, %q, %v", mechanism, first, err)
	}
	if _, first, err := SASLChoice(appendInt32(appendCString(nil, "SCRAM-SHA-256"), -1)); err != nil || first != nil {
		t.Errorf("without a first message: got %q, %v", first, err)
	}
	for n := range len(body) {
		if _, _, err := SASLChoice(body[:n]); err == nil {
			t.Errorf("cut to %d bytes it is taken whole", n)
		}
	}
}

func TestCancelKeys(t *testing.T) {
	for n, want := range map[int]bool{0: false, 3: false, 4: true, 32: true, 256: true, 257: false} {
		if err := CheckCancelRequest(make([]byte, 8+n)); (err == nil) != want {
			t.Errorf("CancelRequest with a key of %d bytes: %v", n, err)
		}
		if err := CheckKeyData(make([]byte, 4+n)); (err == nil) != want {
			t.Errorf("BackendKeyData with a key of %d bytes: %v", n, err)
		}
	}
}

func TestStartup(t *testing.T) {
	body := appendInt32(nil, 3<<16)
	body = append(appendCString(appendCString(body, "user"), "me"), 0)
	if KindOfStartup(body) != StartupSession {
		t.Fatal("protocol 3.0 is not taken for a session")
	}
	params, err := StartupParams(body)
	if err != nil || params["user"] != "me" {
		t.Fatalf("got %v, %v", params, err)
	}
	if _, err := StartupParams(body[:len(body)-2]); err == nil {
		t.Error("a packet cut short is accepted")
	}
}

// FuzzDecoders: no input makes a decoder panic or read past its message.
func FuzzDecoders(f *testing.F) {
	f.Add(ParseBody{Name: "s", Text: "x", OIDs: []uint32{1}}.Append(nil))
	f.Add(BindBody{Params: []Param{{Value: []byte("v")}}}.Append(nil))
	f.Add(AppendFields(nil, []Field{{FieldCode, "00000"}}))
	f.Add([]byte{0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := DecodeParse(b); err == nil && !bytes.Equal(p.Append(nil), b) {
			t.Errorf("Parse %x does not survive a round trip", b)
		}
		// Each decoder may refuse; what counts is that it returns.
		for _, decode := range []func() error{
			func() error { _, err := DecodeBind(b); return err },
			func() error { _, err := DecodeTarget(b); return err },
			func() error { _, err := DecodeExecute(b); return err },
			func() error { _, err := DecodeFields(b); return err },
			func() error { _, err := DecodeParameterDescription(b); return err },
			func() error { _, _, err := DecodeParameterStatus(b); return err },
			func() error { _, err := CutRowDescription(b, 1); return err },
			func() error { _, err := RowTypes(b, 1); return err },
			func() error { _, _, err := SplitDataRow(b, 1, nil, nil); return err },
			func() error { _, err := StartupParams(b); return err },
			func() error { _, err := QueryText(b); return err },
		} {
			if err := decode(); err != nil && err.Error() == "" {
				t.Error("an error without words")
			}
		}
	})
}
