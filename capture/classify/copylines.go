package classify

import (
	"bytes"
	"fmt"

	"github.com/opmux/opmux/wire/pgencoding"
)

// newline is how the lines of a stream end: the first one settles it.
type newline uint8

const (
	newlineUnknown newline = iota
	newlineLF
	newlineCR
	newlineCRLF
)

// lineSplitter finds the rows of the text and CSV formats by the rules of the
// server's CopyReadLineText.
type lineSplitter struct {
	format copyFormat
	eol    newline
	// first: no byte of the current line was seen; heading: that line is the header.
	first, heading bool
	// length is that of the current line.
	length int
	// afterCR: the last byte was a CR that may be (half of) the line's end.
	afterCR bool
	// escaped: the last byte was a backslash; marked: the last two were \. and the
	// line's end makes them the stream's.
	escaped, marked bool
	inQuote, wasEsc bool
	ended           bool
	mask            *pgencoding.Mask
}

func (l *lineSplitter) whole() bool { return l.first && !l.afterCR }

func (l *lineSplitter) within() bool { return !l.whole() }

func (l *lineSplitter) close(r *CopyRows) error {
	if l.afterCR {
		l.endLine(r)
	}
	if l.marked {
		l.endStream(r)
	}
	if !l.first {
		r.lines++
	}
	return nil
}

func (l *lineSplitter) next(r *CopyRows, b byte) error {
	if l.ended {
		return nil // the server ignores it as well
	}
	own := b
	b = l.mask.Next(b)
	if l.afterCR {
		l.afterCR = false
		switch {
		case b == '\n' && l.eol != newlineCR:
			l.eol = newlineCRLF
			r.buf = append(r.buf, b)
			l.endLine(r)
			return nil
		case l.eol == newlineUnknown:
			l.eol = newlineCR
			l.endLine(r)
			if l.ended {
				return nil
			}
		default:
			if err := l.odd(r); err != nil {
				return err
			}
		}
	}
	if l.first {
		l.first = false
		if !l.heading {
			r.begin()
		}
	}
	r.buf = append(r.buf, own)
	l.length++
	return l.meaning(r, b)
}

// meaning is what a byte of a line does.
func (l *lineSplitter) meaning(r *CopyRows, b byte) error {
	f := l.format
	if f.csv {
		if l.inQuote && f.escape != f.quote && b == f.escape {
			l.wasEsc = !l.wasEsc
		}
		if b == f.quote && !l.wasEsc {
			l.inQuote = !l.inQuote
		}
		if f.escape == f.quote || b != f.escape {
			l.wasEsc = false
		}
		if l.inQuote {
			if b == '\n' && l.eol != newlineCR || b == '\r' && l.eol == newlineCR {
				r.lines++
			}
			return nil
		}
	}
	if l.escaped {
		l.escaped = false
		if b == '.' {
			l.marked = true
			return nil
		}
		if !f.csv {
			return nil
		}
	}
	switch {
	case b == '\n' && (l.eol == newlineUnknown || l.eol == newlineLF):
		l.eol = newlineLF
		l.endLine(r)
		return nil
	case b == '\r' && l.eol == newlineCR:
		l.endLine(r)
		return nil
	case b == '\r' && (l.eol == newlineUnknown || l.eol == newlineCRLF):
		l.afterCR = true
		return nil
	case b == '\n' || b == '\r':
		return l.odd(r)
	case b == '\\' && (!f.csv || l.length == 1):
		l.escaped = true
	}
	l.marked = false
	return nil
}

// odd deals with a line end of another kind than the first. The server refuses it
// where it has seen the first one, which is so in the first piece of the stream.
func (l *lineSplitter) odd(r *CopyRows) error {
	if r.before == 0 {
		return nil
	}
	return fmt.Errorf("%w: its lines end in different ways", ErrCopyStream)
}

func (l *lineSplitter) endLine(r *CopyRows) {
	if l.marked {
		l.endStream(r)
		return
	}
	if l.heading {
		r.header, r.buf = bytes.Clone(r.buf), r.buf[:0]
	} else {
		r.lines++
	}
	l.first, l.heading, l.length, l.inQuote, l.wasEsc = true, false, 0, false, false
}

// endStream takes the mark of the stream's end. Where a line consists of it alone,
// that line is no row: the server gets it in CSV, in which newer servers take it for
// data (and refuse it, since columns are missing), and nobody else does.
func (l *lineSplitter) endStream(r *CopyRows) {
	l.ended, l.marked = true, false
	n := len(r.starts)
	if n == 0 {
		return
	}
	if start := r.starts[n-1]; string(bytes.TrimRight(r.buf[start:], "\r\n")) == `\.` {
		if l.format.csv {
			r.mark = bytes.Clone(r.buf[start:])
		}
		r.buf, r.starts, l.first = r.buf[:start], r.starts[:n-1], true
	}
}
