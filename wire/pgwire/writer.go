package pgwire

import (
	"encoding/binary"
	"io"
)

// Writer collects messages and sends them in as few writes as it can. Callers
// that share one serialise their calls.
type Writer struct {
	dst  io.Writer
	buf  []byte
	size int // bytes collected before they are sent without a Flush
}

// NewWriter returns a Writer that holds back up to size bytes.
func NewWriter(dst io.Writer, size int) *Writer {
	return &Writer{dst: dst, size: size}
}

// Write appends bytes of the stream.
func (w *Writer) Write(p []byte) error {
	if len(w.buf)+len(p) > w.size {
		if err := w.Flush(); err != nil {
			return err
		}
		if len(p) >= w.size {
			_, err := w.dst.Write(p)
			return err
		}
	}
	w.buf = append(w.buf, p...)
	return nil
}

// Message appends a message of that type.
func (w *Writer) Message(typ byte, body []byte) error {
	w.buf = binary.BigEndian.AppendUint32(append(w.buf, typ), uint32(len(body)+4))
	return w.Write(body)
}

// AppendMessage appends a message to bytes that are sent later.
func AppendMessage(b []byte, typ byte, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, typ), uint32(len(body)+4))
	return append(b, body...)
}

// Flush sends what has been collected.
func (w *Writer) Flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.dst.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// Pending returns how many bytes wait for a Flush.
func (w *Writer) Pending() int { return len(w.buf) }
