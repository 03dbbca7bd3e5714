package pgencoding

import (
	"errors"
	"strings"
	"sync"
	"unicode/utf8"
)

// Text reads and writes text of one client encoding.
type Text interface {
	// Append appends text as UTF-8. False: not all of it are characters.
	Append(to, text []byte) ([]byte, bool)
	// Encode returns text in UTF-8 in the encoding. False: it has characters that the
	// encoding has not, in whose place there is a question mark.
	Encode(text string) (string, bool)
	// Whole is how many of its bytes are whole characters: a piece of a stream may end in
	// the middle of one.
	Whole(text []byte) int
}

// Convert has a server convert each text from one encoding to another. ErrNone: one of
// them has something for which there is no character.
type Convert func(from, to string, texts []string) ([]string, error)

// ErrNone says that bytes are no character of an encoding, or that it lacks one.
var ErrNone = errors.New("not a character of the encoding")

// Wide is a client encoding with characters of several bytes. Where they begin and end is
// known here; which they are the server is asked, once for each, since its tables differ
// from all others in details and from version to version.
type Wide struct {
	Name    string
	size    sizer
	convert Convert

	mu sync.RWMutex
	// read are the characters met so far in UTF-8, which has two for some; written is the
	// way back.
	read, written map[string]string
}

// maxKnown bounds the characters of an encoding that are kept; of further ones the server
// is asked each time.
const maxKnown = 1 << 16

// maxApart bounds the characters of one text that are asked for one by one.
const maxApart = 100

// NewWide returns the encoding of that name, as the setting client_encoding has it, nil
// where it is not one of several bytes that a server converts to UTF8.
func NewWide(name string, convert Convert) *Wide {
	size := sizers[name]
	if size == nil {
		return nil
	}
	return &Wide{Name: name, size: size, convert: convert, read: map[string]string{}, written: map[string]string{}}
}

// Wides are the names of all encodings that NewWide knows.
func Wides() []string {
	var names []string
	for name := range sizers {
		names = append(names, name)
	}
	return names
}

// Whole implements Text.
func (w *Wide) Whole(text []byte) int {
	i := 0
	for i < len(text) {
		n := w.size(text[i:])
		if i+n > len(text) {
			break
		}
		i += n
	}
	return i
}

// Append implements Text.
func (w *Wide) Append(to, text []byte) ([]byte, bool) {
	known, err := w.learn(text)
	if err != nil {
		return to, false
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	for len(text) > 0 {
		n := w.size(text)
		if text[0] < utf8.RuneSelf {
			to, text = append(to, text[0]), text[1:]
			continue
		}
		char, ok := w.read[string(text[:n])]
		if !ok {
			char = known[string(text[:n])]
		}
		to, text = append(to, char...), text[n:]
	}
	return to, true
}

// Learn makes sure that the characters of a text are known. An error says that the server
// could not be asked; what is no character Append tells.
func (w *Wide) Learn(text []byte) error {
	if _, err := w.learn(text); err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	return nil
}

// learn returns those characters of a text that were not known, having asked for them.
func (w *Wide) learn(text []byte) (map[string]string, error) {
	unknown, err := w.unknown(text)
	if err != nil || len(unknown) == 0 {
		return nil, err
	}
	chars, err := w.convert(w.Name, "UTF8", unknown)
	if err != nil {
		return nil, err
	}
	known := make(map[string]string, len(chars))
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, bytes := range unknown {
		known[bytes] = chars[i]
		w.keep(bytes, chars[i])
	}
	return known, nil
}

// keep notes a character, as far as there is room. Callers hold w.mu.
func (w *Wide) keep(bytes, char string) {
	if len(w.read) >= maxKnown {
		return
	}
	w.read[bytes] = char
	if _, has := w.written[char]; !has {
		w.written[char] = bytes
	}
}

// unknown lists the characters of a text that have not been met, each once.
func (w *Wide) unknown(text []byte) ([]string, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var list []string
	seen := map[string]bool{}
	for i := 0; i < len(text); {
		n := w.size(text[i:])
		if i+n > len(text) {
			return nil, ErrNone
		}
		if char := text[i : i+n]; char[0] >= utf8.RuneSelf {
			if _, ok := w.read[string(char)]; !ok && !seen[string(char)] {
				seen[string(char)] = true
				list = append(list, string(char))
			}
		}
		i += n
	}
	return list, nil
}

// Encode implements Text. What it returns is read as that text again: some encodings have
// two forms of one character, or write as one what comes back as another.
func (w *Wide) Encode(text string) (string, bool) {
	known := w.forms(text)
	whole := true
	var b strings.Builder
	b.Grow(len(text))
	w.mu.RLock()
	defer w.mu.RUnlock()
	for len(text) > 0 {
		n, bytes := w.form(text, known)
		if bytes == "" {
			bytes, whole = "?", false
		}
		b.WriteString(bytes)
		text = text[n:]
	}
	return b.String(), whole
}

// form is how the encoding writes what a text begins with, "" where it cannot, and how
// long that is in UTF-8. Callers hold w.mu.
func (w *Wide) form(text string, known map[string]string) (int, string) {
	_, n := utf8.DecodeRuneInString(text)
	if text[0] < utf8.RuneSelf {
		return n, text[:n]
	}
	if _, next := utf8.DecodeRuneInString(text[n:]); next > 1 {
		if bytes := w.written[text[:n+next]]; bytes != "" {
			return n + next, bytes // one character of the encoding's is two of UTF-8
		}
	}
	if bytes := w.written[text[:n]]; bytes != "" {
		return n, bytes
	}
	return n, known[text[:n]]
}

// forms asks how the characters of a text are written that have not been met.
func (w *Wide) forms(text string) map[string]string {
	var unknown []string
	seen := map[string]bool{}
	w.mu.RLock()
	for _, c := range text {
		char := string(c)
		if c >= utf8.RuneSelf && !seen[char] && w.written[char] == "" {
			seen[char] = true
			unknown = append(unknown, char)
		}
	}
	w.mu.RUnlock()
	if len(unknown) == 0 {
		return nil
	}
	known := map[string]string{}
	if err := w.ask(unknown, known); errors.Is(err, ErrNone) {
		for _, char := range unknown[:min(len(unknown), maxApart)] {
			_ = w.ask([]string{char}, known) // those that it has not are left out
		}
	}
	return known
}

// ask adds how characters are written, if each is read again as what it was.
func (w *Wide) ask(chars []string, known map[string]string) error {
	written, err := w.convert("UTF8", w.Name, chars)
	if err != nil {
		return err
	}
	again, err := w.convert(w.Name, "UTF8", written)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, char := range chars {
		if again[i] == char {
			known[char] = written[i]
			w.keep(written[i], char)
		}
	}
	return nil
}
