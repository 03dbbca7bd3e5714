package avro

import "github.com/opmux/opmux/event"

// Transactions are the hot path, which is why this package writes and reads the
// newest schemas by hand; goavro is the referee in tests and reads older ones.

func writeTransaction(w *writer, t *event.Transaction) {
	w.fixed(t.ID[:])
	w.bool(t.Intent)
	w.long(t.DependsOn)
	w.bool(t.Standalone)
	w.bool(t.Barrier)
	w.strings(t.Hops)
	w.long(t.Begin)
	w.long(t.Commit)
	w.long(t.CatalogVersion)
	w.string(t.Context.User)
	w.string(t.Context.Application)
	writeArray(w, t.Context.Settings, writeSetting)
	w.long(int64(t.Postgres.XID))
	w.long(int64(t.Postgres.BackendPID))
	w.long(t.Postgres.BackendStart)
	w.long(int64(t.Postgres.ProbeLSN))
	w.long(t.FirstChunk)
	w.long(int64(t.Chunks))
	writeArray(w, t.Operations, writeOperation)
	writeArray(w, t.Shapes, writeShape)
}

func readTransaction(r *reader, t *event.Transaction) {
	r.fixed(t.ID[:])
	t.Intent, t.DependsOn = r.bool(), r.long()
	t.Standalone, t.Barrier = r.bool(), r.bool()
	t.Hops = r.strings()
	t.Begin, t.Commit, t.CatalogVersion = r.long(), r.long(), r.long()
	t.Context.User, t.Context.Application = r.string(), r.string()
	t.Context.Settings = readArray(r, readSetting)
	t.Postgres = event.PostgresTx{XID: uint64(r.long()), BackendPID: r.int(),
		BackendStart: r.long(), ProbeLSN: uint64(r.long())}
	t.FirstChunk, t.Chunks = r.long(), r.int()
	t.Operations = readArray(r, readOperation)
	t.Shapes = readArray(r, readShape)
}

func writeShape(w *writer, s *event.TableShape) {
	w.string(s.Schema)
	w.string(s.Table)
	w.strings(s.Columns)
}

func readShape(r *reader, s *event.TableShape) {
	s.Schema, s.Table, s.Columns = r.string(), r.string(), r.strings()
}

func writeSetting(w *writer, s *event.Setting) {
	w.string(s.Name)
	w.string(s.Value)
}

func readSetting(r *reader, s *event.Setting) { s.Name, s.Value = r.string(), r.string() }

func writeOperation(w *writer, o *event.Operation) {
	w.enum("kind of an operation", opKindSymbols, string(o.Kind))
	w.enum("class of an operation", classSymbols, string(o.Class))
	w.string(o.Reason)
	w.string(o.Text)
	writeArray(w, o.Params, writeParam)
	w.strings(o.Tables)
	if o.Rows == nil {
		w.long(0)
	} else {
		w.long(1)
		writeRows(w, o.Rows)
	}
	w.bytes(o.Data)
	w.bool(o.More)
	writeArray(w, o.Sequences, writeSequence)
	w.strings(o.Diverged)
	writeArray(w, o.Settings, writeSetting)
	writeDigest(w, &o.Digest)
}

func readOperation(r *reader, o *event.Operation) {
	o.Kind, o.Class = event.OpKind(r.enum(opKindSymbols)), event.Class(r.enum(classSymbols))
	o.Reason, o.Text = r.string(), r.string()
	o.Params, o.Tables = readArray(r, readParam), r.strings()
	switch branch := r.long(); branch {
	case 0:
	case 1:
		o.Rows = &event.RowImages{}
		readRows(r, o.Rows)
	default:
		r.fail(errBranch(branch))
	}
	o.Data, o.More = r.bytes(), r.bool()
	o.Sequences, o.Diverged = readArray(r, readSequence), r.strings()
	o.Settings = readArray(r, readSetting)
	readDigest(r, &o.Digest)
}

func writeParam(w *writer, p *event.Param) {
	w.long(int64(p.OID))
	w.string(p.Type)
	w.bool(p.Binary)
	w.nullable(p.Null, p.Value)
}

func readParam(r *reader, p *event.Param) {
	p.OID, p.Type, p.Binary = r.uint32(), r.string(), r.bool()
	p.Null, p.Value = r.nullable()
}

func writeRows(w *writer, i *event.RowImages) {
	w.enum("action of row images", actionSymbols, string(i.Action))
	w.string(i.Schema)
	w.string(i.Table)
	w.strings(i.Key)
	w.strings(i.Columns)
	w.strings(i.KeyTypes)
	w.strings(i.ColumnTypes)
	w.strings(i.Returning)
	writeArray(w, i.Rows, func(w *writer, row *event.RowImage) {
		writeArray(w, row.Key, writeValue)
		writeArray(w, row.Values, writeValue)
	})
}

func readRows(r *reader, i *event.RowImages) {
	i.Action, i.Schema, i.Table = event.Action(r.enum(actionSymbols)), r.string(), r.string()
	i.Key, i.Columns = r.strings(), r.strings()
	i.KeyTypes, i.ColumnTypes, i.Returning = r.strings(), r.strings(), r.strings()
	i.Rows = readArray(r, func(r *reader, row *event.RowImage) {
		row.Key, row.Values = readArray(r, readValue), readArray(r, readValue)
	})
}

func writeValue(w *writer, v *event.Value) { w.nullable(v.Null, v.Text) }
func readValue(r *reader, v *event.Value)  { v.Null, v.Text = r.nullable() }

func writeSequence(w *writer, s *event.SequenceMark) {
	w.string(s.Schema)
	w.string(s.Name)
	w.long(s.Value)
	w.bool(s.Ascending)
}

func readSequence(r *reader, s *event.SequenceMark) {
	s.Schema, s.Name, s.Value, s.Ascending = r.string(), r.string(), r.long(), r.bool()
}

func writeDigest(w *writer, d *event.Digest) {
	w.string(d.SQLState)
	w.long(d.Affected)
	w.bytes(d.Hash)
}

func readDigest(r *reader, d *event.Digest) {
	d.SQLState, d.Affected, d.Hash = r.string(), r.long(), r.bytes()
}
