// Package pgstrings knows how PostgreSQL reads string constants under either value of
// standard_conforming_strings: under off a backslash in '…' is an escape, as it is in E'…'
// always. It writes a text that was meant for the one as it is to be for the other. It has
// a scanner of its own, since pg_query's reads texts under on alone.
package pgstrings

// kind is what a constant begins with.
type kind uint8

const (
	plain    kind = iota // '…'
	national             // N'…', which the server reads as NCHAR '…'
	escape               // E'…'
	unicode              // U&'…'
	bits                 // B'…', X'…'
)

// constant is a string constant in a text, with those that continue it on later lines.
type constant struct {
	kind kind
	// from is where it begins, quote where its first quote is, end what is behind it.
	from, quote, end int
	// escaped says that a backslash is in it.
	escaped bool
}

// constants visits the string constants of a text, which is read under off where lenient.
func constants(text string, lenient bool, visit func(c constant)) {
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\'':
			i = found(text, lenient, visit, plain, i, i)
		case c == '"':
			i = behind(text, i+1, '"')
		case c == '-' && at(text, i+1) == '-':
			i = lineEnd(text, i)
		case c == '/' && at(text, i+1) == '*':
			i = commentEnd(text, i)
		case c == '$':
			i = dollar(text, i)
		case beginsWord(c):
			i = word(text, i, lenient, visit)
		default:
			i++
		}
	}
}

// found visits a constant and returns what is behind it.
func found(text string, lenient bool, visit func(c constant), k kind, from, quote int) int {
	c := constant{kind: k, from: from, quote: quote}
	escapes := k == escape || lenient && (k == plain || k == national)
	i := quote + 1
	for ; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			c.escaped = true
			if escapes {
				i++
			}
			continue
		case text[i] != '\'':
			continue
		case k != bits && at(text, i+1) == '\'':
			i++
			continue
		}
		next := continued(text, i+1)
		if next < 0 {
			i++
			break
		}
		i = next
	}
	c.end = min(i, len(text))
	visit(c)
	return c.end
}

// continued is where the quote is by which a constant that was closed before i goes on: behind a line's
// end and nothing else but blanks and comments of one line. -1: it does not.
func continued(text string, i int) int {
	line := false
	for i < len(text) {
		switch c := text[i]; {
		case c == '\n' || c == '\r':
			line = true
			i++
		case c == ' ' || c == '\t' || c == '\f' || c == '\v':
			i++
		case c == '-' && at(text, i+1) == '-':
			i = lineEnd(text, i)
		case c == '\'' && line:
			return i
		default:
			return -1
		}
	}
	return -1
}

// word reads a name or a keyword, or the letter that a constant begins with.
func word(text string, i int, lenient bool, visit func(c constant)) int {
	end := i + 1
	for end < len(text) && inWord(text[end]) {
		end++
	}
	if end > i+1 {
		return end
	}
	switch next := at(text, end); {
	case next == '\'':
		switch text[i] | 0x20 {
		case 'e':
			return found(text, lenient, visit, escape, i, end)
		case 'n':
			return found(text, lenient, visit, national, i, end)
		case 'b', 'x':
			return found(text, lenient, visit, bits, i, end)
		}
	case next == '&' && text[i]|0x20 == 'u' && at(text, end+1) == '\'':
		return found(text, lenient, visit, unicode, i, end+1)
	}
	return end
}

// dollar reads $1, or a constant in $tag$…$tag$.
func dollar(text string, i int) int {
	end := i + 1
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	if end > i+1 {
		return end
	}
	if beginsWord(at(text, end)) {
		for end < len(text) && inWord(text[end]) && text[end] != '$' {
			end++
		}
	}
	if at(text, end) != '$' {
		return i + 1
	}
	tag := text[i : end+1]
	for k := end + 1; k+len(tag) <= len(text); k++ {
		if text[k:k+len(tag)] == tag {
			return k + len(tag)
		}
	}
	return len(text)
}

// behind is what follows the next c.
func behind(text string, i int, c byte) int {
	for ; i < len(text); i++ {
		if text[i] == c {
			return i + 1
		}
	}
	return len(text)
}

func lineEnd(text string, i int) int {
	for i < len(text) && text[i] != '\n' && text[i] != '\r' {
		i++
	}
	return i
}

// commentEnd is what follows a comment, which others may be in.
func commentEnd(text string, i int) int {
	depth := 0
	for i < len(text) {
		switch {
		case text[i] == '/' && at(text, i+1) == '*':
			depth++
			i += 2
		case text[i] == '*' && at(text, i+1) == '/':
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(text)
}

// at is the byte at a place, 0 behind the text.
func at(text string, i int) byte {
	if i < len(text) {
		return text[i]
	}
	return 0
}

func beginsWord(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80
}

func inWord(c byte) bool { return beginsWord(c) || c >= '0' && c <= '9' || c == '$' }
