package avro

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// phrases pack texts: the bytes that begin no character of UTF-8 stand for what
// is frequent in SQL. Equal texts have equal bytes, so that compression of many
// records finds them.
type phrases struct {
	text [256]string // by the byte that stands for it; empty: no phrase
	// starts has by the first two bytes of a phrase the place in groups, where
	// all that begin with them are, longest first.
	starts [1 << 16]uint8
	groups [][]phrase
}

type phrase struct {
	code byte
	text string
}

// phraseCodes are the bytes that stand for phrases, in the order of the table.
func phraseCodes() []byte {
	var codes []byte
	for c := 0x80; c <= 0xFF; c++ {
		if c <= 0xC1 || c >= 0xF5 {
			codes = append(codes, byte(c))
		}
	}
	return codes
}

func newPhrases(list []string) *phrases {
	p := &phrases{groups: make([][]phrase, 1)}
	codes := phraseCodes()
	for i, text := range list {
		p.text[codes[i]] = text
		start := &p.starts[int(text[0])<<8|int(text[1])]
		if *start == 0 {
			*start = uint8(len(p.groups))
			p.groups = append(p.groups, nil)
		}
		p.groups[*start] = append(p.groups[*start], phrase{codes[i], text})
	}
	for _, g := range p.groups {
		slices.SortFunc(g, func(a, b phrase) int { return len(b.text) - len(a.text) })
	}
	return p
}

// pack appends the packed form of valid UTF-8.
func (p *phrases) pack(b []byte, text string) []byte {
	done := 0
	for at := 0; at < len(text)-1; {
		start := p.starts[int(text[at])<<8|int(text[at+1])]
		if start == 0 {
			at++
			continue
		}
		f := find(p.groups[start], text[at:])
		if f == nil {
			at++
			continue
		}
		b = append(append(b, text[done:at]...), f.code)
		at += len(f.text)
		done = at
	}
	return append(b, text[done:]...)
}

func find(group []phrase, text string) *phrase {
	for i := range group {
		if f := &group[i]; len(text) >= len(f.text) && text[:len(f.text)] == f.text {
			return f
		}
	}
	return nil
}

var errPacked = errors.New("a packed text is not UTF-8 between its phrases")

func (p *phrases) unpack(packed []byte) (string, error) {
	var room [1024]byte
	b := room[:0]
	for len(packed) > 0 {
		plain := 0
		for plain < len(packed) && packed[plain] < utf8.RuneSelf {
			plain++
		}
		b = append(b, packed[:plain]...)
		if packed = packed[plain:]; len(packed) == 0 {
			break
		}
		c := packed[0]
		if c >= 0xC2 && c <= 0xF4 {
			r, n := utf8.DecodeRune(packed)
			if r == utf8.RuneError && n == 1 {
				return "", errPacked
			}
			b = append(b, packed[:n]...)
			packed = packed[n:]
			continue
		}
		if p.text[c] == "" {
			return "", fmt.Errorf("a packed text has phrase %#x, which the schema has not", c)
		}
		b = append(b, p.text[c]...)
		packed = packed[1:]
	}
	return string(b), nil
}
