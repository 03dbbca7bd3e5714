package classify

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

var (
	// binaryHeader begins a stream in binary: signature, no flags, no extension.
	binaryHeader = append([]byte("PGCOPY\n\xff\r\n\x00"), make([]byte, 8)...)
	// binaryEnd stands in place of the number of fields of a row.
	binaryEnd = []byte{0xff, 0xff}
)

// binarySplitter finds the rows of the binary format.
type binarySplitter struct {
	// word are the bytes of a number of fields or of a length that came so far;
	// fields and bytes are what is left of the row and of the field.
	word          []byte
	fields, bytes int
	ended, foul   bool
}

func (s *binarySplitter) whole() bool {
	return s.foul || len(s.word) == 0 && s.fields == 0 && s.bytes == 0
}

func (s *binarySplitter) within() bool { return !s.foul && (s.fields != 0 || s.bytes != 0) }

func (s *binarySplitter) close(r *CopyRows) error {
	if len(r.header) < len(binaryHeader) {
		s.foul = true // the server says what is wrong with it
	}
	return nil
}

func (s *binarySplitter) next(r *CopyRows, b byte) error {
	switch {
	case s.ended:
		return fmt.Errorf("%w: data comes after its end", ErrCopyStream)
	case s.foul:
		r.buf = append(r.buf, b)
		return nil
	case len(r.header) < len(binaryHeader):
		r.header = append(r.header, b)
		if len(r.header) == len(binaryHeader) && !bytes.Equal(r.header, binaryHeader) {
			return fmt.Errorf("%w: it does not begin with a plain header of the binary format", ErrCopyStream)
		}
		return nil
	case s.bytes > 0:
		r.buf = append(r.buf, b)
		s.bytes--
		return nil
	}
	s.word = append(s.word, b)
	if s.fields == 0 {
		return s.begin(r)
	}
	r.buf = append(r.buf, b)
	if len(s.word) < 4 {
		return nil
	}
	s.bytes = max(int(int32(binary.BigEndian.Uint32(s.word))), 0)
	s.word = s.word[:0]
	s.fields--
	return nil
}

// begin takes the number of fields of a row, and notes what a row has.
func (s *binarySplitter) begin(r *CopyRows) error {
	if len(s.word) < 2 {
		return nil
	}
	if bytes.Equal(s.word, binaryEnd) {
		s.ended, s.word = true, s.word[:0]
		return nil
	}
	r.buf = append(r.buf, s.word...)
	s.fields = int(binary.BigEndian.Uint16(s.word))
	s.word = s.word[:0]
	r.lines++
	r.begin()
	return nil
}
