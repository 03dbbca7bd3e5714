package classify

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/shape"
)

// Clients of the simple protocol write values into the text, so no text comes
// twice. What a statement is does not depend on most values: where the plan of one
// text was made without looking at any, it serves all texts that are the same
// sequence of tokens with constants of the same types, with its own texts filled
// in anew.

// template is what a plan's texts are around the constants.
type template struct {
	sql    []string // of Plan.SQL
	frozen []string // of the frozen text, nil where there is none
	info   bool     // row images carry the statement
}

// lifters are used again, since each holds the slices of its last statement.
var lifters = sync.Pool{New: func() any { return new(shape.Lifted) }}

// templateKey is the text without its constants and with their types, in place of
// the text in an Input that is looked up; "" where the text has no constants, or
// is not understood well enough.
func templateKey(sql string, l *shape.Lifted) string {
	// A $ may be a parameter, which a template's own numbers would be taken for.
	if strings.IndexByte(sql, '$') >= 0 || !utf8.ValidString(sql) || !l.Lift(sql, 0) || len(l.Literals) == 0 {
		return ""
	}
	key := make([]byte, 0, len(l.Template)+1+len(l.Literals))
	key = append(append(key, l.Template...), 0) // no text holds a zero
	for _, x := range l.Literals {
		key = append(key, byte(x.Class))
	}
	return string(key)
}

// plain says that no constant is one that is looked at in any place, since it may
// be read as a moment of the clock, or one that a frozen text spells differently.
func plain(literals []shape.Literal) bool {
	return !slices.ContainsFunc(literals, func(l shape.Literal) bool {
		switch l.Class.Unsigned() {
		case shape.Text:
			return hasDateWord(l.Value)
		case shape.Int:
			digits := bytes.TrimPrefix(l.Value, []byte("-"))
			return len(digits) > 1 && digits[0] == '0' || len(digits) < len(l.Value) && digits[0] == '0'
		}
		return false
	})
}

// filled returns the plan for a text whose template is known, nil where it is not.
func (c *Classifier) filled(in *Input, version, restarts int64) *Plan {
	l := lifters.Get().(*shape.Lifted)
	defer lifters.Put(l)
	byKey := *in
	if byKey.SQL = templateKey(in.SQL, l); byKey.SQL == "" || !plain(l.Literals) {
		return nil
	}
	first, t := c.templates.find(&byKey, version, restarts)
	if t == nil {
		return nil
	}
	p := *first
	p.SQL, p.in.SQL = fill(t.sql, in.SQL, l.Literals), in.SQL
	if t.frozen != nil {
		p.frozen.text = fill(t.frozen, in.SQL, l.Literals)
	}
	if t.info {
		p.frozen.images.info = cut(bare(in.SQL))
	}
	return &p
}

// keepTemplate keeps a plan for all texts that differ from its own in constants
// only, once such a text came again. False: it is for this text alone.
func (c *Classifier) keepTemplate(in *Input, p *Plan, valued bool, restarts int64) bool {
	if valued || p.Kind != Pass && p.Kind != Write {
		return false
	}
	switch p.Construct {
	case "SELECT", "INSERT", "UPDATE", "DELETE":
	default:
		return false
	}
	var l, of shape.Lifted
	byKey := *in
	if byKey.SQL = templateKey(in.SQL, &l); byKey.SQL == "" || !plain(l.Literals) {
		return false
	}
	if !c.seen.again(byKey.SQL) {
		return true
	}
	tree, err := single(string(l.Template))
	if err != nil || sameTree(in.SQL, tree, 0, l.Literals) != nil {
		return false
	}
	t := &template{}
	var ok bool
	if t.sql, ok = around(p.SQL, in.SQL, &l, &of); !ok {
		return false
	}
	if p.frozen.text != "" {
		if t.frozen, ok = around(p.frozen.text, in.SQL, &l, &of); !ok {
			return false
		}
	}
	if info := p.frozen.images.info; info != "" {
		if t.info = info == cut(bare(in.SQL)); !t.info {
			return false
		}
	}
	c.templates.put(&byKey, p, restarts, t)
	return true
}

// around cuts a text that was made of sql at sql's constants, which must stand in
// it as they do there, in the same order, and no other.
func around(text, sql string, l, of *shape.Lifted) ([]string, bool) {
	if !of.Lift(text, 0) || len(of.Literals) != len(l.Literals) {
		return nil, false
	}
	pieces := make([]string, 0, len(of.Literals)+1)
	done := 0
	for i := range of.Literals {
		a, b := &of.Literals[i], &l.Literals[i]
		if a.Class != b.Class || text[a.From:a.End] != sql[b.From:b.End] {
			return nil, false
		}
		pieces = append(pieces, text[done:a.From])
		done = a.End
	}
	return append(pieces, text[done:]), true
}

// fill puts a statement's constants between the pieces.
func fill(pieces []string, sql string, literals []shape.Literal) string {
	size := 0
	for _, s := range pieces {
		size += len(s)
	}
	for i := range literals {
		size += literals[i].End - literals[i].From
	}
	var b strings.Builder
	b.Grow(size)
	for i, s := range pieces {
		b.WriteString(s)
		if i < len(literals) {
			b.WriteString(sql[literals[i].From:literals[i].End])
		}
	}
	return b.String()
}

// bare is a statement without the semicolon at its end.
func bare(sql string) string {
	return strings.TrimSuffix(strings.TrimRight(sql, blanks), ";")
}

// blanks are what the parser's scanner skips.
const blanks = " \t\r\n\f\v"

// maxSingles bounds the texts that are known to be one statement (I7).
const maxSingles = 4096

// singles remembers which sequences of tokens are one statement, so that a text
// with other constants need not be parsed to know it.
type singles struct {
	mu    sync.Mutex
	known map[string]struct{}
}

// split cuts off what surrounds the one statement of a text; false where the text
// has to be parsed.
func (s *singles) split(sql string) ([]Statement, bool) {
	key := singleKey(sql)
	if key == "" {
		return nil, false
	}
	s.mu.Lock()
	_, known := s.known[key]
	s.mu.Unlock()
	if !known {
		return nil, false
	}
	to := len(sql)
	if end := strings.TrimRight(sql, blanks); strings.HasSuffix(end, ";") {
		to = len(end) - 1
	}
	text := strings.TrimLeft(sql[:to], blanks)
	return []Statement{{Text: text, Offset: to - len(text)}}, true
}

// keep remembers a text that was parsed and found to be one statement.
func (s *singles) keep(sql string) {
	key := singleKey(sql)
	if key == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxSingles || s.known == nil {
		s.known = map[string]struct{}{}
	}
	s.known[key] = struct{}{}
}

// singleKey is templateKey for texts that may be one statement, and are not so long
// that many of them would take much memory.
func singleKey(sql string) string {
	if len(sql) > event.MaxInfoText {
		return ""
	}
	l := lifters.Get().(*shape.Lifted)
	defer lifters.Put(l)
	key := templateKey(sql, l)
	if at := strings.IndexByte(key, ';'); at >= 0 && strings.Trim(key[at+1:strings.IndexByte(key, 0)], blanks) != "" {
		return ""
	}
	return key
}
