package execute

import (
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/opmux/opmux/internal/shape"
)

// running is the sum of what several operations add to one column of one row, and
// the highest and lowest value that it had on the way, 0 among them.
type running struct {
	sum, high, low *big.Int
	scale          int // of the decimals, which are these numbers / 10^scale
}

func (r *running) add(n *big.Int) {
	r.sum = new(big.Int).Add(r.sum, n)
	if r.sum.Cmp(r.high) > 0 {
		r.high = r.sum
	}
	if r.sum.Cmp(r.low) < 0 {
		r.low = r.sum
	}
}

// rescale brings it to at least so many decimals.
func (r *running) rescale(scale int) {
	if scale <= r.scale {
		return
	}
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale-r.scale)), nil)
	for _, n := range []**big.Int{&r.sum, &r.high, &r.low} {
		*n = new(big.Int).Mul(*n, ten)
	}
	r.scale = scale
}

// parts are the three numbers that are added one after the other: up to the
// highest value, down to the lowest, and to the sum.
func (r *running) parts() [3]*big.Int {
	return [3]*big.Int{r.high, new(big.Int).Sub(r.low, r.high), new(big.Int).Sub(r.sum, r.low)}
}

// fits says that the parts are values of an integer type.
func (r *running) fits(oid uint32) bool {
	for _, n := range r.parts() {
		if !n.IsInt64() || !inRange(n.Int64(), oid) {
			return false
		}
	}
	return true
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

// maxDigits bounds the decimals that are added up: longer ones are rare, and far
// from where numeric itself has a bound.
const maxDigits = 200

// addend reads what a parameter of a type adds to a column of a type, as an integer
// and its number of decimals.
func addend(value []byte, binaryForm bool, param, column uint32) (n *big.Int, scale int, ok bool) {
	if value == nil {
		return nil, 0, false
	}
	if familyOf(param) != integers {
		return decimal(string(value))
	}
	i, ok := integer(value, binaryForm)
	ok = ok && inRange(i, param) && (column == oidNumeric || inRange(i, column))
	return big.NewInt(i), 0, ok
}

func decimal(text string) (*big.Int, int, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	digits := strings.TrimPrefix(whole, "-") + fraction
	if digits == "" || len(digits) > maxDigits || strings.TrimLeft(digits, "0123456789") != "" || whole == "" || whole == "-" {
		return nil, 0, false
	}
	n, ok := new(big.Int).SetString(whole+fraction, 10)
	return n, len(fraction), ok
}

// text writes a part.
func (r *running) text(n *big.Int) []byte {
	if r.scale == 0 {
		return n.Append(nil, 10)
	}
	digits := new(big.Int).Abs(n).String()
	if short := r.scale + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	out := make([]byte, 0, len(digits)+2)
	if n.Sign() < 0 {
		out = append(out, '-')
	}
	at := len(digits) - r.scale
	return append(append(append(out, digits[:at]...), '.'), digits[at:]...)
}

// begin starts the running sum of a row's parameter.
func (s *setShape) begin(i *shape.Item, value []byte) (*running, bool) {
	r := &running{sum: new(big.Int), high: new(big.Int), low: new(big.Int)}
	return r, s.advance(r, i, value)
}

// advance adds an operation's parameter to a running sum.
func (s *setShape) advance(r *running, i *shape.Item, value []byte) bool {
	at := i.Param - 1
	n, scale, ok := addend(value, s.binaryOf(at), s.types[at], s.sum[at])
	if !ok {
		return false
	}
	if i.Kind == shape.Minus {
		n = new(big.Int).Neg(n)
	}
	if c := s.table.column(i.Column); c.oid == oidNumeric && c.typmod >= 0 {
		if _, most := numericTypmod(c.typmod); scale > most {
			return false // each is rounded
		}
	}
	r.rescale(scale)
	if scale < r.scale {
		other := &running{sum: n, high: n, low: n, scale: scale}
		other.rescale(r.scale)
		n = other.sum
	}
	r.add(n)
	return s.sum[at] == oidNumeric || r.fits(s.sum[at])
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

// clone returns a copy that can be changed without the other.
func (r *running) clone() *running {
	c := *r
	return &c
}
