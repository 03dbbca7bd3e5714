package execute

import (
	"encoding/binary"
)

// appendArray appends an array of values in text form, as PostgreSQL reads it: each
// element is given to its type's input as it would be on its own.
func appendArray(out []byte, values [][]byte) []byte {
	out = append(out, '{')
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendElement(out, v)
	}
	return append(out, '}')
}

func appendElement(out, v []byte) []byte {
	if v == nil {
		return append(out, "NULL"...)
	}
	if plainElement(v) {
		return append(out, v...)
	}
	out = append(out, '"')
	for _, c := range v {
		if c == '"' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return append(out, '"')
}

// plainElement says whether an element is a number, which needs no quotes.
func plainElement(v []byte) bool {
	for _, c := range v {
		if !isDigit(c) && c != '-' && c != '.' {
			return false
		}
	}
	return len(v) > 0
}

// appendHead appends what a binary array begins with: the number of dimensions,
// whether there are NULLs, the elements' type, length and lower bound.
func appendHead(out []byte, nulls bool, oid uint32, length int) []byte {
	flag := uint32(0)
	if nulls {
		flag = 1
	}
	for _, n := range []uint32{1, flag, oid, uint32(length), 1} {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	return out
}

// appendBinary appends an element with its length before it, which is -1 for NULL.
func appendBinary(out, v []byte) []byte {
	if v == nil {
		return binary.BigEndian.AppendUint32(out, ^uint32(0))
	}
	out = binary.BigEndian.AppendUint32(out, uint32(len(v)))
	return append(out, v...)
}

// binaryArray is an array of values in binary form.
func binaryArray(oid uint32, values [][]byte) []byte {
	size, nulls := 20, false
	for _, v := range values {
		size += 4 + len(v)
		nulls = nulls || v == nil
	}
	out := appendHead(make([]byte, 0, size), nulls, oid, len(values))
	for _, v := range values {
		out = appendBinary(out, v)
	}
	return out
}
