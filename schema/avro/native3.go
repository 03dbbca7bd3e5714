package avro

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/opmux/opmux/event"
)

// What versions 3 and 4 of the record schema say in short, as goavro decodes it.

// part is a record inside of this one.
func (n native) part(v any) native {
	m, ok := v.(map[string]any)
	if !ok {
		n.wrong("of a record", v)
	}
	return native{m: m, first: n.first, version: n.version}
}

// optional is the record that a union with null holds.
func (n native) optional(name string) (native, bool) {
	kind, v := branch(n.m[name])
	if kind == "" {
		return native{first: n.first, version: n.version}, false
	}
	return n.part(v), true
}

func (n native) refuse(err error) {
	if n.first != nil && *n.first == nil {
		*n.first = err
	}
}

func (n native) packed(v any) string {
	b, ok := v.([]byte)
	if !ok {
		n.wrong("of a packed text", v)
	}
	text, err := published.phrases.unpack(b)
	if err != nil {
		n.refuse(err)
	}
	return text
}

func (n native) packedAll(name string) []string {
	var out []string
	for _, v := range field[[]any](n, name, nil) {
		out = append(out, n.packed(v))
	}
	return out
}

func outcomesFromNative(n native, rec *event.Record) *event.Outcomes {
	time := n.long("time", 0)
	return &event.Outcomes{List: list(n, "list", func(n native) event.Outcome {
		of := event.EpochRef{Agent: rec.Agent, Epoch: rec.Epoch}
		if e, ok := n.optional("of"); ok {
			of = epochFromNative(e)
		}
		time += n.long("after", 0)
		return event.Outcome{Ref: event.Ref{Agent: of.Agent, Epoch: of.Epoch, N: rec.N - n.long("behind", 0)},
			Committed: n.bool("committed", false), Time: time, By: n.str("by")}
	})}
}

func transactionFromNative(n native, number int64) *event.Transaction {
	c, p := n.record("context"), n.record("postgres")
	t := &event.Transaction{FirstChunk: -1}
	n.fixed("id", t.ID[:])
	flags := n.int("flags", 0)
	if flags < 0 || flags >= flagsEnd {
		n.wrong("flags", flags)
	}
	t.Intent, t.Standalone, t.Barrier = flags&flagIntent != 0, flags&flagStandalone != 0, flags&flagBarrier != 0
	t.DependsOn = number - n.long("behind", 0)
	t.Begin = originOf(t.ID) + n.long("begin_after", 0)
	t.Commit = t.Begin + n.long("commit_after", 0)
	t.CatalogVersion = n.long("catalog_version", 0)
	t.Context = event.Context{User: c.str("user"), Application: c.str("application"), Settings: settingsFromNative(c)}
	t.Postgres = event.PostgresTx{XID: uint64(p.long("xid", 0)), BackendPID: p.int("backend_pid", 0),
		BackendStart: t.Begin - p.long("backend_age", 0), ProbeLSN: uint64(p.long("probe_lsn", 0))}
	t.Operations = operationsFromNative(n, originOf(t.ID))
	if r, ok := n.optional("rest"); ok {
		t.Hops, t.FirstChunk, t.Chunks = r.strings("hops"), r.long("first_chunk", -1), r.int("chunks", 0)
		t.Shapes = list(r, "shapes", func(s native) event.TableShape {
			return event.TableShape{Schema: s.str("schema"), Table: s.str("table"), Columns: s.strings("columns"),
				Definition: list(s, "definition", func(p native) event.DefinitionPart {
					return event.DefinitionPart{Name: p.str("name"), Text: p.str("text")}
				})}
		})
	}
	return t
}

// settingsFromNative applies the changes to a baseline.
func settingsFromNative(n native) []event.Setting {
	left, err := published.baseline(int(n.int("baseline", 0)))
	if err != nil {
		n.refuse(err)
	}
	var out []event.Setting
	keep := func(count int) {
		if count < 0 || count > len(left) {
			n.refuse(errBaseline)
			return
		}
		for _, s := range left[:count] {
			out = append(out, event.Setting{Name: s[0], Value: s[1]})
		}
		left = left[count:]
	}
	list(n, "changes", func(c native) struct{} {
		keep(int(c.int("same", 0)))
		kind, v := branch(c.m["next"])
		if kind == "opmux.Setting" {
			out = append(out, settingFromNative(c.part(v)))
			return struct{}{}
		}
		if len(left) == 0 {
			n.refuse(errBaseline)
			return struct{}{}
		}
		s := left[0]
		left = left[1:]
		switch v := v.(type) {
		case nil:
		case int32:
			if v < 0 || int(v)+1 >= len(s) {
				n.wrong("next", v)
				break
			}
			out = append(out, event.Setting{Name: s[0], Value: s[v+1]})
		case string:
			out = append(out, event.Setting{Name: s[0], Value: v})
		}
		return struct{}{}
	})
	keep(len(left))
	return out
}

func operationsFromNative(n native, origin int64) []event.Operation {
	return list(n, "operations", func(n native) event.Operation {
		o := event.Operation{Kind: event.OpKind(n.enum("kind")), Class: event.Class(n.enum("class")),
			Reason: reasonFromNative(n), Text: n.packed(n.m["text"])}
		o.Params = list(n, "params", func(p native) event.Param { return paramFromNative(p, origin) })
		o.Tables = tablesFromNative(n, o.Text)
		if r, ok := n.optional("rows"); ok {
			o.Rows = rowsFromNative(r)
		}
		o.Digest = responseFromNative(n)
		if r, ok := n.optional("rest"); ok {
			o.Data, o.More, o.Diverged = r.bytes("data"), r.bool("more", false), r.strings("diverged")
			o.Settings = list(r, "settings", settingFromNative)
			o.Sequences = list(r, "sequences", func(s native) event.SequenceMark {
				return event.SequenceMark{Schema: s.str("schema"), Name: s.str("name"),
					Value: s.long("value", 0), Ascending: s.bool("ascending", true)}
			})
		}
		return o
	})
}

func reasonFromNative(n native) string {
	var code int32
	var name string
	switch kind, v := branch(n.m["reason"]); v := v.(type) {
	case string:
		return v
	case int32:
		code = v
	case map[string]any:
		code, name = n.part(v).int("reason", -1), n.part(v).str("name")
	default:
		n.wrong("reason ("+kind+")", v)
	}
	reason, err := published.reason(int(code), name)
	if err != nil {
		n.refuse(err)
	}
	return reason
}

func tablesFromNative(n native, text string) []string {
	var out []string
	for _, v := range field[[]any](n, "tables", nil) {
		kind, v := branch(v)
		if s, ok := v.(string); ok {
			out = append(out, s)
			continue
		}
		schema := usualSchema
		at, public := v.(int32)
		if !public {
			t := n.part(v)
			schema, at = t.str("schema"), t.int("at", -1)
		}
		if at < 0 || int(at) > len(text) {
			n.wrong("tables ("+kind+")", v)
			return nil
		}
		out = append(out, schema+"."+nameAt(text, int(at)))
	}
	return out
}

func paramFromNative(n native, origin int64) event.Param {
	p := event.Param{OID: uint32(n.long("oid", 0))}
	kind, v := branch(n.m["value"])
	switch strings.TrimPrefix(kind, "opmux.") {
	case "Moment":
		p.Value = appendMoment(nil, origin+n.part(v).long("after", 0))
	case "Int4":
		p.Binary, p.Value = true, binary.BigEndian.AppendUint32(nil, uint32(n.part(v).int("value", 0)))
	case "Int8":
		p.Binary, p.Value = true, binary.BigEndian.AppendUint64(nil, uint64(n.part(v).long("value", 0)))
	case "Typed":
		t := n.part(v)
		p.Type, p.Binary = t.str("type"), t.bool("binary", false)
		p.Null, p.Value = nativeBytes(t.m["value"])
	default:
		text := textFromNative(n.m["value"])
		p.Null, p.Value = text.Null, text.Text
	}
	return p
}

// textFromNative is a value in text format, which may be written as a number.
func textFromNative(v any) event.Value {
	if _, inner := branch(v); inner != nil {
		if number, ok := inner.(int64); ok {
			return event.Value{Text: strconv.AppendInt(nil, number, 10)}
		}
	}
	null, text := nativeBytes(v)
	return event.Value{Null: null, Text: text}
}

func rowsFromNative(n native) *event.RowImages {
	values := func(n native, name string) []event.Value {
		var out []event.Value
		for _, v := range field[[]any](n, name, nil) {
			out = append(out, textFromNative(v))
		}
		return out
	}
	return &event.RowImages{Action: event.Action(n.enum("action")), Schema: n.str("schema"), Table: n.str("table"),
		Key: n.strings("key"), Columns: n.strings("columns"), KeyTypes: n.packedAll("key_types"),
		ColumnTypes: n.packedAll("column_types"), Returning: n.strings("returning"),
		Rows: list(n, "rows", func(r native) event.RowImage {
			return event.RowImage{Key: values(r, "key"), Values: values(r, "values")}
		})}
}

func responseFromNative(n native) event.Digest {
	kind, v := branch(n.m["digest"])
	switch kind {
	case "":
		return event.Digest{}
	case "long":
		affected, ok := v.(int64)
		if !ok {
			n.refuse(fmt.Errorf("a count of rows is a %T", v))
		}
		return event.Digest{SQLState: success, Affected: affected}
	}
	p := n.part(v)
	d := event.Digest{SQLState: success, Affected: p.long("affected", 0), Hash: p.bytes("hash")}
	if _, state := branch(p.m["sqlstate"]); state != nil {
		d.SQLState, _ = state.(string)
	}
	return d
}
