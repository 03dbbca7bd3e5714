package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// singleByte are the client encodings in which each byte above 0x7f is a character of
// its own, and each below is ASCII: where a text's strings and words end is the same
// whatever they are.
var singleByte = []string{
	"LATIN1", "LATIN2", "LATIN3", "LATIN4", "LATIN5", "LATIN6", "LATIN7", "LATIN8", "LATIN9", "LATIN10", "ISO_8859_5", "ISO_8859_6", "ISO_8859_7",
	"ISO_8859_8", "WIN1250", "WIN1251", "WIN1252", "WIN1253", "WIN1254", "WIN1255", "WIN1256", "WIN1257", "WIN1258", "WIN866", "WIN874",
	"KOI8R", "KOI8U", "SQL_ASCII",
}

// standIn is a text with a character of UTF-8 for each byte above 0x7f. It is for the
// parser alone.
func standIn(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

// original is the text that a standIn, or a part of it, stands for.
func original(text string) string {
	var b strings.Builder
	for _, c := range text {
		b.WriteByte(byte(c))
	}
	return b.String()
}

// split cuts a Query into statements, also one in a client_encoding of single bytes.
func (s *Session) split(text string, extended bool) ([]classify.Statement, error) {
	list, err := s.deps.Classifier.Split(text)
	if err == nil || ascii([]byte(text)) || s.transactionStatus() == pgwire.StatusFailed {
		return list, err
	}
	if known, asked := s.ensureContext(extended); asked != nil || !known {
		return nil, errors.Join(err, asked)
	}
	s.mu.Lock()
	c := s.context
	s.mu.Unlock()
	if c == nil || !slices.Contains(singleByte, c.setting("client_encoding")) {
		return nil, err
	}
	text = standIn(text)
	if list, err = s.deps.Classifier.Split(text); err != nil {
		return nil, err
	}
	for i, st := range list {
		list[i] = classify.Statement{Text: original(st.Text), Offset: len(original(text[:st.Offset]))}
	}
	return list, nil
}

// unconverted refuses text that cannot be parsed since it is in another encoding.
func (s *Session) unconverted(text string) *refusal {
	s.mu.Lock()
	c := s.context
	s.mu.Unlock()
	if c == nil || s.transactionStatus() == pgwire.StatusFailed || slices.Contains(singleByte, c.setting("client_encoding")) {
		return nil
	}
	if r := unreadable(c, text); r != nil {
		return refusedStatement(r, 0)
	}
	return nil
}

// planUnreadable plans a statement with bytes that mean something else to the server
// than to the parser. One that only reads passes, where they stand in constants and
// comments; anything else is refused, as what it is where that can be told.
func (s *Session) planUnreadable(ctx context.Context, c *sessionContext, in classify.Input, refusal *classify.Refusal) (*classify.Plan, error) {
	refused := refusedPlan(in.SQL, refusal)
	if firstWord(in.SQL) == "copy" {
		refused.Construct = constructCopy
	}
	text := standIn(in.SQL)
	if !slices.Contains(singleByte, c.setting("client_encoding")) || !classify.ASCIINames(text) {
		return refused, nil
	}
	raw := in.SQL
	in.SQL = text
	p, err := s.deps.Classifier.Classify(ctx, in)
	var syntax *classify.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return refused, nil
	case err != nil:
		return nil, err
	case p.Kind == classify.Pass && p.SQL == text && !p.ContextChanges && !p.DiscardsStatements && !p.CatalogChanges:
		reads := *p
		reads.SQL = raw
		return &reads, nil
	}
	return refused, nil
}

func encodingRefusal(c *sessionContext) *classify.Refusal {
	return &classify.Refusal{Construct: "statement in client_encoding " + c.setting("client_encoding"),
		Reason: "its rows or parameters are in an encoding that opmux does not convert",
		Hint:   "SET client_encoding = 'UTF8'."}
}

// unreadable refuses text whose bytes mean something else to the server than to
// the parser.
func unreadable(c *sessionContext, text string) *classify.Refusal {
	if c.setting("client_encoding") != "UTF8" && !ascii([]byte(text)) {
		return encodingRefusal(c)
	}
	return nil
}

// unreadableParams refuses text parameters in an encoding that is not recorded.
func (s *Session) unreadableParams(params []event.Param) *refusal {
	s.mu.Lock()
	c := s.context
	s.mu.Unlock()
	if c == nil || c.setting("client_encoding") == "UTF8" {
		return nil
	}
	for _, p := range params {
		if !ascii(p.Value) {
			return refusedStatement(encodingRefusal(c), 0)
		}
	}
	return nil
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
