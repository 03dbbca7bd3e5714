package position

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Range is the offsets from From up to and without To.
type Range struct{ From, To int64 }

// Ranges is a set of offsets. The zero value is empty. Its text form is
// "3-7,9": inclusive ranges in order.
type Ranges struct{ list []Range }

// Add puts one offset into the set.
func (r *Ranges) Add(offset int64) { r.AddRange(offset, offset+1) }

// AddRange puts offsets into the set: those from the first one up to and without the second.
func (r *Ranges) AddRange(from, to int64) {
	if from >= to {
		return
	}
	// First range that touches or lies behind the new one.
	i := sort.Search(len(r.list), func(i int) bool { return r.list[i].To >= from })
	j := i
	for j < len(r.list) && r.list[j].From <= to {
		from = min(from, r.list[j].From)
		to = max(to, r.list[j].To)
		j++
	}
	if i == j {
		r.list = append(r.list, Range{})
		copy(r.list[i+1:], r.list[i:])
		r.list[i] = Range{from, to}
		return
	}
	r.list[i] = Range{from, to}
	r.list = append(r.list[:i+1], r.list[j:]...)
}

// Has says whether offset is in the set.
func (r *Ranges) Has(offset int64) bool {
	i := sort.Search(len(r.list), func(i int) bool { return r.list[i].To > offset })
	return i < len(r.list) && r.list[i].From <= offset
}

// TrimBelow takes every offset below low out of the set.
func (r *Ranges) TrimBelow(low int64) {
	i := sort.Search(len(r.list), func(i int) bool { return r.list[i].To > low })
	r.list = append(r.list[:0], r.list[i:]...)
	if len(r.list) > 0 && r.list[0].From < low {
		r.list[0].From = low
	}
}

// Merge puts every offset of another set into this one.
func (r *Ranges) Merge(other Ranges) {
	for _, o := range other.list {
		r.AddRange(o.From, o.To)
	}
}

// Len returns the number of ranges.
func (r *Ranges) Len() int { return len(r.list) }

// End returns the offset behind the last one in the set, 0 for an empty set.
func (r *Ranges) End() int64 {
	if len(r.list) == 0 {
		return 0
	}
	return r.list[len(r.list)-1].To
}

// Clone returns a copy that shares nothing with the set.
func (r *Ranges) Clone() Ranges {
	return Ranges{list: append([]Range(nil), r.list...)}
}

// String returns the text form.
func (r *Ranges) String() string {
	var b strings.Builder
	for i, x := range r.list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(x.From, 10))
		if x.To > x.From+1 {
			b.WriteByte('-')
			b.WriteString(strconv.FormatInt(x.To-1, 10))
		}
	}
	return b.String()
}

// ParseRanges reads the text form.
func ParseRanges(text string) (Ranges, error) {
	var r Ranges
	if text == "" {
		return r, nil
	}
	for _, part := range strings.Split(text, ",") {
		first, last, ok := strings.Cut(part, "-")
		if !ok {
			last = first
		}
		from, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return r, fmt.Errorf("ranges %q: %w", text, err)
		}
		to, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			return r, fmt.Errorf("ranges %q: %w", text, err)
		}
		if to < from {
			return r, fmt.Errorf("ranges %q: %d is behind %d", text, from, to)
		}
		r.AddRange(from, to+1)
	}
	return r, nil
}
