package avro

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"

	"github.com/opmux/opmux/event"
)

func TestRegistryGivesConfluentsFormat(t *testing.T) {
	c, err := NewWithRegistry(t.Context(), RegistryConfig{URL: registryServer(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range samples() {
		value, err := c.EncodeRecord(want)
		if err != nil {
			t.Fatal(err)
		}
		if value[0] != 0 || binary.BigEndian.Uint32(value[1:]) < 100 {
			t.Fatalf("begins with %x", value[:5])
		}
		if got, err := c.DecodeRecord(value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
		}
		single, err := New().EncodeRecord(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.DecodeRecord(single); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("single-object encoding: %v", err)
		}
	}
}

// A writer's schema that this build does not embed is fetched by its id; what
// it lacks gets the defaults, what it has more is left out.
func TestForeignSchemaIsDecodedWithDefaults(t *testing.T) {
	const older = `{"type": "record", "name": "VerdictRecord", "namespace": "opmux", "fields": [
		{"name": "source", "type": "string"}, {"name": "target", "type": "string"},
		{"name": "match", "type": "long"}, {"name": "news", "type": "string"}]}`
	c, err := NewWithRegistry(t.Context(), RegistryConfig{URL: registryServer(t, map[int]string{7: older})})
	if err != nil {
		t.Fatal(err)
	}
	codec, err := goavro.NewCodec(older)
	if err != nil {
		t.Fatal(err)
	}
	value, err := codec.BinaryFromNative([]byte{0, 0, 0, 0, 7}, map[string]any{"source": "orders", "target": "standby", "match": int64(3), "news": "x"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.DecodeVerdict(value)
	if want := (&event.VerdictRecord{Source: "orders", Target: "standby", Match: 3}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if _, err := c.DecodeRecord(value); err == nil || !strings.Contains(err.Error(), "opmux.VerdictRecord came") {
		t.Errorf("a verdict passes for a record: %v", err)
	}
	var unknown *UnknownSchemaError
	if _, err := c.DecodeVerdict([]byte{0, 0, 0, 0, 8}); !errors.As(err, &unknown) || unknown.ID != 8 {
		t.Errorf("%v", err)
	}
}

// An older record schema lacks fields with defaults: they are filled in.
func TestOlderRecordGetsDefaults(t *testing.T) {
	c := New()
	text := c.newest[recordName].codec.Schema()
	for _, gone := range []string{
		`{"name":"first_chunk","type":"long","default":-1},`, `{"name":"hops","type":{"type":"array","items":"string"},"default":[]},`,
		`,{"name":"ascending","type":"boolean","default":true}`,
	} {
		compact := strings.Join(strings.Fields(text), "")
		if !strings.Contains(compact, gone) {
			t.Fatalf("the schema has no %s", gone)
		}
		text = strings.Replace(compact, gone, "", 1)
	}
	codec, err := goavro.NewCodec(text)
	if err != nil {
		t.Fatal(err)
	}
	want := samples()[0]
	newest := c.newest[recordName]
	value, err := c.EncodeRecord(want)
	if err != nil {
		t.Fatal(err)
	}
	datum, _, err := newest.codec.NativeFromBinary(value[len(newest.header):])
	if err != nil {
		t.Fatal(err)
	}
	old, err := codec.SingleFromNative(nil, datum)
	if err != nil {
		t.Fatal(err)
	}
	c.byFingerprint[codec.Rabin] = &schema{name: recordName, codec: codec}
	got, err := c.DecodeRecord(old)
	if err != nil {
		t.Fatal(err)
	}
	tx := want.Body.(*event.Transaction)
	tx.FirstChunk, tx.Hops = -1, nil
	tx.Operations[1].Sequences[0].Ascending = true
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got.Body, want.Body)
	}
}

func TestRegistryThatIsAwayIsAnError(t *testing.T) {
	if _, err := NewWithRegistry(t.Context(), RegistryConfig{URL: "http://127.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
}
