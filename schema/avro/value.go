package avro

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"github.com/opmux/opmux/event"
)

// The branches of the union Param.value; the first three are those of the values
// of row images as well.
const (
	valueNull = iota
	valueBytes
	valueLong
	valueMoment
	valueInt4
	valueInt8
	valueTyped
)

// The types of parameters that have a shorter form.
const (
	oidInt8        = 20
	oidInt4        = 23
	oidTimestamptz = 1184
)

func writeParam(w *writer, p *event.Param) {
	w.long(int64(p.OID))
	switch {
	case p.Type == "" && !p.Binary && !p.Null && p.OID == oidTimestamptz:
		if at, ok := parseMoment(p.Value); ok {
			w.long(valueMoment)
			w.long(at - w.origin)
			return
		}
		writeText(w, false, p.Value)
	case p.Type == "" && !p.Binary:
		writeText(w, p.Null, p.Value)
	case p.Type == "" && !p.Null && p.OID == oidInt4 && len(p.Value) == 4:
		w.long(valueInt4)
		w.long(int64(int32(binary.BigEndian.Uint32(p.Value))))
	case p.Type == "" && !p.Null && p.OID == oidInt8 && len(p.Value) == 8:
		w.long(valueInt8)
		w.long(int64(binary.BigEndian.Uint64(p.Value)))
	default:
		w.long(valueTyped)
		w.string(p.Type)
		w.bool(p.Binary)
		w.nullable(p.Null, p.Value)
	}
}

func readParam(r *reader, p *event.Param) {
	p.OID = r.uint32()
	switch branch := r.long(); branch {
	case valueMoment:
		p.Value = r.made(r.origin+r.long(), appendMoment)
	case valueInt4:
		p.Binary, p.Value = true, binary.BigEndian.AppendUint32(nil, uint32(r.int()))
	case valueInt8:
		p.Binary, p.Value = true, binary.BigEndian.AppendUint64(nil, uint64(r.long()))
	case valueTyped:
		p.Type, p.Binary = r.string(), r.bool()
		p.Null, p.Value = r.nullable()
	default:
		p.Null, p.Value = readText(r, branch)
	}
}

func writeValue(w *writer, v *event.Value) { writeText(w, v.Null, v.Text) }
func readValue(r *reader, v *event.Value)  { v.Null, v.Text = readText(r, r.long()) }

// writeText writes a value in text format: as a number where it is the decimal
// notation of one, which needs no digits that a number would lose.
func writeText(w *writer, null bool, text []byte) {
	if null {
		w.long(valueNull)
		return
	}
	if n, ok := parseDecimal(text); ok {
		w.long(valueLong)
		w.long(n)
		return
	}
	w.long(valueBytes)
	w.bytes(text)
}

func readText(r *reader, branch int64) (null bool, text []byte) {
	switch branch {
	case valueNull:
		return true, nil
	case valueBytes:
		return false, r.bytes()
	case valueLong:
		return false, r.made(r.long(), appendDecimal)
	}
	r.fail(errBranch(branch))
	return true, nil
}

// maxDecimal is how many digits certainly fit.
const maxDecimal = 18

// parseDecimal accepts what strconv.AppendInt writes, and nothing else.
func parseDecimal(text []byte) (int64, bool) {
	digits, negative := text, false
	if len(text) > 1 && text[0] == '-' {
		digits, negative = text[1:], true
	}
	if len(digits) == 0 || len(digits) > maxDecimal || digits[0] == '0' && len(text) > 1 {
		return 0, false
	}
	var n int64
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + int64(d-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

func appendDecimal(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// momentLayout is how the agent writes a pinned time.
const momentLayout = "2006-01-02 15:04:05.000000+00"

func appendMoment(b []byte, micros int64) []byte {
	return time.UnixMicro(micros).UTC().AppendFormat(b, momentLayout)
}

// parseMoment accepts what appendMoment writes, and nothing else.
func parseMoment(text []byte) (micros int64, ok bool) {
	if len(text) != len(momentLayout) {
		return 0, false
	}
	number := func(from, to int) int {
		n, ok := 0, true
		for _, d := range text[from:to] {
			ok = ok && d >= '0' && d <= '9'
			n = 10*n + int(d-'0')
		}
		if !ok {
			return math.MinInt32 // gives a moment that is written differently
		}
		return n
	}
	t := time.Date(number(0, 4), time.Month(number(5, 7)), number(8, 10),
		number(11, 13), number(14, 16), number(17, 19), 1000*number(20, 26), time.UTC)
	var again [len(momentLayout) + 8]byte
	micros = t.UnixMicro()
	return micros, string(appendMoment(again[:0], micros)) == string(text)
}

// originOf is what times in a transaction count from: the first 48 bits of its
// id, which in a UUIDv7 are milliseconds.
func originOf(id event.TxID) int64 {
	return int64(binary.BigEndian.Uint64(id[:8])>>16) * 1000
}
