package avro

import (
	"fmt"

	"github.com/opmux/opmux/event"
)

// native is a record as goavro decodes it, for values that were not written
// with the newest schema. A field that the writer's schema lacks yields the
// default that the caller names, which is the newest schema's. The first error
// is kept and shared by all parts of a value.
type native struct {
	m       map[string]any
	first   *error
	version int // of the writer's schema; 0: fetched from a registry
}

func (n native) err() error {
	if n.first == nil {
		return nil
	}
	return *n.first
}

func (n native) wrong(field string, v any) {
	if n.first != nil && *n.first == nil {
		*n.first = fmt.Errorf("field %s is a %T, which this build does not expect there", field, v)
	}
}

// field returns a field of type T, or def where the writer had no such field.
func field[T any](n native, name string, def T) T {
	v, ok := n.m[name]
	if !ok {
		return def
	}
	t, ok := v.(T)
	if !ok {
		n.wrong(name, v)
		return def
	}
	return t
}

func (n native) str(name string) string           { return field(n, name, "") }
func (n native) bool(name string, def bool) bool  { return field(n, name, def) }
func (n native) fixed(name string, dst []byte)    { copy(dst, field[[]byte](n, name, nil)) }
func (n native) int(name string, def int32) int32 { return int32(n.long(name, int64(def))) }
func (n native) record(name string) native        { n.m = field(n, name, map[string]any{}); return n }

// enum returns "" for unset.
func (n native) enum(name string) string {
	if v := n.str(name); v != unset {
		return v
	}
	return ""
}

func (n native) bytes(name string) []byte {
	if b := field[[]byte](n, name, nil); len(b) > 0 {
		return b
	}
	return nil
}

// long accepts int as well, which Avro promotes.
func (n native) long(name string, def int64) int64 {
	switch v := n.m[name].(type) {
	case nil:
		return def
	case int64:
		return v
	case int32:
		return int64(v)
	default:
		n.wrong(name, v)
		return def
	}
}

// branch unwraps a union: the full name of the type that it holds and its
// value; "" for null.
func branch(v any) (string, any) {
	if m, ok := v.(map[string]any); ok && len(m) == 1 {
		for name, inner := range m {
			return name, inner
		}
	}
	return "", nil
}

func nativeBytes(v any) (null bool, b []byte) {
	name, inner := branch(v)
	if name == "" {
		return true, nil
	}
	if b, _ = inner.([]byte); len(b) == 0 {
		return false, nil
	}
	return false, b
}

// list maps the items of an array of records.
func list[T any](n native, name string, item func(native) T) []T {
	var out []T
	for _, v := range field[[]any](n, name, nil) {
		m, ok := v.(map[string]any)
		if !ok {
			n.wrong(name, v)
			return nil
		}
		out = append(out, item(native{m: m, first: n.first, version: n.version}))
	}
	return out
}

func (n native) strings(name string) []string {
	var out []string
	for _, v := range field[[]any](n, name, nil) {
		s, ok := v.(string)
		if !ok {
			n.wrong(name, v)
			return nil
		}
		out = append(out, s)
	}
	return out
}

func digestPart(n native) event.Digest {
	return event.Digest{SQLState: n.str("sqlstate"), Affected: n.long("affected", 0), Hash: n.bytes("hash")}
}

func digestFromNative(n native) *event.DigestRecord {
	d := &event.DigestRecord{Source: n.str("source"), Offset: n.long("offset", 0), Target: n.str("target"),
		Level: event.Level(n.enum("level")), Time: n.long("time", 0), Skipped: n.str("skipped"), Count: n.int("count", 0),
		Operations: list(n, "operations", func(o native) event.OpDigest {
			return event.OpDigest{Index: o.int("index", 0), Statement: o.str("statement"),
				Skipped: o.str("skipped"), Digest: digestPart(o.record("digest"))}
		})}
	n.fixed("tx", d.Tx[:])
	return d
}

func verdictFromNative(n native) *event.VerdictRecord {
	v := &event.VerdictRecord{Source: n.str("source"), Target: n.str("target"), Offset: n.long("offset", 0),
		Time: n.long("time", 0), Match: n.int("match", 0), Mismatch: n.int("mismatch", 0),
		Missing: n.int("missing", 0), Skipped: n.int("skipped", 0),
		Findings: list(n, "findings", func(f native) event.Finding {
			return event.Finding{Index: f.int("index", 0), Verdict: event.Verdict(f.enum("verdict")),
				Level: event.Level(f.enum("level")), Reason: f.str("reason"), Statement: f.str("statement"),
				Primary: digestPart(f.record("primary")), Backup: digestPart(f.record("backup"))}
		})}
	n.fixed("tx", v.Tx[:])
	return v
}
