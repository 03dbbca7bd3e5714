package execute

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/opmux/opmux/internal/shape"
)

// running is the sum of what several operations add to one column of one row, and
// the highest and lowest value that it had on the way, 0 among them. What would not
// fit is not added up.
type running struct {
	sum, high, low int64
	scale          int // of the decimals, which are these numbers / 10^scale
}

func (r *running) add(n int64) (ok bool) {
	r.sum, ok = plus(r.sum, n)
	r.high, r.low = max(r.high, r.sum), min(r.low, r.sum)
	return ok
}

func plus(a, b int64) (sum int64, ok bool) {
	sum = a + b
	return sum, (sum > a) == (b > 0)
}

// rescale brings it to at least so many decimals.
func (r *running) rescale(scale int) (ok bool) {
	ok = true
	for ; ok && r.scale < scale; r.scale++ {
		for _, n := range []*int64{&r.sum, &r.high, &r.low} {
			ok = ok && *n >= math.MinInt64/10 && *n <= math.MaxInt64/10
			*n *= 10
		}
	}
	return ok
}

// parts are the three numbers that are added one after the other: up to the
// highest value, down to the lowest, and to the sum.
func (r *running) parts() (parts [3]int64, ok bool) {
	down, fits := plus(r.low, -r.high)
	up, ok := plus(r.sum, -r.low)
	return [3]int64{r.high, down, up}, ok && fits && r.low != math.MinInt64
}

// fits says that the parts are numbers that a type has.
func (r *running) fits(oid uint32) bool {
	parts, ok := r.parts()
	for _, n := range parts {
		ok = ok && inRange(n, oid)
	}
	return ok
}

// inRange says that an integer is a value of a type.
func inRange(n int64, oid uint32) bool {
	switch oid {
	case oidInt2:
		return n >= math.MinInt16 && n <= math.MaxInt16
	case oidInt4:
		return n >= math.MinInt32 && n <= math.MaxInt32
	}
	return true
}

// maxDigits is how many digits of a decimal certainly fit.
const maxDigits = 18

// addend reads what a parameter of a type adds to a column of a type, as an integer
// and its number of decimals.
func addend(value []byte, binaryForm bool, param, column uint32) (n int64, scale int, ok bool) {
	if value == nil {
		return 0, 0, false
	}
	if familyOf(param) != integers {
		return decimal(value)
	}
	n, ok = integer(value, binaryForm)
	ok = ok && inRange(n, param) && (column == oidNumeric || inRange(n, column))
	return n, 0, ok
}

func decimal(text []byte) (n int64, scale int, ok bool) {
	digits := bytes.TrimPrefix(text, []byte("-"))
	whole, fraction, _ := bytes.Cut(digits, []byte("."))
	if len(whole) == 0 || len(whole)+len(fraction) > maxDigits {
		return 0, 0, false
	}
	for _, part := range [][]byte{whole, fraction} {
		for _, c := range part {
			if !isDigit(c) {
				return 0, 0, false
			}
			n = 10*n + int64(c-'0')
		}
	}
	if len(digits) < len(text) {
		n = -n
	}
	return n, len(fraction), true
}

// text writes a part.
func (r *running) text(n int64) []byte {
	if r.scale == 0 {
		return strconv.AppendInt(nil, n, 10)
	}
	size := uint64(n)
	if n < 0 {
		size = -size
	}
	digits := strconv.FormatUint(size, 10)
	if short := r.scale + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	out := make([]byte, 0, len(digits)+2)
	if n < 0 {
		out = append(out, '-')
	}
	at := len(digits) - r.scale
	return append(append(append(out, digits[:at]...), '.'), digits[at:]...)
}

// begin starts the running sum of a row's parameter.
func (s *setShape) begin(i *shape.Item, value []byte) (running, bool) {
	var r running
	ok := s.advance(&r, i, value)
	return r, ok
}

// advance adds an operation's parameter to a running sum; where it is false, the sum
// is not to be used any more.
func (s *setShape) advance(r *running, i *shape.Item, value []byte) bool {
	at := i.Param - 1
	n, scale, ok := addend(value, s.binaryOf(at), s.types[at], s.sum[at])
	if !ok || i.Kind == shape.Minus && n == math.MinInt64 {
		return false
	}
	if i.Kind == shape.Minus {
		n = -n
	}
	if s.sum[at] == oidNumeric {
		if c := s.table.column(i.Column); c.typmod >= 0 {
			if _, most := numericTypmod(c.typmod); scale > most {
				return false // each is rounded
			}
		}
	}
	one := running{sum: n, scale: scale}
	return r.rescale(scale) && one.rescale(r.scale) && r.add(one.sum) && r.fits(s.sum[at])
}

// replaceable says whether a value may be left out since a later one replaces it:
// the column would have taken it.
func (s *setShape) replaceable(i *shape.Item, value []byte) bool {
	if value == nil {
		return false
	}
	switch c := s.table.column(i.Column); c.oid {
	case oidInt2, oidInt4, oidInt8:
		n, ok := integer(value, s.binaryOf(i.Param-1))
		return ok && inRange(n, c.oid) && inRange(n, s.types[i.Param-1])
	case oidBool:
		if s.binaryOf(i.Param - 1) {
			return len(value) == 1
		}
		word := string(value)
		return word == "t" || word == "f" || word == "true" || word == "false"
	}
	return utf8.Valid(value) && strings.IndexByte(string(value), 0) < 0
}
