package avro

import (
	"reflect"
	"testing"

	"github.com/opmux/opmux/event"
)

// fill sets every field below v to something that is not zero, so that a field
// that the schemas forget is noticed.
func fill(v reflect.Value) {
	switch v.Interface().(type) {
	case event.OpKind:
		v.SetString(string(event.OpRows))
		return
	case event.Class:
		v.SetString(string(event.ClassPinned))
		return
	case event.Action:
		v.SetString(string(event.ActionUpsert))
		return
	case event.MarkPhase:
		v.SetString(string(event.MarkAnswer))
		return
	case event.Level:
		v.SetString(string(event.LevelFull))
		return
	case event.Verdict:
		v.SetString(string(event.VerdictMissing))
		return
	case event.Param, event.Value: // null and a value exclude each other
		fillFields(v)
		v.FieldByName("Null").SetBool(false)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("ä")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(-77)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(177)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		fillFields(v)
	default:
		panic("a field of kind " + v.Kind().String() + ", which this test should fill")
	}
}

func fillFields(v reflect.Value) {
	for i := range v.NumField() {
		if v.Field(i).Kind() != reflect.Interface { // Record.Body, which the test sets
			fill(v.Field(i))
		}
	}
}

func TestEveryFieldTravels(t *testing.T) {
	c := New()
	for _, body := range []event.Body{&event.Transaction{}, &event.Outcomes{}, &event.Chunk{}, &event.Fence{}, &event.Mark{}, &event.Void{}} {
		fill(reflect.ValueOf(body).Elem())
		want := &event.Record{Body: body}
		fill(reflect.ValueOf(want).Elem())
		value, err := c.EncodeRecord(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.DecodeRecord(value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", body.Kind(), err, got.Body, want.Body)
		}
		s := c.newest[recordName]
		if old, err := decodeOld(s, value[len(s.header):], recordFromNative); err != nil || !reflect.DeepEqual(old, want) {
			t.Errorf("%s through goavro: %v\n got %+v\nwant %+v", body.Kind(), err, old.Body, want.Body)
		}
	}
	d, v := &event.DigestRecord{}, &event.VerdictRecord{}
	fill(reflect.ValueOf(d).Elem())
	fill(reflect.ValueOf(v).Elem())
	dv, errD := c.EncodeDigest(d)
	vv, errV := c.EncodeVerdict(v)
	if errD != nil || errV != nil {
		t.Fatal(errD, errV)
	}
	if got, err := c.DecodeDigest(dv); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, d)
	}
	if got, err := c.DecodeVerdict(vv); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, v)
	}
	s := c.newest[digestName]
	if old, err := decodeOld(s, dv[len(s.header):], digestFromNative); err != nil || !reflect.DeepEqual(old, d) {
		t.Errorf("through goavro: %v\n got %+v\nwant %+v", err, old, d)
	}
	s = c.newest[verdictName]
	if old, err := decodeOld(s, vv[len(s.header):], verdictFromNative); err != nil || !reflect.DeepEqual(old, v) {
		t.Errorf("through goavro: %v\n got %+v\nwant %+v", err, old, v)
	}
}
