package pgstrings

import (
	"strings"
	"unicode/utf8"
)

// Standard returns a text, which the server reads under off, as it says the same under on:
// '…' with a backslash in it becomes e'…'. E'…' of the client's own it writes with a capital, so
// that Lenient can tell the ones from the others. Not ok: it has U&'…', which the
// server refuses under off.
func Standard(text string) (out string, places Places, ok bool) {
	e := editor{text: text}
	ok = true
	constants(text, true, func(c constant) {
		switch {
		case c.kind == unicode:
			ok = false
		case c.kind == escape && text[c.from] == 'e':
			e.put(c.from, 1, "E")
		case c.kind == plain && c.escaped:
			e.put(c.quote, 0, apart(text, c.quote)+"e")
		case c.kind == national && c.escaped:
			e.put(c.from, 1, "NCHAR e")
		}
	})
	out, places = e.end()
	return out, places, ok
}

// Lenient returns a text, which is to be read under on, as it says the same under off. What
// Standard has made of a client's text becomes that again, nearly to the byte, so that the server
// warns of the constants that it would warn of (escape_string_warning).
func Lenient(text string) (out string, places Places) {
	if strings.IndexByte(text, '\\') < 0 {
		return text, nil
	}
	e := editor{text: text}
	constants(text, false, func(c constant) {
		switch {
		case c.kind == escape && text[c.from] == 'e' && parts(text, c.from):
			e.put(c.from, 1, "")
		case c.kind == plain && c.escaped:
			e.put(c.quote, 0, apart(text, c.quote)+"E")
			e.double(c)
		case c.kind == national && c.escaped:
			e.put(c.from, 1, "NCHAR E")
			e.double(c)
		}
	})
	return e.end()
}

// Same tells whether a text says the same under both values, whatever they are.
func Same(text string) bool {
	same := true
	if strings.IndexByte(text, '\\') < 0 && !strings.Contains(text, "&'") {
		return true
	}
	constants(text, true, func(c constant) {
		same = same && c.kind != unicode && (!c.escaped || c.kind != plain && c.kind != national)
	})
	return same
}

// apart is what has to be between what precedes a quote and a letter in front of it.
func apart(text string, quote int) string {
	if quote > 0 && (inWord(text[quote-1]) || text[quote-1] == '.') {
		return " "
	}
	return ""
}

// parts says that the letter of a constant may be left out: its quote is not taken for
// one of what precedes it.
func parts(text string, from int) bool {
	return from == 0 || strings.IndexByte(`'"&`, text[from-1]) < 0
}

// editor writes a text with changes in it.
type editor struct {
	text string
	done int
	out  strings.Builder
	// read and wrote count the characters of both.
	read, wrote int
	places      Places
}

// copyTo takes the text up to a place over.
func (e *editor) copyTo(at int) {
	n := utf8.RuneCountInString(e.text[e.done:at])
	e.read, e.wrote = e.read+n, e.wrote+n
	e.out.WriteString(e.text[e.done:at])
	e.done = at
}

// put writes s, which is ASCII, in place of the n bytes, ASCII too, at a place.
func (e *editor) put(at, n int, s string) {
	e.copyTo(at)
	e.places = append(e.places, place{e.read, e.wrote})
	e.out.WriteString(s)
	e.read, e.wrote, e.done = e.read+n, e.wrote+len(s), at+n
	e.places = append(e.places, place{e.read, e.wrote})
}

// double writes the backslashes of a constant twice.
func (e *editor) double(c constant) {
	for i := c.quote; i < c.end; i++ {
		if e.text[i] == '\\' {
			e.put(i, 0, `\`)
		}
	}
}

func (e *editor) end() (string, Places) {
	if e.places == nil {
		return e.text, nil
	}
	e.copyTo(len(e.text))
	return e.out.String(), e.places
}

// Places tell which place of a text is which of the one that was made of it. They count
// characters from 1, as error positions do.
type Places []place

// place is where both texts go on alike, each counted from 0.
type place struct{ read, wrote int }

// Read is the place in the text that was read, of one in what was written.
func (p Places) Read(n int) int {
	return moved(n, len(p), func(i int) (int, int) { return p[i].wrote, p[i].read })
}

// Wrote is the place in the text that was written, of one in what was read.
func (p Places) Wrote(n int) int {
	return moved(n, len(p), func(i int) (int, int) { return p[i].read, p[i].wrote })
}

func moved(n, list int, pair func(i int) (from, to int)) int {
	at := n - 1
	from, to, next := 0, 0, -1
	for i := range list {
		f, t := pair(i)
		if f > at {
			next = t
			break
		}
		from, to = f, t
	}
	if at = to + at - from; next >= 0 && at > next {
		at = next
	}
	return at + 1
}
