package session

import (
	"strings"

	"github.com/opmux/opmux/wire/pgencoding"
	"github.com/opmux/opmux/wire/pgstrings"
)

// Behind the protocol's messages every text is one under standard_conforming_strings = on
// (ADR 40), as it is in UTF-8: a constant of the client's with a backslash under off is an e'…'
// when it is classified, cached, published and compared. What goes to the server is written
// for the value that it has then, which is the client's own text where nothing was added.

// stringsSetting is reported by the server at its next ReadyForQuery, as client_encoding is.
const (
	stringsSetting  = "standard_conforming_strings"
	stringsLenient  = "off"
	stringsStandard = "on"
)

// clientText is a text as the client sent it, and as it is taken for.
type clientText struct {
	encoding, raw, text string
	// lenient: it was read under standard_conforming_strings = off. places tell which
	// of text is which of the client's characters.
	lenient bool
	places  pgstrings.Places
}

// in returns a text that ends in it as the client wrote it: an encoding may have two forms
// of one character. Not ok: it does not, or is read in another way by now.
func (t *clientText) in(c charset, lenient bool, text string) (before, raw string, ok bool) {
	before, ends := strings.CutSuffix(text, t.text)
	return before, t.raw, ends && t.text != "" && t.raw != "" && t.encoding == c.name && t.lenient == lenient && pgencoding.ASCII(before)
}

// standardText makes a text that was decoded one under standard_conforming_strings = on.
func (s *Session) standardText(raw, decoded string) (string, *unread, error) {
	c := s.charsetNow()
	t := clientText{encoding: c.name, raw: raw, text: decoded}
	s.locked(func() { t.lenient = s.lenient })
	if t.lenient {
		text, places, ok := pgstrings.Standard(decoded)
		if !ok {
			return raw, &unread{unicodeConstant, true}, nil
		}
		t.text, t.places = text, places
	}
	if t.text == raw {
		return raw, nil, nil
	}
	s.lastRead = t
	if len(raw) > maxLastRead {
		s.lastRead.raw, s.lastRead.text = "", ""
	}
	return t.text, nil, nil
}

// unicodeConstant is what the server itself says, which is asked first.
var unicodeConstant = &refusal{code: stateNotSupported, message: "string constants with Unicode escapes cannot be used when standard_conforming_strings is off"}

// writtenSQL is a statement, as opmux has it, as it goes to the server; e is told how places
// in it are places in the client's text.
func (s *Session) writtenSQL(text string, e *entry) (string, error) {
	c, lenient := s.charsetNow(), false
	s.locked(func() { lenient = s.lenient })
	t := &s.lastRead
	if t.places != nil && !e.silent {
		e.read = t.places.Read
	}
	if before, raw, ok := t.in(c, lenient, text); ok {
		if n := len(before); e.read != nil {
			places := t.places
			e.sent = func(place int) int { return n + places.Wrote(place-n) }
		}
		return before + raw, nil
	}
	if lenient {
		var places pgstrings.Places
		if text, places = pgstrings.Lenient(text); places != nil {
			e.sent = places.Read
		}
	}
	return s.written(text)
}

// clientPlace is the place in the client's own text of one in the text that it is taken for.
func (s *Session) clientPlace(place int) int {
	if s.lastRead.places == nil {
		return place
	}
	return s.lastRead.places.Read(place)
}

// What the server prints of expressions (pg_get_expr and its like) has constants for the setting
// that it has, and what is looked up is read, and compared with what others print, under on.
// The setting is made and unmade where the look-up runs, so that the server does not report it.
const (
	stringsOn  = "SET LOCAL standard_conforming_strings = on"
	stringsOff = "SET LOCAL standard_conforming_strings = off"

	ownStringsOn  = "opmux_strings_on"
	ownStringsOff = "opmux_strings_off"
)

// printsLenient tells whether a look-up prints expressions for the wrong setting.
func (s *Session) printsLenient(sql string) bool {
	lenient := false
	s.locked(func() { lenient = s.lenient })
	return lenient && strings.Contains(sql, "pg_get_")
}

// printing sends what executes a look-up in the extended protocol.
func (s *Session) printing(sql string, execute func() error) error {
	if !s.printsLenient(sql) {
		return execute()
	}
	if err := s.runOwn(ownStringsOn, &entry{}); err != nil {
		return err
	}
	if err := execute(); err != nil {
		return err
	}
	return s.runOwn(ownStringsOff, &entry{})
}

// makesLenient tells statements that may have functions run under the setting, and set it back:
// what a DO says is not seen by anybody else. SET itself is followed.
func makesLenient(text string) bool {
	if contextFree(text) || !strings.Contains(text, "conforming") && !strings.Contains(text, "CONFORMING") {
		return false
	}
	return strings.Contains(strings.ToLower(text), stringsSetting)
}
