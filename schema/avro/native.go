package avro

import (
	"fmt"
	"strings"

	"github.com/opmux/opmux/event"
)

// native is a record as goavro decodes it, for values that were not written
// with the newest schema. A field that the writer's schema lacks yields the
// default that the caller names, which is the newest schema's. The first error
// is kept and shared by all parts of a value.
type native struct {
	m     map[string]any
	first *error
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
		out = append(out, item(native{m: m, first: n.first}))
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

func (n native) values(name string) []event.Value {
	var out []event.Value
	for _, v := range field[[]any](n, name, nil) {
		null, text := nativeBytes(v)
		out = append(out, event.Value{Null: null, Text: text})
	}
	return out
}

func recordFromNative(n native) *event.Record {
	r := &event.Record{Agent: n.str("agent"), Epoch: n.long("epoch", 0), N: n.long("n", 0), Prev: n.bytes("prev")}
	name, v := branch(n.m["body"])
	m, _ := v.(map[string]any)
	b := native{m: m, first: n.first}
	switch strings.TrimPrefix(name, "opmux.") {
	case "Transaction":
		r.Body = transactionFromNative(b)
	case "Outcomes":
		r.Body = &event.Outcomes{List: list(b, "list", outcomeFromNative)}
	case "Chunk":
		c := &event.Chunk{Index: b.int("index", 0), Operations: list(b, "operations", operationFromNative)}
		b.fixed("tx", c.Tx[:])
		r.Body = c
	case "Fence":
		r.Body = fenceFromNative(b)
	case "Mark":
		k := &event.Mark{Phase: event.MarkPhase(b.enum("phase")), Target: b.str("target"), Snapshot: b.str("snapshot"), Start: b.long("start", 0)}
		b.fixed("id", k.ID[:])
		r.Body = k
	case "Void":
		r.Body = &event.Void{}
	default:
		n.wrong("body ("+name+")", v)
	}
	return r
}

func outcomeFromNative(n native) event.Outcome {
	return event.Outcome{Ref: event.Ref{Agent: n.str("agent"), Epoch: n.long("epoch", 0), N: n.long("n", 0)},
		Committed: n.bool("committed", false), Time: n.long("time", 0), By: n.str("by")}
}

func epochFromNative(n native) event.EpochRef {
	return event.EpochRef{Agent: n.str("agent"), Epoch: n.long("epoch", 0)}
}

func fenceFromNative(n native) *event.Fence {
	p := n.record("primary")
	f := &event.Fence{Clean: n.bool("clean", false), Gate: n.str("gate"),
		Ended: list(n, "ended", epochFromNative), Suspect: list(n, "suspect", epochFromNative),
		LowestReader: n.int("lowest_reader", 1), RecoveryLSN: uint64(n.long("recovery_lsn", 0)),
		Primary: event.Primary{Make: p.str("make"), Version: p.str("version"), SystemID: p.str("system_id"),
			Timeline: p.int("timeline", 0), Database: p.str("database"), Started: p.long("started", 0)}}
	n.fixed("instance", f.Instance[:])
	return f
}

func transactionFromNative(n native) *event.Transaction {
	c, p := n.record("context"), n.record("postgres")
	t := &event.Transaction{Intent: n.bool("intent", false), DependsOn: n.long("depends_on", 0),
		Standalone: n.bool("standalone", false), Barrier: n.bool("barrier", false), Hops: n.strings("hops"),
		Begin: n.long("begin", 0), Commit: n.long("commit", 0), CatalogVersion: n.long("catalog_version", 0),
		Context: event.Context{User: c.str("user"), Application: c.str("application"),
			Settings: list(c, "settings", settingFromNative)},
		Postgres: event.PostgresTx{XID: uint64(p.long("xid", 0)), BackendPID: p.int("backend_pid", 0),
			BackendStart: p.long("backend_start", 0), ProbeLSN: uint64(p.long("probe_lsn", 0))},
		FirstChunk: n.long("first_chunk", -1), Chunks: n.int("chunks", 0),
		Operations: list(n, "operations", operationFromNative),
		Shapes: list(n, "shapes", func(s native) event.TableShape {
			return event.TableShape{Schema: s.str("schema"), Table: s.str("table"), Columns: s.strings("columns")}
		})}
	n.fixed("id", t.ID[:])
	return t
}

func settingFromNative(n native) event.Setting {
	return event.Setting{Name: n.str("name"), Value: n.str("value")}
}

func operationFromNative(n native) event.Operation {
	o := event.Operation{Kind: event.OpKind(n.enum("kind")), Class: event.Class(n.enum("class")),
		Reason: n.str("reason"), Text: n.str("text"), Tables: n.strings("tables"), Data: n.bytes("data"),
		More: n.bool("more", false), Diverged: n.strings("diverged"), Digest: digestPart(n.record("digest")),
		Settings: list(n, "settings", settingFromNative),
		Params: list(n, "params", func(p native) event.Param {
			out := event.Param{OID: uint32(p.long("oid", 0)), Type: p.str("type"), Binary: p.bool("binary", false)}
			out.Null, out.Value = nativeBytes(p.m["value"])
			return out
		}),
		Sequences: list(n, "sequences", func(s native) event.SequenceMark {
			return event.SequenceMark{Schema: s.str("schema"), Name: s.str("name"),
				Value: s.long("value", 0), Ascending: s.bool("ascending", true)}
		})}
	if _, v := branch(n.m["rows"]); v != nil {
		m, _ := v.(map[string]any)
		o.Rows = rowsFromNative(native{m: m, first: n.first})
	}
	return o
}

func rowsFromNative(n native) *event.RowImages {
	return &event.RowImages{Action: event.Action(n.enum("action")), Schema: n.str("schema"), Table: n.str("table"),
		Key: n.strings("key"), Columns: n.strings("columns"), KeyTypes: n.strings("key_types"),
		ColumnTypes: n.strings("column_types"), Returning: n.strings("returning"),
		Rows: list(n, "rows", func(r native) event.RowImage {
			return event.RowImage{Key: r.values("key"), Values: r.values("values")}
		})}
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
