package pgencoding_test

import (
	"bytes"
	"context"
	"os"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgencoding"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// all are the server's encodings of single bytes, and how many bytes of each have a
// character here.
var all = map[string]int{
	"LATIN1": 128, "LATIN2": 128, "LATIN3": 121, "LATIN4": 128, "LATIN5": 128, "LATIN6": 128, "LATIN7": 128, "LATIN8": 128, "LATIN9": 128, "LATIN10": 128,
	"ISO_8859_5": 128, "ISO_8859_6": 83, "ISO_8859_7": 125, "ISO_8859_8": 92,
	"WIN1250": 123, "WIN1251": 127, "WIN1252": 123, "WIN1253": 111, "WIN1254": 121, "WIN1255": 105, "WIN1256": 128, "WIN1257": 116, "WIN1258": 119,
	"WIN866": 128, "WIN874": 97, "KOI8R": 128, "KOI8U": 126,
}

// disputed are characters of the server's that are not taken for one here.
var disputed = map[string]string{"KOI8U": "\xae\xbe"}

// I6: every byte is the character that the server reads, and every character of the
// server's that it writes as a byte is the one that is read back here.
func TestI6EncodingsAreTheServersOwn(t *testing.T) {
	server := testkit.SharedPostgres(t)
	db := server.CreateDB(t)
	server.Exec(t, db, `CREATE FUNCTION reads(b int, encoding text) RETURNS text LANGUAGE plpgsql AS $$
		BEGIN RETURN convert_from(set_byte('\x00', 0, b), encoding); EXCEPTION WHEN others THEN RETURN ''; END $$`,
		`CREATE FUNCTION writes(c int, encoding text) RETURNS bytea LANGUAGE plpgsql AS $$
		BEGIN RETURN convert_to(chr(c), encoding); EXCEPTION WHEN others THEN RETURN ''; END $$`)
	ctx := context.Background()
	c, err := pgx.Connect(ctx, server.DSN(db))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for name, count := range all {
		e := pgencoding.Named(name)
		if e == nil {
			t.Errorf("%s is not known", name)
			continue
		}
		known := 0
		rows, _ := c.Query(ctx, `SELECT b, reads(b, $1) FROM generate_series(1, 255) b`, name)
		var b int
		var text string
		if _, err := pgx.ForEachRow(rows, []any{&b, &text}, func() error {
			got, ok := e.Append(nil, []byte{byte(b)})
			if bytes.IndexByte([]byte(disputed[name]), byte(b)) >= 0 {
				text = ""
			}
			if ok != (text != "") || ok && string(got) != text {
				t.Errorf("%s, byte %#x: %q (%v), the server reads %q", name, b, got, ok, text)
			}
			if back, whole := e.Encode(text); ok && (!whole || back != string(byte(b)) && back != string([]byte{byte(b)})) {
				t.Errorf("%s, byte %#x comes back as %q", name, b, back)
			}
			if ok && b >= 0x80 {
				known++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if known != count {
			t.Errorf("%s: %d characters, expected %d", name, known, count)
		}
		rows, _ = c.Query(ctx, `SELECT chr(c), w FROM generate_series(1, 65535) c, LATERAL writes(c, $1) w WHERE c NOT BETWEEN 55296 AND 57343 AND w <> ''`, name)
		var written []byte
		if _, err := pgx.ForEachRow(rows, []any{&text, &written}, func() error {
			if got, ok := e.Append(nil, written); ok && string(got) != text || !ok && !bytes.Contains([]byte(disputed[name]), written) {
				t.Errorf("%s: the server writes %q as %#x, which is read as %q", name, text, written, got)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEncodeLeavesNothingOut(t *testing.T) {
	e := pgencoding.Named("WIN1252")
	if got, whole := e.Encode("a €é日"); whole || got != "a \x80\xe9?" {
		t.Errorf("got %q, whole: %v", got, whole)
	}
	for _, name := range []string{"UTF8", "SQL_ASCII", "SJIS", "EUC_JP", "GB18030", "latin1", ""} {
		if pgencoding.Named(name) != nil {
			t.Errorf("%q is known", name)
		}
	}
	if !pgencoding.ASCII("a\x7f") || pgencoding.ASCII("é") || pgencoding.ASCII([]byte{utf8.RuneSelf}) {
		t.Error("what is ASCII is not told")
	}
}
