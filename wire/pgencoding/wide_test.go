package pgencoding_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgencoding"
)

// asked is a server as Wide asks it.
type asked struct {
	t     *testing.T
	conn  *pgx.Conn
	count int
	down  bool
}

func (a *asked) convert(from, to string, texts []string) ([]string, error) {
	if a.down {
		return nil, errors.New("the server is away")
	}
	a.count++
	out := make([]string, len(texts))
	for i, text := range texts {
		var bytes []byte
		err := a.conn.QueryRow(context.Background(), "SELECT convert($1::bytea, $2, $3)", []byte(text), from, to).Scan(&bytes)
		var refused *pgconn.PgError
		if errors.As(err, &refused) {
			return nil, pgencoding.ErrNone
		}
		if err != nil {
			a.t.Fatal(err)
		}
		out[i] = string(bytes)
	}
	return out, nil
}

func ask(t *testing.T) *asked {
	t.Helper()
	server := testkit.SharedPostgres(t)
	conn, err := pgx.Connect(context.Background(), server.DSN(server.CreateDB(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return &asked{t: t, conn: conn}
}

// I6: texts of any bytes are read as the server reads them, or not at all, and written so
// that the server reads them again as what they were.
func TestI6WideTextIsReadAsTheServerReadsIt(t *testing.T) {
	a := ask(t)
	ctx := context.Background()
	for _, name := range pgencoding.Wides() {
		e := pgencoding.NewWide(name, a.convert)
		good, bad := 0, 0
		for range 600 {
			text := randomText(name)
			var want []byte
			err := a.conn.QueryRow(ctx, "SELECT convert($1::bytea, $2, 'UTF8')", text, name).Scan(&want)
			got, ok := e.Append([]byte("x"), text)
			if ok != (err == nil) || ok && string(got) != "x"+string(want) {
				t.Fatalf("%s: %x is read as %q (%v), the server reads %q (%v)", name, text, got, ok, want, err)
			}
			if !ok {
				bad++
				continue
			}
			good++
			back, whole := e.Encode(string(want))
			again, ok := e.Append(nil, []byte(back))
			if !whole || !ok || string(again) != string(want) {
				t.Errorf("%s: %q is written as %x (%v), and read again as %q", name, want, back, whole, again)
			}
			// Of one that has met none of them the server is asked how they are written.
			fresh := pgencoding.NewWide(name, a.convert)
			if back, whole := fresh.Encode(string(want)); whole {
				if again, ok := e.Append(nil, []byte(back)); !ok || string(again) != string(want) {
					t.Errorf("%s: %q is written as %x, which is read as %q", name, want, back, again)
				}
			}
			if n := e.Whole(text); n != len(text) {
				t.Errorf("%s: %d bytes of %x are whole", name, n, text)
			}
		}
		if good < 30 || bad < 30 {
			t.Errorf("%s: %d texts were characters, %d were not", name, good, bad)
		}
	}
}

// randomText is likely to be one of the encoding's, and to have bytes that look like ASCII.
func randomText(name string) []byte {
	var text []byte
	byteIn := func(from, to int) { text = append(text, byte(from+rand.IntN(to-from+1))) }
	lead, last := 0xa1, 0xfe
	if name == "JOHAB" {
		lead, last = 0xd9, 0xf9
	}
	for range 1 + rand.IntN(3) {
		switch k := rand.IntN(24); {
		case k < 6:
			byteIn(0x20, 0x7e)
		case k < 12:
			byteIn(lead, last)
			byteIn(0xa1, 0xfe)
		case k < 16:
			byteIn(0x81, 0xfe)
			byteIn(0x40, 0x7e)
		case k < 18 && name == "GB18030":
			byteIn(0x81, 0x84)
			byteIn(0x30, 0x39)
			byteIn(0x81, 0xfe)
			byteIn(0x30, 0x39)
		case k < 20 && strings.HasPrefix(name, "EUC_J"):
			text = append(text, 0x8f)
			byteIn(0xa1, 0xfe)
			byteIn(0xa1, 0xfe)
		case k < 20 && name == "EUC_TW":
			text = append(text, 0x8e)
			byteIn(0xa1, 0xa7)
			byteIn(0xa1, 0xfe)
			byteIn(0xa1, 0xfe)
		case k == 20:
			byteIn(0x80, 0xff)
		case k == 21:
			byteIn(0x80, 0xff)
			byteIn(0x20, 0xff)
		}
	}
	return text
}

// What has been asked once is not asked again, and what the server has not is told.
func TestWideAsksOnce(t *testing.T) {
	a := ask(t)
	e := pgencoding.NewWide("SJIS", a.convert)
	for range 2 {
		if got, ok := e.Append(nil, []byte("a\x95\x5cb\x83\x5c\x95\x5c")); !ok || string(got) != "a表bソ表" {
			t.Errorf("got %q (%v)", got, ok)
		}
		if got, whole := e.Encode("表ソ"); !whole || got != "\x95\x5c\x83\x5c" {
			t.Errorf("got %q (%v)", got, whole)
		}
	}
	if a.count != 1 {
		t.Errorf("asked %d times", a.count)
	}
	if got, whole := e.Encode("é表能𠮷x"); whole || got != "?\x95\x5c\x94\x5c?x" {
		t.Errorf("got %q (%v)", got, whole)
	}
	a.down = true
	if _, ok := e.Append(nil, []byte("\x83\x7c")); ok || e.Learn([]byte("\x83\x7c")) == nil || e.Learn([]byte("\x95\x5c")) != nil {
		t.Error("a server that is away is not told from one that refuses")
	}
	a.down = false
	if err := e.Learn([]byte("\x85\x20")); err != nil {
		t.Errorf("what is no character: %v", err)
	}
	for _, name := range []string{"UTF8", "LATIN1", "SQL_ASCII", "MULE_INTERNAL", "sjis"} {
		if pgencoding.NewWide(name, a.convert) != nil {
			t.Errorf("%q is known", name)
		}
	}
}

// I6: what the server writes as something else is not written: some encodings have a
// backslash for a yen.
func TestI6WideIsWrittenAsItIsRead(t *testing.T) {
	a := ask(t)
	for _, name := range pgencoding.Wides() {
		e := pgencoding.NewWide(name, a.convert)
		for _, text := range []string{"¥", "‾", "∥", "〜", "－"} {
			back, whole := e.Encode(text)
			if again, ok := e.Append(nil, []byte(back)); whole && (!ok || string(again) != text) {
				t.Errorf("%s: %s is written as %x, which is read as %q", name, text, back, again)
			}
		}
	}
}

// A character of the encoding's may be two of UTF-8; it is written as it came.
func TestWideCombines(t *testing.T) {
	e := pgencoding.NewWide("SHIFT_JIS_2004", ask(t).convert)
	text, ok := e.Append(nil, []byte("\x82\xf5"))
	if back, whole := e.Encode("x" + string(text)); !ok || len([]rune(string(text))) != 2 || !whole || back != "x\x82\xf5" {
		t.Errorf("%q (%v) comes back as %x (%v)", text, ok, back, whole)
	}
}

// Bytes of characters are never taken for ASCII, wherever a stream is cut, and ends of
// whole characters are found.
func TestMasks(t *testing.T) {
	for _, c := range []struct{ names, text, masked string }{
		{"SJIS sjis Shift_JIS MSKANJI win932 Windows-932", "a\x95\x5c\\\xb1\\\x83\x7c|", "a..\\.\\..|"},
		{"SHIFT_JIS_2004 shift-jis-2004", "\x83\x5c\\", "..\\"},
		{"BIG5 big5 WIN950", "\xa5\x5c\\", "..\\"}, {"GBK gbk win936", "\x81\x5c\\", "..\\"}, {"UHC win949", "\x81A\\", "..\\"}, {"JOHAB", "\xd9\xa1\\", "..\\"},
		{"GB18030", "\x81\x5c\\\x81\x30\x81\x300\\", "..\\....0\\"},
		{"EUC_JP EUC-JP eucjp", "\x8f\xb0\xa1\\\x8e\xb1\\", "...\\..\\"}, {"EUC_TW", "\x8e\xa2\xa1\xa1\\", "....\\"},
		{"UTF8 LATIN1 SQL_ASCII nothing", "\xe9\\", "\xe9\\"},
	} {
		for _, name := range strings.Fields(c.names) {
			m := pgencoding.Masked(name)
			got := ""
			for _, b := range []byte(c.text) {
				if b = m.Next(b); b == 0x80 {
					b = '.'
				}
				got += string([]byte{b})
			}
			if got != c.masked {
				t.Errorf("%s: %x is masked as %q", name, c.text, got)
			}
		}
	}
	e := pgencoding.NewWide("GB18030", nil)
	for text, want := range map[string]int{"": 0, "a": 1, "a\x81": 1, "a\x81\x30": 1, "a\x81\x30\x81": 1, "a\x81\x30\x81\x30": 5, "\x81\x5c\x81": 2} {
		if n := e.Whole([]byte(text)); n != want {
			t.Errorf("%x: %d bytes are whole, want %d", text, n, want)
		}
	}
}

// The characters that are kept are bounded; what is beyond is asked for again (I7).
func TestI7WideIsBounded(t *testing.T) {
	asked := 0
	e := pgencoding.NewWide("GB18030", func(_, _ string, texts []string) ([]string, error) {
		asked += len(texts)
		return texts, nil
	})
	for range 2 {
		for lead := 0x81; lead < 0xa0; lead++ {
			var text []byte
			for i := range 10 * 126 * 10 {
				text = append(text, byte(lead), byte('0'+i/1260), byte(0x81+i/10%126), byte('0'+i%10))
			}
			if got, ok := e.Append(nil, text); !ok || string(got) != string(text) {
				t.Fatal("what is not kept is not read")
			}
		}
	}
	if all := 31 * 12600; asked != all+all-1<<16 {
		t.Errorf("asked for %d characters", asked)
	}
}
