package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// writer appends values in Avro's binary encoding. The first error sticks.
type writer struct {
	b      []byte
	err    error
	origin int64 // of times in operations, see originOf
}

func (w *writer) long(v int64)   { w.b = binary.AppendVarint(w.b, v) } // Avro's zig-zag is Go's varint
func (w *writer) fixed(v []byte) { w.b = append(w.b, v...) }
func (w *writer) bytes(v []byte) { w.long(int64(len(v))); w.b = append(w.b, v...) }

// string refuses what is not UTF-8, since no reader would take it back.
func (w *writer) string(v string) {
	if w.err == nil && !utf8.ValidString(v) {
		w.err = fmt.Errorf("avro: a string is not UTF-8: %.60q", v)
	}
	w.long(int64(len(v)))
	w.b = append(w.b, v...)
}

// packed is string in the short form of phrases.go.
func (w *writer) packed(v string) {
	if w.err == nil && !utf8.ValidString(v) {
		w.err = fmt.Errorf("avro: a text is not UTF-8: %.60q", v)
	}
	var room [512]byte
	w.bytes(published.phrases.pack(room[:0], v))
}

func (w *writer) packedAll(items []string) {
	writeArray(w, items, func(w *writer, s *string) { w.packed(*s) })
}

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

// present writes the branch of a union of null and something that follows.
func (w *writer) present(yes bool) bool {
	if yes {
		w.long(1)
	} else {
		w.long(0)
	}
	return yes
}

// nullable writes the union ["null", "bytes"].
func (w *writer) nullable(null bool, v []byte) {
	if null {
		w.long(0)
		return
	}
	w.long(1)
	w.bytes(v)
}

// enum writes the place of v among symbols. The empty value is "unset" where
// the enum has such a symbol.
func (w *writer) enum(name string, symbols []string, v string) {
	if v == "" {
		v = unset
	}
	for i, s := range symbols {
		if s == v {
			w.long(int64(i))
			return
		}
	}
	if w.err == nil {
		w.err = fmt.Errorf("avro: %s %q is none of %v", name, v, symbols)
	}
}

// writeArray writes items as one block and the end of the array.
func writeArray[T any](w *writer, items []T, write func(*writer, *T)) {
	if len(items) > 0 {
		w.long(int64(len(items)))
		for i := range items {
			write(w, &items[i])
		}
	}
	w.long(0)
}

func (w *writer) strings(items []string) {
	writeArray(w, items, func(w *writer, s *string) { w.string(*s) })
}

func errBranch(i int64) error { return fmt.Errorf("the union has no branch %d", i) }

var errShort = errors.New("the value ends in the middle of a field")

// reader takes values in Avro's binary encoding off its front. It never
// allocates from a declared length alone. The first error sticks; after it,
// every value is zero. Byte slices that it returns are parts of b.
type reader struct {
	b        []byte
	err      error
	version  int       // of the writer's schema
	origin   int64     // of times in operations, see originOf
	contexts *contexts // nil: none are kept
	room     []byte    // see made
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) long() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int32 {
	v := r.long()
	if int64(int32(v)) != v {
		r.fail(fmt.Errorf("%d does not fit an int", v))
		return 0
	}
	return int32(v)
}

func (r *reader) uint32() uint32 {
	v := r.long()
	if int64(uint32(v)) != v {
		r.fail(fmt.Errorf("%d does not fit 32 bits", v))
		return 0
	}
	return uint32(v)
}

func (r *reader) take(n int64) []byte {
	if n < 0 || n > int64(len(r.b)) {
		r.fail(errShort)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// bytes returns nil for no bytes.
func (r *reader) bytes() []byte {
	if v := r.take(r.long()); len(v) > 0 {
		return v
	}
	return nil
}

func (r *reader) string() string {
	v := r.take(r.long())
	if !utf8.Valid(v) {
		r.fail(errors.New("a string is not UTF-8"))
		return ""
	}
	return string(v)
}

func (r *reader) packed() string {
	text, err := published.phrases.unpack(r.take(r.long()))
	if err != nil {
		r.fail(err)
	}
	return text
}

func (r *reader) packedAll() []string {
	return readArray(r, func(r *reader, s *string) { *s = r.packed() })
}

func (r *reader) fixed(dst []byte) { copy(dst, r.take(int64(len(dst)))) }

func (r *reader) bool() bool {
	v := r.take(1)
	if len(v) == 1 && v[0] > 1 {
		r.fail(fmt.Errorf("%d is not a boolean", v[0]))
	}
	return len(v) == 1 && v[0] == 1
}

// present reads the branch of a union of null and something that follows.
func (r *reader) present() bool {
	branch := r.long()
	if branch < 0 || branch > 1 {
		r.fail(errBranch(branch))
	}
	return branch == 1
}

func (r *reader) nullable() (null bool, v []byte) {
	switch i := r.long(); i {
	case 0:
		return true, nil
	case 1:
		return false, r.bytes()
	default:
		r.fail(errBranch(i))
		return true, nil
	}
}

func (r *reader) enum(symbols []string) string {
	i := r.long()
	if i < 0 || i >= int64(len(symbols)) {
		r.fail(fmt.Errorf("enum %v has no symbol %d", symbols, i))
		return ""
	}
	if symbols[i] == unset {
		return ""
	}
	return symbols[i]
}

// maxAhead bounds for how many items readArray makes room before it reads them.
const maxAhead = 8

// roomSize is how many bytes made makes room for at once.
const roomSize = 256

// made returns what write appends. Short values share an allocation.
func (r *reader) made(v int64, write func([]byte, int64) []byte) []byte {
	const most = 40 // more than any of them takes; a longer one would only move
	if cap(r.room)-len(r.room) < most {
		r.room = make([]byte, 0, roomSize)
	}
	from := len(r.room)
	r.room = write(r.room, v)
	return slices.Clip(r.room[from:])
}

// readArray reads all blocks of an array. Every item takes at least one byte,
// so a count above what is left is refused before anything is allocated.
func readArray[T any](r *reader, read func(*reader, *T)) []T {
	var items []T
	for r.err == nil {
		n := r.long()
		if n == 0 {
			break
		}
		if n < 0 { // the block's size in bytes follows
			n = -n
			r.long()
		}
		if n < 0 || n > int64(len(r.b)) {
			r.fail(errShort)
			break
		}
		items = slices.Grow(items, int(min(n, maxAhead)))
		for range n {
			if r.err != nil {
				return nil
			}
			var zero T
			items = append(items, zero)
			read(r, &items[len(items)-1])
		}
	}
	return items
}

func (r *reader) strings() []string {
	return readArray(r, func(r *reader, s *string) { *s = r.string() })
}
