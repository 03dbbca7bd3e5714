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

// A record of another version names by number what only that version's tables say.
func TestForeignRecordSchemaIsRefused(t *testing.T) {
	newer := strings.Replace(New().newest[recordName].codec.Schema(), `{"name": "agent", "type": "string"},`, `{"name": "agent", "type": "string"}, {"name": "news", "type": "string"},`, 1)
	c, err := NewWithRegistry(t.Context(), RegistryConfig{URL: registryServer(t, map[int]string{7: newer})})
	if err != nil {
		t.Fatal(err)
	}
	var unknown *UnknownSchemaError
	if _, err := c.DecodeRecord([]byte{0, 0, 0, 0, 7, 0}); !errors.As(err, &unknown) || unknown.ID != 7 {
		t.Errorf("%v", err)
	}
}

// An older record schema lacks fields with defaults: they are filled in.
func TestOlderRecordGetsDefaults(t *testing.T) {
	c := New()
	text := strings.Join(strings.Fields(c.newest[recordName].codec.Schema()), "")
	for _, gone := range []string{
		`{"name":"lowest_reader","type":"int"},`, `,{"name":"recovery_lsn","type":"long","default":0,"doc":"unsigned64bits;0:notknown"}`,
	} {
		if !strings.Contains(text, gone) {
			t.Fatalf("the schema has no %s", gone)
		}
		text = strings.Replace(text, gone, "", 1)
	}
	codec, err := goavro.NewCodec(text)
	if err != nil {
		t.Fatal(err)
	}
	want := &event.Record{Agent: "a1", Body: &event.Fence{Gate: "none", LowestReader: 7, RecoveryLSN: 8}}
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
	c.byFingerprint[codec.Rabin] = &schema{name: recordName, version: 3, codec: codec}
	got, err := c.DecodeRecord(old)
	want.Body = &event.Fence{Gate: "none", LowestReader: 1}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

func TestRegistryThatIsAwayIsAnError(t *testing.T) {
	if _, err := NewWithRegistry(t.Context(), RegistryConfig{URL: "http://127.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
}
