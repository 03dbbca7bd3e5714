package classify

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/opmux/opmux/internal/shape"
)

// A statement's shape, as "target | set | where", or "-" for none.
func TestShapes(t *testing.T) {
	for _, test := range []struct{ sql, want string }{
		{"UPDATE a SET b = b + $1 WHERE id = $2", `"a" | b=1+ | id=2`},
		{"UPDATE a SET b = b + -5, c = 'it''s' WHERE id = 7", `"a" | b=1+ c=2 | id=3`},
		{"UPDATE s.a AS x SET b = x.b - 5 WHERE 7 = x.id AND x.k = 'v'", `"s"."a" AS "x" | b=1- | id=2 k=3`},
		{"UPDATE ONLY a SET b = b * 2 WHERE id = $1", `ONLY "a" | b=b * opmux_v.opmux_p2 | id=1`},
		{"INSERT INTO a (id, b) VALUES (1, CAST($1 AS timestamptz)) RETURNING id, *", `"a" ("id", "b") | id=2 b=opmux_v.opmux_p1::timestamptz | `},
		{"INSERT INTO a VALUES ($1, NULL, -1.5)", `"a" | =1 =NULL =2 | `},
		{"INSERT INTO a (id) OVERRIDING SYSTEM VALUE VALUES ($1)", `"a" ("id") OVERRIDING SYSTEM VALUE | id=1 | `},
		{`DELETE FROM "A b" WHERE "Id" = $1`, `"A b" |  | Id=1`},
		{"DELETE FROM a WHERE id = date '2026-01-01'", "-"},
		{"INSERT INTO a VALUES (1), (2)", "-"},
		{"INSERT INTO a VALUES ($1) ON CONFLICT DO NOTHING", "-"},
		{"INSERT INTO a VALUES (DEFAULT, $1)", "-"},
		{"INSERT INTO a SELECT $1", "-"},
		{"UPDATE a SET b = lower($1) WHERE id = $2", "-"},
		{"UPDATE a SET b = (SELECT 1) WHERE id = $2", "-"},
		{"UPDATE a SET b = 1 WHERE id = $1 OR id = $2", "-"},
		{"UPDATE a SET b = 1 WHERE id > $1", "-"},
		{"UPDATE a SET b = 1 WHERE id = $1 AND id = $2", "-"},
		{"UPDATE a SET b = 1 WHERE CURRENT OF c", "-"},
		{"UPDATE a SET b[1] = 1 WHERE id = $1", "-"},
		{"UPDATE a SET (b, c) = ROW(1, 2) WHERE id = $1", "-"},
		{"UPDATE a SET b = c.d FROM c WHERE id = $1", "-"},
		{"UPDATE a SET b = 1", "-"},
		{"UPDATE a SET b = a.b.c WHERE id = 1", "-"},
		{"DELETE FROM a WHERE id = 1 RETURNING now()", "-"},
		{"WITH x AS (SELECT 1) DELETE FROM a WHERE id = 1", "-"},
		{"UPDATE a SET b = 1::numeric(10,2) WHERE id = 1", "-"}, // lifted, the digits are no constants
		{"SELECT 1", "-"},
	} {
		var l shape.Lifted
		if !l.Lift(test.sql, strings.Count(test.sql, "$")) {
			t.Errorf("%s: not lifted", test.sql)
			continue
		}
		s, err := Shape(test.sql, strings.Count(test.sql, "$"), &l)
		got := "-"
		if err == nil {
			got = s.Target + " | " + items(s.Set) + " | " + items(s.Where)
		}
		if got != test.want {
			t.Errorf("%s: got %s (%v), expected %s", test.sql, got, err, test.want)
		}
	}
}

func items(list []shape.Item) string {
	var words []string
	for _, i := range list {
		value := fmt.Sprint(i.Param, map[shape.Kind]string{shape.Plus: "+", shape.Minus: "-"}[i.Kind])
		if i.Kind == shape.Other {
			value = i.Expr
		}
		words = append(words, i.Column+"="+value)
	}
	return strings.Join(words, " ")
}

// What the scanner takes for literals must be the parser's constants, with the
// same values, or there is no shape.
func FuzzLift(f *testing.F) {
	for _, sql := range []string{
		"UPDATE a SET b = b + -5, c = 'it''s' WHERE id = 7", "INSERT INTO a VALUES (1, -2.5, 'x', $1)",
		"UPDATE a SET b = b - -1 WHERE c = 'é'", "DELETE FROM a WHERE b = 5000000000", `UPDATE "x'y" SET b = 'z' WHERE c = 1`,
		"UPDATE a SET b=b+-5 WHERE c=-1", "UPDATE a SET b = b %-5 WHERE c = 1", "UPDATE a SET b = b || -5 WHERE c = - 1",
	} {
		f.Add(sql, "7", "tail")
	}
	f.Fuzz(func(t *testing.T, sql, number, text string) {
		var first, second shape.Lifted
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) || !first.Lift(sql, 9) {
			return
		}
		if _, err := Shape(sql, 9, &first); err != nil {
			return
		}
		// Another statement of the same template and classes has the same shape.
		other := refill(string(first.Template), first.Literals, number, text)
		if !second.Lift(other, 9) || string(second.Template) != string(first.Template) || classes(&second) != classes(&first) {
			return
		}
		if _, err := Shape(other, 9, &second); err != nil {
			t.Fatalf("%q has a shape, %q has none: %v", sql, other, err)
		}
	})
}

func classes(l *shape.Lifted) string {
	var b []byte
	for _, x := range l.Literals {
		b = append(b, byte(x.Class))
	}
	return string(b)
}

// refill puts other literals of the same classes into a template.
func refill(template string, literals []shape.Literal, number, text string) string {
	for i := len(literals) - 1; i >= 0; i-- {
		value := "'" + strings.ReplaceAll(text, "'", "''") + "'"
		if c := literals[i].Class; c != shape.Text {
			value = number
			if c != c.Unsigned() {
				value = "-" + number
			}
		}
		template = strings.ReplaceAll(template, fmt.Sprint("$", 10+i), value)
	}
	return template
}
