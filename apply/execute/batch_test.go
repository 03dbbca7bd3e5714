package execute

import (
	"bytes"
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
)

func TestStatementsForManyRows(t *testing.T) {
	types := map[string]string{"id": "pg_catalog.int4", "k": "pg_catalog.text", "v": "my.mood"}
	row := event.RowImage{Key: []event.Value{value("1")}, Values: []event.Value{value("x")}}
	returning := image(event.ActionUpdate, []string{"id"}, []string{"v"}, row)
	returning.Returning = []string{"id", "v"}
	const one, two = `ROWS FROM (pg_catalog.unnest($1)) AS v (c1)`, `ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS v (c1, c2)`
	for name, test := range map[string]struct {
		images *event.RowImages
		sql    string
	}{
		"insert": {image(event.ActionInsert, nil, []string{"v", "k"}),
			`INSERT INTO "public"."a""b" ("v", "k") OVERRIDING SYSTEM VALUE SELECT v.c1::my.mood, v.c2::pg_catalog.text FROM ` + two},
		"insert of nothing": {image(event.ActionInsert, nil, nil), ""},
		"update": {returning, `UPDATE "public"."a""b" AS o SET "v" = v.c1::my.mood FROM ` + two +
			` WHERE o."id" = v.c2::pg_catalog.int4 RETURNING o."id", o."v"`},
		"update of nothing": {image(event.ActionUpdate, []string{"id", "k"}, nil), `UPDATE "public"."a""b" AS o SET "id" = o."id" FROM ` + two +
			` WHERE o."id" = v.c1::pg_catalog.int4 AND o."k" = v.c2::pg_catalog.text`},
		"delete": {image(event.ActionDelete, []string{"id"}, nil),
			`DELETE FROM "public"."a""b" AS o USING ` + one + ` WHERE o."id" = v.c1::pg_catalog.int4`},
		"upsert": {image(event.ActionUpsert, []string{"id"}, []string{"v"}, row),
			`INSERT INTO "public"."a""b" ("v", "id") OVERRIDING SYSTEM VALUE SELECT v.c1::my.mood, v.c2::pg_catalog.int4 FROM ` + two +
				` ON CONFLICT ("id") DO UPDATE SET "v" = EXCLUDED."v"`},
		"a type that cannot be cast to": {image(event.ActionInsert, nil, []string{"v", "other"}), ""},
	} {
		plan, err := newRowPlan(test.images)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := ""
		if b := newBatch(plan, types); b != nil {
			got = b.sql
			if len(b.types) != strings.Count(got, "unnest") {
				t.Errorf("%s: %d types for %s", name, len(b.types), got)
			}
		}
		if got != test.sql {
			t.Errorf("%s: %s, expected %s", name, got, test.sql)
		}
	}
}

func TestI7RowsOfOneStatementAreBounded(t *testing.T) {
	rows := func(n, size int) []event.RowImage {
		list := make([]event.RowImage, n)
		for i := range list {
			list[i].Values = []event.Value{{Text: bytes.Repeat([]byte("x"), size)}}
		}
		return list
	}
	for _, test := range []struct{ rows, size, take int }{
		{3, 1, 3}, {maxBatchRows + 5, 1, maxBatchRows}, {9, maxBatchBytes/4 - valueBytes, 4}, {2, 2 * maxBatchBytes, 1}, {1, 1, 1},
	} {
		b := batch{images: image(event.ActionInsert, nil, []string{"v"}, rows(test.rows, test.size)...)}
		if got := b.take(0); got != test.take {
			t.Errorf("%d rows of %d bytes: %d are taken, expected %d", test.rows, test.size, got, test.take)
		}
	}
}

// One statement would write a row once, so a key that comes again waits for the next.
func TestKeysThatComeAgainAreCut(t *testing.T) {
	key := func(words ...string) event.RowImage {
		var row event.RowImage
		for _, w := range words {
			row.Key = append(row.Key, event.Value{Text: []byte(w), Null: w == "null"})
		}
		return row
	}
	b := batch{images: image(event.ActionDelete, []string{"a", "b"}, nil, key("1", "2"), key("12", ""), key("", "12"), key("1", "2"),
		key("1", "null"), key("null", "2"), key("3", "3"), key("4", "4"))}
	var sizes []int
	for i := 0; i < len(b.images.Rows); i += sizes[len(sizes)-1] {
		sizes = append(sizes, b.take(i))
	}
	if len(sizes) != 5 || sizes[0] != 3 || sizes[1] != 1 || sizes[2] != 1 || sizes[3] != 1 || sizes[4] != 2 {
		t.Fatalf("rows per statement: %v", sizes)
	}
}
