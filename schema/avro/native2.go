package avro

import "github.com/opmux/opmux/event"

// What versions 1 and 2 of the record schema say at length.

func outcomeAtLength(n native) event.Outcome {
	return event.Outcome{Ref: event.Ref{Agent: n.str("agent"), Epoch: n.long("epoch", 0), N: n.long("n", 0)},
		Committed: n.bool("committed", false), Time: n.long("time", 0), By: n.str("by")}
}

func transactionAtLength(n native) *event.Transaction {
	c, p := n.record("context"), n.record("postgres")
	t := &event.Transaction{Intent: n.bool("intent", false), DependsOn: n.long("depends_on", 0),
		Standalone: n.bool("standalone", false), Barrier: n.bool("barrier", false), Hops: n.strings("hops"),
		Begin: n.long("begin", 0), Commit: n.long("commit", 0), CatalogVersion: n.long("catalog_version", 0),
		Context: event.Context{User: c.str("user"), Application: c.str("application"),
			Settings: list(c, "settings", settingFromNative)},
		Postgres: event.PostgresTx{XID: uint64(p.long("xid", 0)), BackendPID: p.int("backend_pid", 0),
			BackendStart: p.long("backend_start", 0), ProbeLSN: uint64(p.long("probe_lsn", 0))},
		FirstChunk: n.long("first_chunk", -1), Chunks: n.int("chunks", 0),
		Operations: list(n, "operations", operationAtLength),
		Shapes: list(n, "shapes", func(s native) event.TableShape {
			return event.TableShape{Schema: s.str("schema"), Table: s.str("table"), Columns: s.strings("columns")}
		})}
	n.fixed("id", t.ID[:])
	return t
}

func operationAtLength(n native) event.Operation {
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
		o.Rows = rowsAtLength(native{m: m, first: n.first, version: n.version})
	}
	return o
}

func rowsAtLength(n native) *event.RowImages {
	return &event.RowImages{Action: event.Action(n.enum("action")), Schema: n.str("schema"), Table: n.str("table"),
		Key: n.strings("key"), Columns: n.strings("columns"), KeyTypes: n.strings("key_types"),
		ColumnTypes: n.strings("column_types"), Returning: n.strings("returning"),
		Rows: list(n, "rows", func(r native) event.RowImage {
			return event.RowImage{Key: r.values("key"), Values: r.values("values")}
		})}
}

func (n native) values(name string) []event.Value {
	var out []event.Value
	for _, v := range field[[]any](n, name, nil) {
		null, text := nativeBytes(v)
		out = append(out, event.Value{Null: null, Text: text})
	}
	return out
}
