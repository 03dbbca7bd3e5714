package avro

import (
	"errors"
	"strings"

	"github.com/opmux/opmux/event"
)

// The branches of the union Operation.reason.
const (
	reasonCode = iota
	reasonText
	reasonAbout
)

// The branches of the union of an item of Operation.tables.
const (
	tableText = iota
	tablePublic
	tableNamed
)

// The branches of the union Operation.digest.
const (
	digestNone = iota
	digestCount
	digestWhole
)

// What most operations have, which therefore takes no bytes.
const (
	usualSchema = "public"
	success     = "00000"
)

func writeOperation(w *writer, o *event.Operation) {
	w.enum("kind of an operation", opKindSymbols, string(o.Kind))
	w.enum("class of an operation", classSymbols, string(o.Class))
	writeReason(w, o.Reason)
	w.packed(o.Text)
	writeArray(w, o.Params, writeParam)
	writeTables(w, o.Tables, o.Text)
	if w.present(o.Rows != nil) {
		writeRows(w, o.Rows)
	}
	writeResponse(w, &o.Digest)
	rest := o.More || len(o.Data) > 0 || len(o.Sequences) > 0 || len(o.Diverged) > 0 || len(o.Settings) > 0
	if w.present(rest) {
		w.bytes(o.Data)
		w.bool(o.More)
		writeArray(w, o.Sequences, writeSequence)
		w.strings(o.Diverged)
		writeArray(w, o.Settings, writeSetting)
	}
}

func readOperation(r *reader, o *event.Operation) {
	o.Kind, o.Class = event.OpKind(r.enum(opKindSymbols)), event.Class(r.enum(classSymbols))
	o.Reason, o.Text = readReason(r), r.packed()
	o.Params = readArray(r, readParam)
	o.Tables = readTables(r, o.Text)
	if r.present() {
		o.Rows = &event.RowImages{}
		readRows(r, o.Rows)
	}
	readResponse(r, &o.Digest)
	if r.present() {
		o.Data, o.More = r.bytes(), r.bool()
		o.Sequences, o.Diverged = readArray(r, readSequence), r.strings()
		o.Settings = readArray(r, readSetting)
	}
}

func writeReason(w *writer, reason string) {
	code, name, ok := published.code(reason)
	switch {
	case !ok:
		w.long(reasonText)
		w.string(reason)
	case name == "":
		w.long(reasonCode)
		w.long(int64(code))
	default:
		w.long(reasonAbout)
		w.long(int64(code))
		w.string(name)
	}
}

func readReason(r *reader) string {
	var code int32
	var name string
	switch branch := r.long(); branch {
	case reasonText:
		return r.string()
	case reasonCode:
		code = r.int()
	case reasonAbout:
		code, name = r.int(), r.string()
	default:
		r.fail(errBranch(branch))
	}
	if r.err != nil {
		return ""
	}
	reason, err := published.reason(int(code), name)
	if err != nil {
		r.fail(err)
	}
	return reason
}

// writeTables writes the place in text of a table's name where it stands there,
// as it does in most statements.
func writeTables(w *writer, tables []string, text string) {
	if len(tables) > 0 {
		w.long(int64(len(tables)))
	}
	for _, table := range tables {
		schema, name, _ := strings.Cut(table, ".")
		at := strings.Index(text, name)
		switch {
		case schema == "" || name == "" || at < 0 || nameAt(text, at) != name:
			w.long(tableText)
			w.string(table)
		case schema == usualSchema:
			w.long(tablePublic)
			w.long(int64(at))
		default:
			w.long(tableNamed)
			w.string(schema)
			w.long(int64(at))
		}
	}
	w.long(0)
}

func readTables(r *reader, text string) []string {
	return readArray(r, func(r *reader, table *string) {
		schema := usualSchema
		switch branch := r.long(); branch {
		case tableText:
			*table = r.string()
			return
		case tablePublic:
		case tableNamed:
			schema = r.string()
		default:
			r.fail(errBranch(branch))
			return
		}
		at := int64(r.int())
		if at < 0 || at > int64(len(text)) {
			r.fail(errNamed)
			return
		}
		*table = schema + "." + nameAt(text, int(at))
	})
}

var errNamed = errors.New("a table's name is outside of its operation's text")

// nameAt returns the plain name that stands at a place.
func nameAt(text string, at int) string {
	end := at
	for end < len(text) && (text[end] >= 'a' && text[end] <= 'z' || text[end] >= '0' && text[end] <= '9' || text[end] == '_') {
		end++
	}
	return text[at:end]
}

func writeRows(w *writer, i *event.RowImages) {
	w.enum("action of row images", actionSymbols, string(i.Action))
	w.string(i.Schema)
	w.string(i.Table)
	w.strings(i.Key)
	w.strings(i.Columns)
	w.packedAll(i.KeyTypes)
	w.packedAll(i.ColumnTypes)
	w.strings(i.Returning)
	writeArray(w, i.Rows, func(w *writer, row *event.RowImage) {
		writeArray(w, row.Key, writeValue)
		writeArray(w, row.Values, writeValue)
	})
}

func readRows(r *reader, i *event.RowImages) {
	i.Action, i.Schema, i.Table = event.Action(r.enum(actionSymbols)), r.string(), r.string()
	i.Key, i.Columns = r.strings(), r.strings()
	i.KeyTypes, i.ColumnTypes, i.Returning = r.packedAll(), r.packedAll(), r.strings()
	i.Rows = readArray(r, func(r *reader, row *event.RowImage) {
		row.Key, row.Values = readArray(r, readValue), readArray(r, readValue)
	})
}

func writeSequence(w *writer, s *event.SequenceMark) {
	w.string(s.Schema)
	w.string(s.Name)
	w.long(s.Value)
	w.bool(s.Ascending)
}

func readSequence(r *reader, s *event.SequenceMark) {
	s.Schema, s.Name, s.Value, s.Ascending = r.string(), r.string(), r.long(), r.bool()
}

func writeResponse(w *writer, d *event.Digest) {
	switch {
	case d.SQLState == "" && d.Affected == 0 && len(d.Hash) == 0:
		w.long(digestNone)
	case d.SQLState == success && len(d.Hash) == 0:
		w.long(digestCount)
		w.long(d.Affected)
	default:
		w.long(digestWhole)
		if w.present(d.SQLState != success) {
			w.string(d.SQLState)
		}
		w.long(d.Affected)
		w.bytes(d.Hash)
	}
}

func readResponse(r *reader, d *event.Digest) {
	switch branch := r.long(); branch {
	case digestNone:
	case digestCount:
		d.SQLState, d.Affected = success, r.long()
	case digestWhole:
		d.SQLState = success
		if r.present() {
			d.SQLState = r.string()
		}
		d.Affected, d.Hash = r.long(), r.bytes()
	default:
		r.fail(errBranch(branch))
	}
}
