package shape

import (
	"math"
	"strconv"
	"strings"
)

// Class is what kind of constant a literal is: PostgreSQL gives a literal its
// type by that alone.
type Class byte

// The classes of literals; those of negative numbers, in capitals, have their sign
// lifted too.
const (
	Text    Class = 's' // of unknown type, until its place says which
	Int     Class = 'i' // int4
	Long    Class = 'l' // int8
	Numeric Class = 'n' // numeric

	capital = 'a' - 'A'
)

// Literal is a constant that was lifted out of a statement.
type Literal struct {
	Class Class
	Value []byte // its text form
	// From and End are where it stands in the statement, quotes and sign included.
	From, End int
}

// Unsigned is the class without the sign.
func (c Class) Unsigned() Class {
	if c >= 'A' && c <= 'Z' {
		return c + capital
	}
	return c
}

// Lifted is a statement whose literals have become parameters. Its slices are
// reused by the next Lift.
type Lifted struct {
	// Template is the text with $n in the place of each literal, numbered from
	// behind the parameters that the text has.
	Template []byte
	Literals []Literal
	values   []byte
}

// Lift takes the literals out of a statement that has params parameters. It knows
// just enough of PostgreSQL's lexical rules to be sure, under
// standard_conforming_strings, and gives up (false) at everything else: comments,
// strings with prefixes, backslashes. Two statements with equal templates and
// equal classes of literals are the same sequence of tokens, so they mean the
// same but for the literals' values; that the lifted literals are the parser's
// constants has to be checked for one of them.
func (l *Lifted) Lift(sql string, params int) bool {
	l.Template, l.Literals, l.values = l.Template[:0], l.Literals[:0], l.values[:0]
	s := scanner{Lifted: l, sql: sql, number: params}
	for s.at < len(sql) {
		if !s.token() {
			return false
		}
	}
	return true
}

type scanner struct {
	*Lifted
	sql    string
	at     int
	number int
	// signed says that a minus sign here belongs to the number behind it.
	signed bool
}

func (s *scanner) token() bool {
	c := s.sql[s.at]
	switch {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		s.copy(s.at + 1)
	case c == '\'':
		return s.text()
	case c == '"':
		return s.quoted()
	case isDigit(c):
		return s.numeral(s.at)
	case c == '$':
		return s.param()
	case isWord(c):
		end := s.at + 1
		for end < len(s.sql) && (isWord(s.sql[end]) || isDigit(s.sql[end]) || s.sql[end] == '$') {
			end++
		}
		if end < len(s.sql) && (s.sql[end] == '\'' || s.sql[end] == '&') {
			return false // a string with a prefix, or what may become one
		}
		s.signed = false
		s.copy(end)
	default:
		return s.sign(c)
	}
	return true
}

// sign takes a sign that is no part of a word.
func (s *scanner) sign(c byte) bool {
	next := byte(0)
	if s.at+1 < len(s.sql) {
		next = s.sql[s.at+1]
	}
	switch {
	case c == '-' && next == '-', c == '/' && next == '*', c == 0, c == '\\':
		return false
	case c == '.' && isDigit(next):
		return false // a number that begins with its point
	case c == '-' && s.signed && isDigit(next):
		if before := s.sql[s.at-1]; isOperator(before) {
			return false // may be one operator of two characters
		}
		return s.numeral(s.at + 1)
	}
	s.signed = c == '(' || c == ',' || isOperator(c)
	s.copy(s.at + 1)
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func isOperator(c byte) bool { return strings.IndexByte("+-*/<>=~!@#%^&|`?", c) >= 0 }

func (s *scanner) copy(end int) {
	s.Template = append(s.Template, s.sql[s.at:end]...)
	s.at = end
}

func (s *scanner) lift(class Class, value []byte, end int) {
	s.number++
	s.Template = append(s.Template, '$')
	s.Template = strconv.AppendInt(s.Template, int64(s.number), 10)
	s.Literals = append(s.Literals, Literal{Class: class, Value: value, From: s.at, End: end})
	s.at, s.signed = end, false
}

// text lifts a string.
func (s *scanner) text() bool {
	from := len(s.values)
	for i := s.at + 1; i < len(s.sql); i++ {
		switch c := s.sql[i]; {
		case c == '\\':
			return false
		case c != '\'':
			s.values = append(s.values, c)
		case i+1 < len(s.sql) && s.sql[i+1] == '\'':
			s.values = append(s.values, c)
			i++
		default:
			if rest := strings.TrimLeft(s.sql[i+1:], " \t\r\n\f\v"); strings.HasPrefix(rest, "'") {
				return false // a string in two pieces
			}
			s.lift(Text, s.values[from:len(s.values):len(s.values)], i+1)
			return true
		}
	}
	return false
}

// quoted copies a quoted identifier.
func (s *scanner) quoted() bool {
	end := strings.IndexByte(s.sql[s.at+1:], '"')
	if end < 0 {
		return false
	}
	s.signed = false
	s.copy(s.at + end + 2)
	return true
}

// param copies $n.
func (s *scanner) param() bool {
	end := s.at + 1
	for end < len(s.sql) && isDigit(s.sql[end]) {
		end++
	}
	if end == s.at+1 || end < len(s.sql) && (isWord(s.sql[end]) || s.sql[end] == '$') {
		return false
	}
	s.signed = false
	s.copy(end)
	return true
}

// numeral lifts a number whose digits begin at from, with the sign before it.
func (s *scanner) numeral(from int) bool {
	end, point := from, false
	for end < len(s.sql) && (isDigit(s.sql[end]) || s.sql[end] == '.' && !point) {
		point = point || s.sql[end] == '.'
		end++
	}
	if s.sql[end-1] == '.' || end < len(s.sql) && (isWord(s.sql[end]) || s.sql[end] == '.' || s.sql[end] == '$') {
		return false
	}
	class := Numeric
	if !point {
		n, err := strconv.ParseUint(s.sql[from:end], 10, 64)
		switch {
		case err != nil || n == math.MaxInt32+1 || n > math.MaxInt64:
			return false // its type depends on its sign, or is rare
		case n <= math.MaxInt32:
			class = Int
		default:
			class = Long
		}
	}
	value := len(s.values)
	if from > s.at {
		class -= capital
	}
	s.values = append(s.values, s.sql[s.at:end]...)
	s.lift(class, s.values[value:len(s.values):len(s.values)], end)
	return true
}
