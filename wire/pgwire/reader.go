package pgwire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// headerSize is the type byte and the four length bytes before a body.
const headerSize = 5

// maxDeclared is the largest length that the protocol's peers accept
// (PostgreSQL's PQ_LARGE_MESSAGE_LIMIT is just under 1 GiB).
const maxDeclared = 1 << 30

// Message is one whole message. Its bytes are those of the Reader's buffer and
// are valid until the next call on the Reader.
type Message struct {
	Type byte
	Raw  []byte // header and body, as received
}

// Body returns the bytes after the header.
func (m Message) Body() []byte { return m.Raw[headerSize:] }

// TooLargeError says that a message is larger than its receiver keeps. The
// message has not been consumed: Discard or CopyTo takes it off the stream.
type TooLargeError struct {
	Type  byte
	Size  int // bytes of body that the peer declared
	Limit int // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("message %q of %d bytes is larger than the limit of %d bytes", e.Type, e.Size, e.Limit)
}

// ProtocolError says that a peer broke the protocol; the stream is lost.
type ProtocolError struct{ What string }

func (e *ProtocolError) Error() string { return "protocol violation: " + e.What }

// Reader finds messages in a stream. It is used by one goroutine at a time.
type Reader struct {
	src        io.Reader
	buf        []byte
	start, end int
	base       int // size of the buffer at rest
}

// NewReader returns a Reader whose buffer is of size bytes while messages are
// small.
func NewReader(src io.Reader, size int) *Reader {
	return &Reader{src: src, buf: make([]byte, size), base: size}
}

// Attach makes src the source of what has not been received yet.
func (r *Reader) Attach(src io.Reader) { r.src = src }

// Buffered returns how many received bytes have not been consumed.
func (r *Reader) Buffered() int { return r.end - r.start }

// Arrived returns the type of the next message if all of it has been received,
// else 0. It never waits.
func (r *Reader) Arrived() byte {
	if r.Buffered() < headerSize {
		return 0
	}
	typ, size, err := r.Header()
	if err != nil || r.Buffered() < headerSize+size {
		return 0
	}
	return typ
}

// First waits for the next byte and returns it, consuming nothing.
func (r *Reader) First() (byte, error) {
	if err := r.fill(1); err != nil {
		return 0, err
	}
	return r.buf[r.start], nil
}

// Header waits for the next message's header and returns its type and the
// length of its body, consuming nothing.
func (r *Reader) Header() (typ byte, size int, err error) {
	if err := r.fill(headerSize); err != nil {
		return 0, 0, err
	}
	declared := binary.BigEndian.Uint32(r.buf[r.start+1:])
	if declared < 4 || declared > maxDeclared {
		return 0, 0, &ProtocolError{fmt.Sprintf("message %q declares a length of %d bytes", r.buf[r.start], declared)}
	}
	return r.buf[r.start], int(declared) - 4, nil
}

// Message consumes and returns the next message whole, if its body has no more
// than limit bytes; otherwise the error is a *TooLargeError.
func (r *Reader) Message(limit int) (Message, error) {
	typ, size, err := r.Header()
	if err != nil {
		return Message{}, err
	}
	if size > limit {
		return Message{}, &TooLargeError{Type: typ, Size: size, Limit: limit}
	}
	if err := r.fill(headerSize + size); err != nil {
		return Message{}, err
	}
	raw := r.buf[r.start : r.start+headerSize+size : r.start+headerSize+size]
	r.start += headerSize + size
	return Message{Type: typ, Raw: raw}, nil
}

// CopyTo consumes the next message and appends it to w piece by piece, so that
// no more than a buffer of it is held.
func (r *Reader) CopyTo(w *Writer) error {
	_, size, err := r.Header()
	if err != nil {
		return err
	}
	for left := headerSize + size; left > 0; {
		if err := r.fill(1); err != nil {
			return err
		}
		n := min(left, r.Buffered())
		if err := w.Write(r.buf[r.start : r.start+n]); err != nil {
			return err
		}
		r.start += n
		left -= n
	}
	return nil
}

// Discard consumes the next message and drops it.
func (r *Reader) Discard() error {
	_, size, err := r.Header()
	if err != nil {
		return err
	}
	for left := headerSize + size; left > 0; {
		if err := r.fill(1); err != nil {
			return err
		}
		n := min(left, r.Buffered())
		r.start += n
		left -= n
	}
	return nil
}

// fill makes at least n bytes available from start on, growing the buffer only
// as far as bytes have arrived.
func (r *Reader) fill(n int) error {
	if r.end-r.start >= n {
		return nil
	}
	if r.start == r.end {
		r.start, r.end = 0, 0
		if len(r.buf) > r.base {
			r.buf = make([]byte, r.base)
		}
	}
	for r.end-r.start < n {
		if r.end == len(r.buf) {
			r.makeRoom(n)
		}
		m, err := r.src.Read(r.buf[r.end:])
		r.end += m
		if m == 0 && err != nil {
			if err == io.EOF && r.end > r.start {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// makeRoom moves what is buffered to the front, or doubles a full buffer.
func (r *Reader) makeRoom(need int) {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.end -= r.start
		r.start = 0
		return
	}
	grown := make([]byte, min(2*len(r.buf), max(need, len(r.buf)+1)))
	copy(grown, r.buf[:r.end])
	r.buf = grown
}

// ReadUntyped reads a message of the start-up phase, which has no type byte, and
// returns its body. No more than limit bytes are accepted.
func (r *Reader) ReadUntyped(limit int) ([]byte, error) {
	if err := r.fill(4); err != nil {
		return nil, err
	}
	declared := binary.BigEndian.Uint32(r.buf[r.start:])
	if declared < 8 || int64(declared) > int64(limit) {
		return nil, &ProtocolError{fmt.Sprintf("start-up packet declares a length of %d bytes", declared)}
	}
	if err := r.fill(int(declared)); err != nil {
		return nil, err
	}
	body := append([]byte(nil), r.buf[r.start+4:r.start+int(declared)]...)
	r.start += int(declared)
	return body, nil
}

// Rest returns the stream from the first byte that has not been consumed, for a
// relay that looks at messages no more.
func (r *Reader) Rest() io.Reader {
	return io.MultiReader(bytes.NewReader(r.buf[r.start:r.end]), r.src)
}
