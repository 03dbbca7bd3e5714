package execute

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
)

// family is a set of types whose equality is that of a canonical form.
type family uint8

const (
	noFamily family = iota
	integers
	texts
	uuids
	dates
	decimals // those that are written as whole numbers
)

// OIDs of further built-in types.
const (
	oidBool     = 16
	oidInt2     = 21
	oidVarchar  = 1043
	oidDate     = 1082
	oidInterval = 1186
	oidNumeric  = 1700
	oidUUID     = 2950
)

func familyOf(oid uint32) family {
	switch oid {
	case oidInt2, oidInt4, oidInt8:
		return integers
	case oidText, oidVarchar:
		return texts
	case oidUUID:
		return uuids
	case oidDate:
		return dates
	case oidNumeric:
		return decimals
	}
	return noFamily
}

// canonical appends the one form that equal values have, with its length before
// it; false where it cannot be told.
func canonical(out []byte, f family, binaryForm bool, value []byte) ([]byte, bool) {
	switch f {
	case integers, decimals:
		if f == decimals && binaryForm {
			return out, false
		}
		n, ok := integer(value, binaryForm)
		if !ok {
			return out, false
		}
		return binary.AppendVarint(out, n), true
	case texts:
		out = binary.AppendUvarint(out, uint64(len(value)))
		return append(out, value...), true
	case uuids:
		if !binaryForm {
			return canonicalUUID(out, value)
		}
		return append(out, value...), len(value) == 16
	case dates:
		return canonicalDate(out, value, binaryForm)
	}
	return out, false
}

// integer reads an integer in the form that everybody writes it in.
func integer(value []byte, binaryForm bool) (int64, bool) {
	if binaryForm {
		switch len(value) {
		case 2:
			return int64(int16(binary.BigEndian.Uint16(value))), true
		case 4:
			return int64(int32(binary.BigEndian.Uint32(value))), true
		case 8:
			return int64(binary.BigEndian.Uint64(value)), true
		}
		return 0, false
	}
	if len(value) == 0 || value[0] != '-' && !isDigit(value[0]) {
		return 0, false // the server reads more forms
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func canonicalUUID(out, value []byte) ([]byte, bool) {
	if len(value) != 36 || value[8] != '-' || value[13] != '-' || value[18] != '-' || value[23] != '-' {
		return out, false
	}
	from := len(out)
	for _, part := range [][]byte{value[:8], value[9:13], value[14:18], value[19:23], value[24:]} {
		var err error
		if out, err = hex.AppendDecode(out, part); err != nil {
			return out[:from], false
		}
	}
	return out, true
}

// canonicalDate takes ISO dates of four-digit years, which every DateStyle reads
// the same way.
func canonicalDate(out, value []byte, binaryForm bool) ([]byte, bool) {
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	if binaryForm {
		days, ok := integer(value, true)
		return binary.AppendVarint(out, days), ok && len(value) == 4
	}
	t, err := time.Parse(time.DateOnly, string(value))
	if err != nil {
		return out, false
	}
	// Not by a duration, which ends after 292 years.
	return binary.AppendVarint(out, (t.Unix()-epoch.Unix())/(24*60*60)), true
}
