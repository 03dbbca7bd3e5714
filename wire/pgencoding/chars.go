package pgencoding

import "strings"

// sizer tells how many bytes the character has that text begins with, as far as its
// first bytes tell: asked again with more of them it may say more.
type sizer func(text []byte) int

// Where the second byte of a lead byte's character is.
const (
	singleShift2 = 0x8e
	singleShift3 = 0x8f
)

// euc has characters of two bytes, and of three behind 0x8f.
func euc(text []byte) int {
	switch b := text[0]; {
	case b == singleShift3:
		return 3
	case b >= 0x80:
		return 2
	}
	return 1
}

// eucTW has characters of four bytes behind 0x8e.
func eucTW(text []byte) int {
	if text[0] == singleShift2 {
		return 4
	}
	return euc(text)
}

func double(text []byte) int {
	if text[0] >= 0x80 {
		return 2
	}
	return 1
}

// sjis has the half-width katakana in one byte.
func sjis(text []byte) int {
	if b := text[0]; b >= 0xa1 && b <= 0xdf {
		return 1
	}
	return double(text)
}

// gb18030 tells characters of four bytes by a digit as the second one.
func gb18030(text []byte) int {
	if text[0] >= 0x80 && len(text) > 1 && text[1] >= '0' && text[1] <= '9' {
		return 4
	}
	return double(text)
}

// sizers are the server's encodings of several bytes that it converts to UTF8, and how
// it tells where their characters end (the server's pg_encoding_mblen).
var sizers = map[string]sizer{
	"EUC_JP": euc, "EUC_JIS_2004": euc, "EUC_CN": double, "EUC_KR": euc, "EUC_TW": eucTW, "JOHAB": euc,
	"SJIS": sjis, "SHIFT_JIS_2004": sjis, "BIG5": double, "GBK": double, "UHC": double, "GB18030": gb18030,
}

// aliases are other names that the server knows encodings of several bytes by.
var aliases = map[string]string{
	"mskanji": "SJIS", "shiftjis": "SJIS", "win932": "SJIS", "windows932": "SJIS", "win936": "GBK", "windows936": "GBK",
	"win949": "UHC", "windows949": "UHC", "win950": "BIG5", "windows950": "BIG5",
}

// Masked returns a Mask for an encoding by any name that the server takes for it, nil for
// those in which every byte below 0x80 is ASCII wherever it stands.
func Masked(name string) *Mask {
	bare := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return -1
	}, strings.ToLower(name))
	name = aliases[bare]
	if name == "" {
		for known := range sizers {
			if strings.ToLower(strings.ReplaceAll(known, "_", "")) == bare {
				name = known
			}
		}
	}
	if size := sizers[name]; size != nil {
		return &Mask{size: size}
	}
	return nil
}

// Mask hides, in a stream, the bytes of characters of several bytes: the second one may be
// a backslash, a quote or a digit. A nil Mask hides nothing.
type Mask struct {
	size sizer
	// char is what came of the current character.
	char []byte
}

// Next takes the next byte of the stream and returns it if it is ASCII, else 0x80.
func (m *Mask) Next(b byte) byte {
	if m == nil || len(m.char) == 0 && b < 0x80 {
		return b
	}
	if m.char = append(m.char, b); len(m.char) >= m.size(m.char) {
		m.char = m.char[:0]
	}
	return 0x80
}
