package pgstrings

import (
	"strings"
	"testing"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// A text that came under off, as it is under on.
func TestStandard(t *testing.T) {
	for text, want := range map[string]string{
		`SELECT 'a''b', E'c\\', "d\"`:              `SELECT 'a''b', E'c\\', "d\"`,
		`SELECT 'a\'b', 'c'`:                       `SELECT e'a\'b', 'c'`,
		`SELECT 'a\\', 'b'`:                        `SELECT e'a\\', 'b'`,
		`SELECT 'a\\'` + "\n" + `'b', 'c'`:         `SELECT e'a\\'` + "\n" + `'b', 'c'`,
		`SELECT 'a' -- it's` + "\n\t" + `'b\'', 1`: `SELECT e'a' -- it's` + "\n\t" + `'b\'', 1`,
		`SELECT 'a' /* no */` + "\n" + `'b\n'`:     `SELECT 'a' /* no */` + "\n" + `e'b\n'`,
		`x LIKE'a\\_'`:                             `x LIKE e'a\\_'`,
		`SELECT e'a\n', '\n'`:                      `SELECT E'a\n', e'\n'`,
		`SELECT N'a\n', n'b'`:                      `SELECT NCHAR e'a\n', n'b'`,
		`SELECT B'1', x'1f', '\n'`:                 `SELECT B'1', x'1f', e'\n'`,
		`DO $$ SELECT '\n' $$`:                     `DO $$ SELECT '\n' $$`,
		`DO $a$ '\n' $$ $a$, '\n'`:                 `DO $a$ '\n' $$ $a$, e'\n'`,
		`SELECT a$$'\n', $1'\n'`:                   `SELECT a$$ e'\n', $1 e'\n'`,
		`/* '\n' /* ' */ '\n' */ SELECT '\n'`:      `/* '\n' /* ' */ '\n' */ SELECT e'\n'`,
		"-- '\\n'\nSELECT '\\n'":                   "-- '\\n'\nSELECT e'\\n'",
		`SELECT 1 AS "it's \n", 'é\n'`:             `SELECT 1 AS "it's \n", e'é\n'`,
		`SELECT 'a\`:                               `SELECT e'a\`,
		`SELECT U&"\0041", 'x\t'`:                  `SELECT U&"\0041", e'x\t'`,
		`SELECT e, 'a\t'`:                          `SELECT e, e'a\t'`,
	} {
		got, places, ok := Standard(text)
		if got != want || !ok {
			t.Errorf("Standard(%s): %s, %v, want %s", text, got, ok, want)
		}
		if (places == nil) != (got == text) {
			t.Errorf("Standard(%s): places %v", text, places)
		}
	}
	if _, _, ok := Standard(`SELECT U&'\0041'`); ok {
		t.Error("U&'…' was taken, which the server refuses")
	}
}

// A text of the agent's, or one that came under on, as it is under off.
func TestLenient(t *testing.T) {
	for text, want := range map[string]string{
		`SELECT e'a\n', E'b\n', 'c'`:       `SELECT 'a\n', E'b\n', 'c'`,
		`p ~ '\mexecute\M' and q ~'\d'`:    `p ~ E'\\mexecute\\M' and q ~E'\\d'`,
		`SELECT '\', N'\'`:                 `SELECT E'\\', NCHAR E'\\'`,
		`SELECT 'a'e'b\n'`:                 `SELECT 'a'e'b\n'`,
		`SELECT '\x'` + "\n" + `'\y'`:      `SELECT E'\\x'` + "\n" + `'\\y'`,
		`SELECT $$\n$$, "\n" -- '\n'`:      `SELECT $$\n$$, "\n" -- '\n'`,
		`LIKE'\_'`:                         `LIKE E'\\_'`,
		`SELECT NCHAR e'a\n' || x || e'b'`: `SELECT NCHAR 'a\n' || x || 'b'`,
	} {
		if got, _ := Lenient(text); got != want {
			t.Errorf("Lenient(%s): %s, want %s", text, got, want)
		}
	}
}

func TestSame(t *testing.T) {
	for text, want := range map[string]bool{
		`SELECT 'a', E'\\', "\", $$\$$, B'1' -- \`: true, `SELECT '\d'`: false, `SELECT n'\d'`: false, `SELECT U&'a'`: false, `SELECT 'a\'`: false,
	} {
		if Same(text) != want {
			t.Errorf("Same(%s) is not %v", text, want)
		}
	}
}

// Places go back and forth: to the constant's own quote, and from its letter to the quote.
func TestPlaces(t *testing.T) {
	text := `é LIKE'a\n' + 'b\n' + c`
	out, places, _ := Standard(text)
	for _, word := range []string{"é", "LIKE", `'a\n'`, "+", `'b\n'`, "c"} {
		read, wrote := place1(text, word), place1(out, word)
		if got := places.Read(wrote); got != read {
			t.Errorf("%s: at %d of what was read, want %d", word, got, read)
		}
		if got := places.Wrote(read); got != wrote {
			t.Errorf("%s: at %d of what was written, want %d", word, got, wrote)
		}
	}
	for _, letter := range []int{place1(out, " e'a"), place1(out, "e'a")} {
		if got := places.Read(letter); got != place1(text, "'a") {
			t.Errorf("place %d of what was written: %d", letter, got)
		}
	}
	if got := Places(nil).Read(7); got != 7 {
		t.Errorf("without changes: %d", got)
	}
}

func place1(text, word string) int {
	before, _, _ := strings.Cut(text, word)
	return 1 + utf8.RuneCountInString(before)
}

// The scanner is compared with PostgreSQL's own under on. What is made of a text for off
// has, under on, the constants that the text has under off, and nothing else is touched.
func FuzzStrings(f *testing.F) {
	for _, text := range []string{
		`SELECT 'a\'b', E'c\\'`, "SELECT 'a' -- x\n 'b\\'", `x LIKE'a\\_' AND N'\''`, `$a$ ' $b$ \ $a$ '\'`, `/* /* */ ' */ e'\'' U&"a" 1e'x\'`, `B'1''\' x'f'`,
		"'a'\r\f\n'b\\''", `u&'\0041' $1'\' a$1$'\' é'\'`, `+--'` + "\n" + `'\'`, `1.'\'`, `'a'e'\n'`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
			return
		}
		sameAsServer(t, text)
		out, places, ok := Standard(text)
		if places == nil && out != text {
			t.Fatalf("%q became %q without a place", text, out)
		}
		was, is := list(text, true), list(out, false)
		if len(was) != len(is) {
			t.Fatalf("%q has %d constants, %q %d", text, len(was), out, len(is))
		}
		for i, c := range was {
			k := c.kind
			if c.escaped && (k == plain || k == national) {
				k = escape
			}
			if is[i].kind != k || out[is[i].quote:is[i].end] != text[c.quote:c.end] {
				t.Fatalf("constant %d of %q is %q of %q", i, text, out[is[i].from:is[i].end], out)
			}
		}
		if ok && !sameText(text, out) {
			t.Fatalf("%q became %q", text, out)
		}
		sameUnderOff(t, out)
	})
}

// sameUnderOff checks that what Lenient makes of a text has the same constants under off.
func sameUnderOff(t *testing.T, text string) {
	out, _ := Lenient(text)
	was, is := list(text, false), list(out, true)
	if len(was) != len(is) {
		t.Fatalf("%q has %d constants under on, %q %d under off", text, len(was), out, len(is))
	}
	for i, c := range was {
		want := text[c.quote:c.end]
		if c.escaped && (c.kind == plain || c.kind == national) {
			want = strings.ReplaceAll(want, `\`, `\\`)
		}
		if got := out[is[i].quote:is[i].end]; got != want {
			t.Fatalf("constant %d of %q is %q, want %q", i, text, got, want)
		}
	}
}

// sameText says that out has nothing but letters in front of constants, and blanks before these, that text has not.
func sameText(text, out string) bool {
	back, _ := Lenient(out)
	bare := func(s string) string { return strings.NewReplacer(" ", "", "NCHAR", "N").Replace(strings.ToUpper(s)) }
	return bare(back) == bare(text) || strings.Contains(out, `'e'`) || strings.Contains(out, `"e'`) || strings.Contains(out, `&`)
}

// sameAsServer compares the constants of a text with those that PostgreSQL's scanner finds.
func sameAsServer(t *testing.T, text string) {
	scanned, err := pg.Scan(text)
	if err != nil {
		return
	}
	mine := list(text, false)
	for _, token := range scanned.Tokens {
		switch token.Token {
		case pg.Token_SCONST, pg.Token_USCONST, pg.Token_BCONST, pg.Token_XCONST:
		default:
			continue
		}
		if text[token.Start] == '$' {
			continue
		}
		if len(mine) == 0 {
			t.Fatalf("%q: the constant %q was not found", text, text[token.Start:token.End])
		}
		c := mine[0]
		mine = mine[1:]
		if c.kind == national {
			c.from = c.quote
		}
		if c.from == int(token.Start) && c.end > int(token.End) && strings.Contains(text[token.End:c.end], "--") {
			return // it goes on behind a comment, which pg_query does not know
		}
		if c.from != int(token.Start) || c.end != int(token.End) {
			t.Fatalf("%q: constant %q, the server has %q", text, text[c.from:c.end], text[token.Start:token.End])
		}
	}
	if len(mine) > 0 {
		t.Fatalf("%q: %q is none of the server's", text, text[mine[0].from:mine[0].end])
	}
}

func list(text string, lenient bool) []constant {
	var all []constant
	constants(text, lenient, func(c constant) { all = append(all, c) })
	return all
}
