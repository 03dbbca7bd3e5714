package pgstrings_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgstrings"
)

// pieces are what random texts are made of.
var pieces = []string{
	`'`, `'`, `''`, `\`, `\`, `\\`, `\'`, `\x41`, `\101`, `\u00e9`, `\n`, "\n", "\n  ", " ", `a`, `é`, `"`, `$$`, `$a$`, `--`, `/*`, `*/`, `e'`, `E'`, `N'`, `B'1'`, `||`, `, `, `, `, ` AS "b\"`, "'\n'", "'\n\\'", `like'`, `=`,
}

// text is a random list of constants, of which half are well made.
func text(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("SELECT ")
	for range 1 + r.IntN(4) {
		if r.IntN(2) == 0 {
			for range r.IntN(9) {
				b.WriteString(pieces[r.IntN(len(pieces))])
			}
			continue
		}
		b.WriteString([]string{`'`, `e'`, `E'`, `n'`, `'x'||'`, `'x'like'`, "/* ' \\ */ '", "-- ' \\\n'"}[r.IntN(8)])
		for range r.IntN(6) {
			b.WriteString([]string{`a`, `''`, `\\`, `\'`, `\t`, `\101`, `é`, `"`, "'\n'", "'\n -- it's \\\n'", `$$`, `--`}[r.IntN(12)])
		}
		b.WriteString([]string{`', `, `' AS "b\", `, `'::text, `}[r.IntN(3)])
	}
	b.WriteString("1")
	return b.String()
}

// A server reads a text that came under off, and was made one for on, under on as it reads it under off;
// and one that is for on, and was made one for off, under off as it reads it under on.
func TestServersReadTheSame(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	connect := func(value string) *pgconn.PgConn {
		conn, err := pgconn.Connect(t.Context(), pg.DSN(pg.CreateDB(t))+"&options=-cstandard_conforming_strings%3D"+value)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	on, off := connect("on"), connect("off")
	r := rand.New(rand.NewPCG(1, 2))
	answered := 0
	for range 6000 {
		text := text(r)
		standard, _, ok := pgstrings.Standard(text)
		want := answer(t, off, text)
		if got := answer(t, on, standard); ok && got != want {
			t.Fatalf("%s under off: %s\n%s under on: %s", text, want, standard, got)
		}
		again, _ := pgstrings.Lenient(standard)
		if got := answer(t, off, again); ok && got != want {
			t.Fatalf("%s under off: %s\n%s, made of %s, under off: %s", text, want, again, standard, got)
		}
		lenient, _ := pgstrings.Lenient(text)
		want = answer(t, on, text)
		if got := answer(t, off, lenient); !strings.HasPrefix(want, "ERROR") && got != want {
			t.Fatalf("%s under on: %s\n%s under off: %s", text, want, lenient, got)
		}
		if !strings.HasPrefix(want, "ERROR") {
			answered++
		}
	}
	if answered < 1000 {
		t.Errorf("%d texts were answered", answered)
	}
}

// answer is what a server says to a text, in short.
func answer(t *testing.T, conn *pgconn.PgConn, text string) string {
	t.Helper()
	results, err := conn.Exec(t.Context(), text).ReadAll()
	var said *pgconn.PgError
	switch {
	case errors.As(err, &said):
		return "ERROR " + said.Code
	case err != nil:
		t.Fatal(err)
	}
	var b strings.Builder
	for _, one := range results {
		for _, f := range one.FieldDescriptions {
			fmt.Fprintf(&b, "%s,", f.Name)
		}
		fmt.Fprintf(&b, " %q; ", one.Rows)
	}
	return b.String()
}
