// Package pgencoding turns text of a client's encoding into UTF-8 and back, as a
// PostgreSQL server whose database is in UTF8 does.
//
// Encoding is one of single bytes, in which every byte below 0x80 is ASCII and every
// other one a character of its own: where the words and strings of a text end is the
// same before and behind the conversion, and so are pieces of a stream. What it says of
// each byte is compared with a server's own answer by a test. A byte that the server has
// no character for, or that servers and standards disagree about, has none here either.
// Wide is one of several bytes, some of which may be a quote or a backslash: its text has
// to be read before it is understood. A server is asked for its characters.
package pgencoding

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Encoding is one client encoding of single bytes.
type Encoding struct {
	Name string
	// high are the characters of the bytes from 0x80 on, utf8.RuneError for none; bytes
	// is the way back.
	high  [0x80]rune
	bytes map[rune]byte
}

// source is where the characters of an encoding are from. In the encodings of ISO 8859
// the bytes 0x80 to 0x9f are the control characters of these numbers; except has none
// for some bytes more.
type source struct {
	chars  *charmap.Charmap
	iso    bool
	except []byte
}

var sources = map[string]source{
	"LATIN1": {chars: charmap.ISO8859_1}, "LATIN2": {chars: charmap.ISO8859_2, iso: true},
	"LATIN3": {chars: charmap.ISO8859_3, iso: true}, "LATIN4": {chars: charmap.ISO8859_4, iso: true},
	"LATIN5": {chars: charmap.ISO8859_9}, "LATIN6": {chars: charmap.ISO8859_10, iso: true},
	"LATIN7": {chars: charmap.ISO8859_13, iso: true}, "LATIN8": {chars: charmap.ISO8859_14, iso: true},
	"LATIN9": {chars: charmap.ISO8859_15, iso: true}, "LATIN10": {chars: charmap.ISO8859_16, iso: true},
	"ISO_8859_5": {chars: charmap.ISO8859_5, iso: true}, "ISO_8859_6": {chars: charmap.ISO8859_6, iso: true},
	"ISO_8859_7": {chars: charmap.ISO8859_7, iso: true}, "ISO_8859_8": {chars: charmap.ISO8859_8, iso: true},
	"WIN1250": {chars: charmap.Windows1250}, "WIN1251": {chars: charmap.Windows1251}, "WIN1252": {chars: charmap.Windows1252},
	"WIN1253": {chars: charmap.Windows1253}, "WIN1254": {chars: charmap.Windows1254},
	"WIN1255": {chars: charmap.Windows1255, except: []byte{0xca}}, // the standard has U+05BA, PostgreSQL nothing
	"WIN1256": {chars: charmap.Windows1256}, "WIN1257": {chars: charmap.Windows1257}, "WIN1258": {chars: charmap.Windows1258},
	"WIN866": {chars: charmap.CodePage866}, "WIN874": {chars: charmap.Windows874}, "KOI8R": {chars: charmap.KOI8R},
	"KOI8U": {chars: charmap.KOI8U, except: []byte{0xae, 0xbe}}, // PostgreSQL has the box characters of KOI8R
}

var encodings = func() map[string]*Encoding {
	all := make(map[string]*Encoding, len(sources))
	for name, from := range sources {
		all[name] = newEncoding(name, from)
	}
	return all
}()

func newEncoding(name string, from source) *Encoding {
	e := &Encoding{Name: name, bytes: make(map[rune]byte, 0x80)}
	for i := range e.high {
		b := byte(0x80 + i)
		e.high[i] = from.chars.DecodeByte(b)
		if from.iso && b < 0xa0 {
			e.high[i] = rune(b)
		}
		if strings.IndexByte(string(from.except), b) >= 0 {
			e.high[i] = utf8.RuneError
		}
		if e.high[i] != utf8.RuneError {
			e.bytes[e.high[i]] = b
		}
	}
	return e
}

// Named returns the encoding of that name, as the setting client_encoding has it, nil
// where it is not one of those that are known here.
func Named(name string) *Encoding { return encodings[name] }

// Whole implements Text.
func (e *Encoding) Whole(text []byte) int { return len(text) }

// Append implements Text.
func (e *Encoding) Append(to, text []byte) ([]byte, bool) {
	for _, b := range text {
		if b < utf8.RuneSelf {
			to = append(to, b)
			continue
		}
		c := e.high[b-0x80]
		if c == utf8.RuneError {
			return to, false
		}
		to = utf8.AppendRune(to, c)
	}
	return to, true
}

// Encode implements Text.
func (e *Encoding) Encode(text string) (string, bool) {
	whole := true
	var b strings.Builder
	b.Grow(len(text))
	for _, c := range text {
		if c < utf8.RuneSelf {
			b.WriteByte(byte(c))
			continue
		}
		code, has := e.bytes[c]
		if !has {
			code, whole = '?', false
		}
		b.WriteByte(code)
	}
	return b.String(), whole
}

// ASCII tells text that is the same in every client encoding.
func ASCII[T ~string | ~[]byte](text T) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
