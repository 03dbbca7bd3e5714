package session

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgencoding"
	"github.com/opmux/opmux/wire/pgstrings"
	"github.com/opmux/opmux/wire/pgwire"
)

// Behind the protocol's messages everything is UTF-8, whatever the client's encoding
// (ADR 26): a text is read when it comes and written anew when it goes to the server,
// and what is captured of parameters, rows and COPY streams is read before it is kept.
// So what the classifier caches, what is published and what is compared does not depend
// on the encoding, and transactions say that they are in UTF8.

// utf8Name is UTF-8 as client_encoding has it, and unicodeName where the client called it
// so: the one alias that the server leaves as it is (for old JDBC drivers). Under asciiName the server takes and gives
// the bytes of its own encoding, once it has seen that they are text in it.
const (
	utf8Name    = "UTF8"
	unicodeName = "UNICODE"
	asciiName   = "SQL_ASCII"
)

// charset is how the text of a session is read and written.
type charset struct {
	name string
	// enc is nil where the text is UTF-8, or in an encoding that is not converted.
	enc pgencoding.Text
	// guessed says that which characters the bytes are is not known, but that each is
	// one: enc then is a stand-in, for the parser alone.
	guessed bool
	// unchecked: the client's own is SQL_ASCII, in which the server (15 at least) does not
	// look whether the stream of a COPY is UTF-8.
	unchecked bool
}

// charset is what the session's text is in, as far as the server has said. It is known
// what the server reads where that is UTF-8, or what the client has sent. Callers hold s.mu.
func (s *Session) charset() charset {
	c := charset{name: s.clientEncoding}
	if c.name == utf8Name || c.name == unicodeName || c.name == asciiName && s.serverEncoding == utf8Name {
		return charset{name: utf8Name, unchecked: c.name == asciiName}
	}
	if c.enc = s.deps.Catalog.Encoding(c.name); c.enc != nil && (s.serverEncoding == utf8Name || s.serverEncoding == c.name) {
		return c
	}
	if _, single := c.enc.(*pgencoding.Encoding); single || c.name == asciiName {
		c.enc, c.guessed = pgencoding.Named("LATIN1"), true
	} else {
		c.enc = nil
	}
	return c
}

func (s *Session) charsetNow() charset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.charset()
}

// exact tells whether what the text says is known.
func (c charset) exact() bool { return c.name == utf8Name || c.enc != nil && !c.guessed }

// decode returns text that is to be kept in UTF-8. False: it is not known what it says,
// or the server does not know.
func (c charset) decode(text []byte) ([]byte, bool) {
	switch {
	case c.name == utf8Name || pgencoding.ASCII(text):
		return text, true
	case !c.exact():
		return nil, false
	}
	return c.enc.Append(make([]byte, 0, len(text)+len(text)/4), text)
}

// row reads the texts of a row. False: not all of them can be read, and it is as it came.
func (c charset) row(values []pgwire.DataRowValue) ([]pgwire.DataRowValue, bool) {
	if c.name == utf8Name {
		return values, true
	}
	out := slices.Clone(values)
	for i := range out {
		text, ok := c.decode(out[i].Value)
		if !ok {
			return values, false
		}
		out[i].Value = text
	}
	return out, true
}

// encode returns text in UTF-8 as the session writes it. False: it cannot.
func (c charset) encode(text string) (string, bool) {
	switch {
	case c.name == utf8Name || pgencoding.ASCII(text):
		return text, true
	case c.enc == nil:
		return (&pgencoding.Encoding{}).Encode(text) // question marks
	}
	return c.enc.Encode(text)
}

// unread says why a text of the client's cannot be read. Ask: the server is expected
// to refuse it, and is asked first.
type unread struct {
	*refusal
	ask bool
}

// readText reads a text of the client's, as the session now stands.
func (s *Session) readText(raw string, extended bool) (string, *unread, error) {
	s.lastRead = clientText{}
	if pgencoding.ASCII(raw) && pgstrings.Same(raw) {
		return raw, nil, nil
	}
	failed := s.transactionStatus() == pgwire.StatusFailed
	// Behind its Sync the server has told the encoding, and before some statements nothing
	// may be asked.
	if !failed && (s.piped || !contextFree(raw)) {
		if _, err := s.ensureContext(extended); err != nil {
			return raw, nil, err
		}
	}
	text, unread, err := s.decodeText(raw, failed)
	if unread != nil || err != nil {
		return raw, unread, err
	}
	return s.standardText(raw, text)
}

// decodeText is a text of the client's in UTF-8.
func (s *Session) decodeText(raw string, failed bool) (string, *unread, error) {
	c := s.charsetNow()
	switch {
	case c.name == utf8Name || pgencoding.ASCII(raw):
		return raw, nil, nil
	case c.enc == nil:
		return raw, &unread{refusedStatement(encodingRefusal(c), 0), failed}, nil
	}
	if err := c.learn([]byte(raw)); err != nil {
		return raw, nil, err
	}
	text, ok := c.enc.Append(make([]byte, 0, len(raw)+len(raw)/4), []byte(raw))
	if !ok {
		return raw, &unread{refusedStatement(encodingRefusal(c), 0), true}, nil
	}
	return string(text), nil, nil
}

// maxLastRead bounds the text that a session keeps at rest (I7). A longer one may go to the
// server in other bytes than it came in, which it reads as the same.
const maxLastRead = 64 << 10

// learn asks for characters that are not known yet, so that an error is told apart from
// what is no character.
func (c charset) learn(text []byte) error {
	if wide, ok := c.enc.(*pgencoding.Wide); ok {
		return wide.Learn(text)
	}
	return nil
}

// written is a text in UTF-8, which has been made fit for standard_conforming_strings, as it goes to the server.
func (s *Session) written(text string) (string, error) {
	c := s.charsetNow()
	out, whole := c.encode(text)
	if !whole {
		return "", fmt.Errorf("a text of the agent's has characters that client_encoding %s has not", c.name)
	}
	return out, nil
}

// sendQuery puts a Query on its way upstream.
func (s *Session) sendQuery(text string, e *entry) error {
	out, err := s.writtenSQL(text, e)
	if err != nil {
		return err
	}
	return s.send(pgwire.Query, pgwire.AppendQuery(nil, out), e)
}

// sendParse puts a Parse on its way upstream.
func (s *Session) sendParse(body pgwire.ParseBody, e *entry) error {
	var err error
	if body.Text, err = s.writtenSQL(body.Text, e); err != nil {
		return err
	}
	return s.send(pgwire.Parse, body.Append(nil), e)
}

// textRow keeps a row of texts. Callers hold s.mu.
func (s *Session) textRow(values []pgwire.DataRowValue) ([]event.Value, error) {
	row := copyRow(values)
	c := s.charset()
	for i := range row {
		var ok bool
		if row[i].Text, ok = c.decode(row[i].Text); !ok {
			return nil, encodingRefusal(c)
		}
	}
	return row, nil
}

// hiddenRow keeps the hidden columns of a row. Callers hold s.mu.
func (s *Session) hiddenRow(p *classify.Plan, values []pgwire.DataRowValue) ([]event.Value, error) {
	if p.InHex {
		return hexRow(values)
	}
	return s.textRow(values)
}

// inHex tells whether hidden columns are asked for as catalog.Hex gives them. Callers
// hold s.mu.
func (s *Session) inHex() bool {
	return s.charset().name != utf8Name || catalog.HasTwoForms(s.serverEncoding)
}

// hexRow keeps a row whose values come as catalog.Hex gives them.
func hexRow(values []pgwire.DataRowValue) ([]event.Value, error) {
	row := copyRow(values)
	for i := range row {
		if string(row[i].Text) == catalog.TwoForms {
			return nil, &classify.Refusal{Construct: "statement on a row", Reason: "it has a character that the database's encoding has two forms of, one of which backups write",
				Hint: "Replace it by the form that the server writes for it (convert_to), on each server."}
		}
		n, err := hex.Decode(row[i].Text, row[i].Text)
		if err != nil {
			return nil, fmt.Errorf("a hidden column is not what was asked for: %w", err)
		}
		row[i].Text = row[i].Text[:n]
	}
	return row, nil
}

// inWords returns an error of the agent's as the client reads it.
func (s *Session) inWords(r *refusal) []byte {
	c := s.charsetNow()
	fields := r.fields()
	for i := range fields {
		fields[i].Value, _ = c.encode(fields[i].Value)
	}
	return pgwire.AppendFields(nil, fields)
}

func encodingRefusal(c charset) *classify.Refusal {
	r := &classify.Refusal{Construct: "statement in client_encoding " + c.name,
		Reason: "its text, rows or parameters have characters in an encoding that opmux does not convert",
		Hint:   "SET client_encoding = 'UTF8'."}
	if c.exact() {
		r.Reason = "it has a character that opmux does not know in that encoding"
	}
	return r
}

// strangeName refuses names of the protocol's that are not the same in every encoding:
// the maps of statements and portals know them by their bytes.
func (s *Session) strangeName(names ...string) *refusal {
	for _, name := range names {
		if c := s.charsetNow(); c.name != utf8Name && !pgencoding.ASCII(name) {
			return &refusal{code: stateNotSupported, message: "a prepared statement or portal whose name is not ASCII, in client_encoding " + c.name,
				hint: "Name it in ASCII, or SET client_encoding = 'UTF8'."}
		}
	}
	return nil
}
