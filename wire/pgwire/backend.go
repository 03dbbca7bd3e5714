package pgwire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Field codes of ErrorResponse and NoticeResponse.
const (
	FieldSeverity      = 'S'
	FieldSeverityPlain = 'V'
	FieldCode          = 'C'
	FieldMessage       = 'M'
	FieldDetail        = 'D'
	FieldHint          = 'H'
	FieldPosition      = 'P'
	FieldWhere         = 'W'
	FieldRoutine       = 'R'
)

// Field is one field of an ErrorResponse or NoticeResponse.
type Field struct {
	Code  byte
	Value string
}

// DecodeFields takes an ErrorResponse's or NoticeResponse's body apart.
func DecodeFields(body []byte) ([]Field, error) {
	c := cursor{b: body}
	var fields []Field
	for {
		code := c.byte()
		if c.bad || code == 0 {
			return fields, c.done("ErrorResponse or NoticeResponse")
		}
		fields = append(fields, Field{code, c.cstring()})
	}
}

// AppendFields appends an ErrorResponse's or NoticeResponse's body.
func AppendFields(b []byte, fields []Field) []byte {
	for _, f := range fields {
		b = appendCString(append(b, f.Code), f.Value)
	}
	return append(b, 0)
}

// FieldValue returns the value of the field with that code, or "".
func FieldValue(fields []Field, code byte) string {
	for _, f := range fields {
		if f.Code == code {
			return f.Value
		}
	}
	return ""
}

// Tag returns the command tag of a CommandComplete message's body.
func Tag(body []byte) string {
	if i := bytes.IndexByte(body, 0); i >= 0 {
		body = body[:i]
	}
	for _, usual := range usualTags {
		if string(body) == usual {
			return usual // which takes no memory
		}
	}
	return string(body)
}

var usualTags = [...]string{"SELECT 1", "UPDATE 1", "INSERT 0 1", "DELETE 1", "BEGIN", "COMMIT"}

// Affected returns the row count at the end of a command tag, or -1.
func Affected(tag string) int64 {
	i := len(tag)
	for i > 0 && tag[i-1] >= '0' && tag[i-1] <= '9' {
		i--
	}
	if i == len(tag) || i == 0 || tag[i-1] != ' ' {
		return -1
	}
	var n int64
	for _, d := range tag[i:] {
		n = n*10 + int64(d-'0')
	}
	return n
}

// DataRowValue is a column of a DataRow; Value points into the message.
type DataRowValue struct {
	Null  bool
	Value []byte
}

// AppendDataRow appends the body of a DataRow of one column.
func AppendDataRow(dst, value []byte) []byte {
	return appendValue(appendInt16(dst, 1), value, false)
}

// SplitDataRow cuts a DataRow's body behind its first keep columns: the body
// with those columns alone, built in dst, and the values of the others,
// appended to rest.
func SplitDataRow(body []byte, keep int, dst []byte, rest []DataRowValue) ([]byte, []DataRowValue, error) {
	c := cursor{b: body}
	n := c.int16()
	if n < keep {
		return dst, rest, &ProtocolError{"DataRow has fewer columns than its statement"}
	}
	start := c.b
	for i := 0; i < keep && !c.bad; i++ {
		c.value()
	}
	dst = appendInt16(dst, keep)
	dst = append(dst, start[:len(start)-len(c.b)]...)
	for i := keep; i < n && !c.bad; i++ {
		v, null := c.value()
		rest = append(rest, DataRowValue{Null: null, Value: v})
	}
	return dst, rest, c.done("DataRow")
}

// CutRowDescription returns a RowDescription's body with the first keep columns alone.
func CutRowDescription(body []byte, keep int) ([]byte, error) {
	c := cursor{b: body}
	n := c.int16()
	if n < keep {
		return nil, &ProtocolError{"RowDescription has fewer columns than its statement"}
	}
	start := c.b
	for i := 0; i < keep && !c.bad; i++ {
		c.cstring()
		c.take(18) // table OID, column, type OID, size, modifier, format
	}
	if c.bad {
		return nil, c.done("RowDescription")
	}
	return append(appendInt16(nil, keep), start[:len(start)-len(c.b)]...), nil
}

// RowTypes tells the first columns of a RowDescription by what makes a result's type:
// their names, types and modifiers.
func RowTypes(body []byte, keep int) (string, error) {
	c := cursor{b: body}
	if n := c.int16(); n < keep {
		return "", &ProtocolError{"RowDescription has fewer columns than its statement"}
	}
	var b strings.Builder
	for i := 0; i < keep && !c.bad; i++ {
		b.WriteString(c.cstring())
		c.take(6) // table OID, column
		typ := c.int32()
		c.take(2) // size
		fmt.Fprintf(&b, "\x00%d %d\x00", typ, c.int32())
		c.take(2) // format
	}
	if c.bad {
		return "", c.done("RowDescription")
	}
	return b.String(), nil
}

// Columns returns the number of columns of a RowDescription's or DataRow's body.
func Columns(body []byte) int {
	if len(body) < 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(body))
}

// DecodeParameterDescription returns the parameter types of a statement.
func DecodeParameterDescription(body []byte) ([]uint32, error) {
	c := cursor{b: body}
	n := c.int16()
	var oids []uint32
	for i := 0; i < n && !c.bad; i++ {
		oids = append(oids, uint32(c.int32()))
	}
	return oids, c.done("ParameterDescription")
}

// DecodeParameterStatus returns the name and value that a ParameterStatus reports.
func DecodeParameterStatus(body []byte) (name, value string, err error) {
	c := cursor{b: body}
	name, value = c.cstring(), c.cstring()
	return name, value, c.done("ParameterStatus")
}
