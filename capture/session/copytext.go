package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/opmux/opmux/capture/classify"
)

// copyText reads the stream of a COPY, whose pieces end anywhere, as UTF-8. In the binary
// format that concerns some of the fields.
type copyText struct {
	// types are those of the fields of a row in the binary format, else nil.
	types []uint32
	// own says that the stream is in an encoding that the COPY names: it stays in it.
	own bool
	// rest is what came of a character, or of a number or field in binary, of which limit
	// bounds the bytes (I7).
	rest  []byte
	limit int
	// begun: the header of the binary format has come; left are the fields of a row that
	// are still to come; over: what comes concerns the server alone.
	begun, over bool
	left        int
}

func newCopyText(p *classify.Plan, limit int) *copyText {
	return &copyText{types: p.CopyTypes, own: p.OwnEncoding(), limit: limit}
}

// errCopyForm says that a binary stream is not as the server reads it.
var errCopyForm = errors.New("the COPY stream is not in the binary format")

// read returns what a piece of the stream adds, in UTF-8.
func (t *copyText) read(c charset, piece []byte) ([]byte, error) {
	if t.own || c.name == utf8Name && (t.types != nil || !c.unchecked) {
		return piece, nil
	}
	if !c.exact() {
		return nil, encodingRefusal(c)
	}
	if t.types != nil {
		return t.readBinary(c, piece)
	}
	data := piece
	if len(t.rest) > 0 {
		data = slices.Concat(t.rest, piece)
	}
	whole := c.whole(data)
	if err := c.learn(data[:whole]); err != nil {
		return nil, err
	}
	out, ok := c.decode(data[:whole])
	if c.unchecked && !utf8.Valid(out) {
		return nil, &classify.Refusal{Construct: "COPY in client_encoding SQL_ASCII", Reason: "its stream is not in UTF8, as the database is",
			Hint: "SET client_encoding to what the stream is in, or COPY … (ENCODING '…')."}
	}
	if !ok {
		return nil, encodingRefusal(c)
	}
	t.rest = slices.Clone(data[whole:])
	return out, nil
}

// whole is how many bytes of data are whole characters.
func (c charset) whole(data []byte) int {
	if c.enc != nil {
		return c.enc.Whole(data)
	}
	for n := max(0, len(data)-utf8.UTFMax+1); n < len(data); n++ {
		if utf8.RuneStart(data[n]) && !utf8.FullRune(data[n:]) {
			return n
		}
	}
	return len(data)
}

// close takes the end of the stream, which must not be in the middle of a character.
func (t *copyText) close() error {
	if len(t.rest) > 0 && t.types == nil {
		return errors.New("the COPY stream ends in the middle of a character")
	}
	return nil
}

func (t *copyText) readBinary(c charset, piece []byte) ([]byte, error) {
	t.rest = append(t.rest, piece...)
	data := t.rest
	out := make([]byte, 0, len(piece)+len(piece)/4)
	for {
		n := t.next(data)
		if n > t.limit && !t.over {
			return nil, fmt.Errorf("a field of a binary COPY has %d bytes, of which %d are read at once (capture.max_message)", n, t.limit)
		}
		if n > len(data) || len(data) == 0 {
			t.rest = append(t.rest[:0], data...)
			return out, nil
		}
		var err error
		if out, err = t.item(c, out, data[:n]); err != nil {
			return nil, err
		}
		data = data[n:]
	}
}

// Parts of the binary format: signature, flags and the length of an extension; a number of
// fields; the length of a field.
const (
	copyHead   = 11 + 4 + 4
	copyCount  = 2
	copyLength = 4
)

// next is how long the part is with which data begins, as far as that can be told.
func (t *copyText) next(data []byte) int {
	head := copyLength
	switch {
	case t.over:
		return len(data)
	case !t.begun:
		head = copyHead
	case t.left == 0:
		return copyCount
	}
	if len(data) < head {
		return head
	}
	return head + max(int(int32(binary.BigEndian.Uint32(data[head-4:]))), 0)
}

// item takes one part: the header, the number of a row's fields, a field.
func (t *copyText) item(c charset, out, part []byte) ([]byte, error) {
	switch {
	case t.over:
	case !t.begun:
		t.begun = true
	case t.left == 0:
		if t.left = int(int16(binary.BigEndian.Uint16(part))); t.left < 0 {
			t.over, t.left = true, 0
		} else if t.left != len(t.types) {
			return nil, errCopyForm
		}
	default:
		read, known := c.binaryForm(t.types[len(t.types)-t.left])
		if !known {
			return nil, errCopyForm
		}
		t.left--
		if int32(binary.BigEndian.Uint32(part)) < 0 { // NULL
			break
		}
		text, ok := read(part[copyLength:])
		if !ok {
			return nil, encodingRefusal(c)
		}
		return append(binary.BigEndian.AppendUint32(out, uint32(len(text))), text...), nil
	}
	return append(out, part...), nil
}
