// Package avro gives event's types their bytes. The schemas are the .avsc files
// beside it, one for every published version; they are embedded, and a record is
// decoded by the schema that it was written with.
//
// A value is in Avro's single-object encoding (C3 01 and the schema's
// CRC-64-AVRO fingerprint), or, where a schema registry is configured, in
// Confluent's wire format (0 and the schema's id). Every codec reads both.
package avro

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"fmt"
	"sort"
	"sync"

	"github.com/linkedin/goavro/v2"

	"github.com/opmux/opmux/event"
)

//go:embed *.avsc
var files embed.FS

// HashSize is the length of Hash in bytes.
const HashSize = 16

// Hash is what the chain of an epoch consists of: the first 16 bytes of the
// SHA-256 of a record's value, as it was written to Kafka.
func Hash(value []byte) []byte {
	sum := sha256.Sum256(value)
	return append([]byte(nil), sum[:HashSize]...)
}

// UnknownSchemaError says that a value was written with a schema that this
// build, and the registry where there is one, does not know.
type UnknownSchemaError struct {
	Fingerprint uint64 // of single-object encoding, or 0
	ID          int    // of the registry, or 0
	Want        string // name of the record that was expected
}

func (e *UnknownSchemaError) Error() string {
	which := fmt.Sprintf("fingerprint %016x", e.Fingerprint)
	if e.Fingerprint == 0 {
		which = fmt.Sprintf("registry id %d", e.ID)
	}
	return fmt.Sprintf("avro: a value was expected to be a %s of a known schema, and names schema %s, which this build does not have: upgrade this program before the one that writes", e.Want, which)
}

// schema is one version of one record type.
type schema struct {
	name    string // full name of the record
	version int
	byHand  bool // read by hand: the newest, and those that it only adds to
	codec   *goavro.Codec
	header  []byte // what New's values of this schema begin with
}

// Codec encodes and decodes values. It is safe for concurrent use.
type Codec struct {
	newest        map[string]*schema // by record name
	byFingerprint map[uint64]*schema
	registry      *registry // nil without one
	contexts      *contexts

	mu   sync.RWMutex
	byID map[int]*schema // guarded by mu
}

// Versions of the record schema.
const (
	firstShort       = 3 // that names by number what is usual
	firstDefinitions = 4 // whose shapes have definitions
)

const (
	recordName  = "opmux.Record"
	digestName  = "opmux.DigestRecord"
	verdictName = "opmux.VerdictRecord"
)

// New returns a codec that writes single-object encoding.
func New() *Codec {
	c := &Codec{newest: map[string]*schema{}, byFingerprint: map[uint64]*schema{}, byID: map[int]*schema{}, contexts: &contexts{}}
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(fmt.Sprintf("avro: embedded schemas: %v", err)) // cannot be: they are part of the program
	}
	for _, e := range entries {
		s, err := loadSchema(e.Name())
		if err != nil {
			panic(fmt.Sprintf("avro: embedded schema %s: %v", e.Name(), err))
		}
		c.byFingerprint[s.codec.Rabin] = s
		if old := c.newest[s.name]; old == nil || old.version < s.version {
			c.newest[s.name] = s
		}
	}
	for _, s := range c.byFingerprint {
		s.byHand = s == c.newest[s.name] || s.name == recordName && s.version >= firstShort
	}
	return c
}

// loadSchema reads a file named <record>.<version>.avsc.
func loadSchema(file string) (*schema, error) {
	text, err := files.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var kind string
	var version int
	if _, err := fmt.Sscanf(dotsToSpaces(file), "%s %d avsc", &kind, &version); err != nil {
		return nil, fmt.Errorf("the name should be <record>.<version>.avsc: %w", err)
	}
	codec, err := goavro.NewCodec(string(text))
	if err != nil {
		return nil, err
	}
	header := binary.LittleEndian.AppendUint64([]byte{0xC3, 0x01}, codec.Rabin)
	return &schema{name: typeName(codec), version: version, codec: codec, header: header}, nil
}

func typeName(c *goavro.Codec) string {
	name := c.TypeName()
	return name.String()
}

func dotsToSpaces(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == '.' {
			b[i] = ' '
		}
	}
	return string(b)
}

// Schemas returns the text of every embedded schema, oldest version first, by
// the full name of its record.
func (c *Codec) Schemas() map[string][]string {
	list := make([]*schema, 0, len(c.byFingerprint))
	for _, s := range c.byFingerprint {
		list = append(list, s)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].version < list[j].version })
	all := map[string][]string{}
	for _, s := range list {
		all[s.name] = append(all[s.name], s.codec.Schema())
	}
	return all
}

// EncodeRecord returns the value of a record of an ops topic.
func (c *Codec) EncodeRecord(r *event.Record) ([]byte, error) {
	return encode(c.newest[recordName], r, writeRecord)
}

// DecodeRecord reads the value of a record of an ops topic. The result shares
// no memory with value.
func (c *Codec) DecodeRecord(value []byte) (*event.Record, error) {
	return decode(c, recordName, value, readRecord, recordFromNative)
}

// EncodeDigest returns the value of a record of a digests topic.
func (c *Codec) EncodeDigest(d *event.DigestRecord) ([]byte, error) {
	return encode(c.newest[digestName], d, writeDigestRecord)
}

// DecodeDigest reads the value of a record of a digests topic.
func (c *Codec) DecodeDigest(value []byte) (*event.DigestRecord, error) {
	return decode(c, digestName, value, readDigestRecord, digestFromNative)
}

// EncodeVerdict returns the value of a record of the verdicts topic.
func (c *Codec) EncodeVerdict(v *event.VerdictRecord) ([]byte, error) {
	return encode(c.newest[verdictName], v, writeVerdictRecord)
}

// DecodeVerdict reads the value of a record of the verdicts topic.
func (c *Codec) DecodeVerdict(value []byte) (*event.VerdictRecord, error) {
	return decode(c, verdictName, value, readVerdictRecord, verdictFromNative)
}

func encode[T any](s *schema, v *T, write func(*writer, *T)) ([]byte, error) {
	w := writer{b: append(make([]byte, 0, 512), s.header...)}
	write(&w, v)
	if w.err != nil {
		return nil, w.err
	}
	return w.b, nil
}

func decode[T any](c *Codec, name string, value []byte, read func(*reader, *T), fromNative func(native) *T) (*T, error) {
	s, body, err := c.schemaOf(name, value)
	if err != nil {
		return nil, err
	}
	if s.name != name {
		return nil, fmt.Errorf("avro: a %s was expected, and a %s came", name, s.name)
	}
	if !s.byHand {
		return decodeOld(s, body, fromNative)
	}
	out := new(T)
	r := reader{b: append([]byte(nil), body...), version: s.version, contexts: c.contexts}
	read(&r, out)
	if r.err == nil && len(r.b) > 0 {
		r.fail(fmt.Errorf("%d bytes are left over", len(r.b)))
	}
	if r.err != nil {
		return nil, fmt.Errorf("avro: damaged %s of %d bytes: %w", name, len(value), r.err)
	}
	return out, nil
}

// decodeOld reads what was written with another than the newest schema, and
// fills in the newest one's defaults for what that schema lacks.
func decodeOld[T any](s *schema, body []byte, fromNative func(native) *T) (*T, error) {
	datum, rest, err := s.codec.NativeFromBinary(body)
	if err != nil {
		return nil, fmt.Errorf("avro: damaged %s (version %d): %w", s.name, s.version, err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("avro: damaged %s (version %d): %d bytes are left over", s.name, s.version, len(rest))
	}
	n := native{first: new(error), version: s.version}
	if n.m, _ = datum.(map[string]any); n.m == nil {
		return nil, fmt.Errorf("avro: %s decodes to %T, not to a record", s.name, datum)
	}
	out := fromNative(n)
	if n.err() != nil {
		return nil, fmt.Errorf("avro: %s (version %d): %w", s.name, s.version, n.err())
	}
	return out, nil
}

// schemaOf finds the schema that value was written with.
func (c *Codec) schemaOf(want string, value []byte) (*schema, []byte, error) {
	switch {
	case len(value) >= 10 && value[0] == 0xC3 && value[1] == 0x01:
		f := binary.LittleEndian.Uint64(value[2:])
		if s := c.byFingerprint[f]; s != nil {
			return s, value[10:], nil
		}
		return nil, nil, &UnknownSchemaError{Fingerprint: f, Want: want}
	case len(value) >= 5 && value[0] == 0:
		id := int(binary.BigEndian.Uint32(value[1:]))
		s, err := c.byRegistryID(context.Background(), want, id)
		return s, value[5:], err
	}
	return nil, nil, fmt.Errorf("avro: a %s of %d bytes begins like neither encoding (C3 01 or 00): something else writes to this topic", want, len(value))
}
