package classify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgencoding"
)

// CopyRows collects a piece of a COPY's stream and finds where its rows begin, as
// the server does. What it holds is for its caller to bound (I7): Take it away.
type CopyRows struct {
	draw     *CopyDraw
	encoding string
	buf      []byte
	// starts are the places in buf where the drawn fields of a row go.
	starts []int
	// header precedes the rows of each piece, mark ends those of the last one; begun
	// says that the header has been published.
	header, mark []byte
	begun        bool
	// lines is how many lines the piece has, before those of the pieces before it.
	lines, before int64
	prefixes      [][]byte
	split         splitter
}

// splitter finds the rows of one format.
type splitter interface {
	// next takes a byte of the stream.
	next(r *CopyRows, b byte) error
	// close takes the end of the stream.
	close(r *CopyRows) error
	// whole tells whether the last row is complete.
	whole() bool
	// within tells whether the stream is within the row that began last.
	within() bool
}

// ErrCopyStream says that a stream cannot be followed: the COPY must be failed.
var ErrCopyStream = errors.New("the COPY stream cannot be followed")

// NewCopyRows returns what takes the stream of a COPY that draws, nil for others. Stream
// and drawn values are in that encoding.
func (p *Plan) NewCopyRows(encoding string) *CopyRows {
	if p.CopyDraw == nil {
		return nil
	}
	r := &CopyRows{draw: p.CopyDraw, encoding: encoding}
	if p.CopyDraw.format.binary {
		r.split = &binarySplitter{}
	} else {
		r.split = &lineSplitter{format: p.CopyDraw.format, first: true, heading: p.CopyDraw.format.header, mask: pgencoding.Masked(encoding)}
	}
	return r
}

// Add takes bytes until at least size of them or as many rows are held, and the
// last row is complete; it returns how many it took.
func (r *CopyRows) Add(data []byte, size, rows int) (int, error) {
	for i, b := range data {
		if (len(r.buf) >= size || len(r.starts) >= rows) && r.split.whole() {
			return i, nil
		}
		if err := r.split.next(r, b); err != nil {
			return i, err
		}
	}
	return len(data), nil
}

// Close takes the end of the stream.
func (r *CopyRows) Close() error { return r.split.close(r) }

// Cut drops a last row of which only the beginning has come: the server looks at whole ones.
func (r *CopyRows) Cut() {
	if last := len(r.starts) - 1; last >= 0 && r.split.within() {
		r.buf, r.starts = r.buf[:r.starts[last]], r.starts[:last]
	}
}

// Size is how many bytes are held.
func (r *CopyRows) Size() int { return len(r.buf) }

// Rows is how many rows are held: as many values are to be drawn.
func (r *CopyRows) Rows() int { return len(r.starts) }

// Before is how many lines were taken away before the piece that was taken last.
func (r *CopyRows) Before() int64 { return r.before }

// Prefix is what was put before the row in a line (from 1) of the piece taken last.
func (r *CopyRows) Prefix(line int64) []byte {
	if r.draw.format.header {
		line--
	}
	if line < 1 || line > int64(len(r.prefixes)) {
		return nil
	}
	return r.prefixes[line-1]
}

// Take returns the rows held with their drawn values: as a stream of its own for
// the server, and as the part of one long stream to publish.
func (r *CopyRows) Take(drawn [][]event.Value, last bool) (stream, part []byte, err error) {
	if len(drawn) != len(r.starts) {
		return nil, nil, fmt.Errorf("%d rows were drawn for %d rows of COPY", len(drawn), len(r.starts))
	}
	stream = slices.Grow(slices.Clone(r.header), len(r.buf)+len(r.starts)*16)
	r.prefixes = r.prefixes[:0]
	at := 0
	for i, start := range r.starts {
		stream = append(stream, r.buf[at:start]...)
		begin := len(stream)
		if r.draw.format.binary { // the number of fields
			n := binary.BigEndian.Uint16(stream[begin-2:])
			binary.BigEndian.PutUint16(stream[begin-2:], n+uint16(r.draw.width))
		}
		if stream, err = r.draw.prefix(stream, drawn[i], r.encoding); err != nil {
			return nil, nil, err
		}
		r.prefixes = append(r.prefixes, stream[begin:len(stream):len(stream)])
		at = start
	}
	stream = append(stream, r.buf[at:]...)
	part = stream[len(r.header):]
	if !r.begun {
		part, r.begun = stream, true
	}
	if r.draw.format.binary && r.split.whole() {
		if stream = append(stream, binaryEnd...); last {
			part = append(slices.Clone(part), binaryEnd...)
		}
	}
	stream = append(stream, r.mark...)
	r.buf, r.starts = r.buf[:0], r.starts[:0]
	return stream, part, nil
}

// Taken notes that the server has the piece.
func (r *CopyRows) Taken() {
	r.before += r.lines
	r.lines, r.prefixes = 0, nil
}

// begin notes that a row begins here.
func (r *CopyRows) begin() { r.starts = append(r.starts, len(r.buf)) }
