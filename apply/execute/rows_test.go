package execute

import (
	"testing"

	"github.com/opmux/opmux/event"
)

func value(text string) event.Value { return event.Value{Text: []byte(text)} }

func image(action event.Action, key, columns []string, rows ...event.RowImage) *event.RowImages {
	return &event.RowImages{Action: action, Schema: "public", Table: `a"b`, Key: key, Columns: columns, Rows: rows}
}

func TestStatementsOfRowImages(t *testing.T) {
	one := event.RowImage{Key: []event.Value{value("1")}, Values: []event.Value{value("x"), {Null: true}}}
	keyOnly := event.RowImage{Key: []event.Value{value("1"), {Null: true}}}
	returning := image(event.ActionUpdate, []string{"id"}, []string{"v", "w"}, one)
	returning.Returning = []string{"id", "v"}
	for name, test := range map[string]struct {
		images *event.RowImages
		sql    string
		params int
	}{
		"insert": {
			image(event.ActionInsert, nil, []string{"v", "w"}, event.RowImage{Values: one.Values}),
			`INSERT INTO "public"."a""b" ("v", "w") OVERRIDING SYSTEM VALUE VALUES ($1, $2)`, 2,
		},
		"insert of nothing": {
			image(event.ActionInsert, nil, nil, event.RowImage{}),
			`INSERT INTO "public"."a""b" DEFAULT VALUES`, 0,
		},
		"update": {returning, `UPDATE "public"."a""b" SET "v" = $1, "w" = $2 WHERE "id" = $3 RETURNING "id", "v"`, 3},
		"update of nothing": {
			image(event.ActionUpdate, []string{"id", "k"}, nil, keyOnly),
			`UPDATE "public"."a""b" SET "id" = "id" WHERE "id" = $1 AND "k" IS NULL`, 1,
		},
		"delete": {
			image(event.ActionDelete, []string{"id", "k"}, nil, keyOnly),
			`DELETE FROM "public"."a""b" WHERE "id" = $1 AND "k" IS NULL`, 1,
		},
		"upsert": {
			image(event.ActionUpsert, []string{"id"}, []string{"v", "w"}, one),
			`INSERT INTO "public"."a""b" ("v", "w", "id") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3)` +
				` ON CONFLICT ("id") DO UPDATE SET "v" = EXCLUDED."v", "w" = EXCLUDED."w"`, 3,
		},
		"upsert of a table that is named as what its rows would have been": {
			&event.RowImages{Action: event.ActionUpsert, Schema: "public", Table: "excluded", Key: []string{"id"}, Columns: []string{"id"},
				Rows: []event.RowImage{{Key: one.Key, Values: one.Key}}},
			`INSERT INTO "public"."excluded" AS "the table" ("id") OVERRIDING SYSTEM VALUE VALUES ($1)` +
				` ON CONFLICT ("id") DO UPDATE SET "id" = EXCLUDED."id"`, 1,
		},
		"upsert of a key": {
			image(event.ActionUpsert, []string{"id"}, []string{"id"}, event.RowImage{Key: one.Key, Values: one.Key}),
			`INSERT INTO "public"."a""b" ("id") OVERRIDING SYSTEM VALUE VALUES ($1)` +
				` ON CONFLICT ("id") DO UPDATE SET "id" = EXCLUDED."id"`, 1,
		},
	} {
		plan, err := newRowPlan(test.images)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		st := plan.single(0)
		if st.sql != test.sql || len(st.params) != test.params {
			t.Errorf("%s: %s with %d parameters, expected %s with %d", name, st.sql, len(st.params), test.sql, test.params)
		}
	}
}

func TestI6ImagesThatWouldHitOtherRowsAreRefused(t *testing.T) {
	for name, images := range map[string]*event.RowImages{
		"none":              nil,
		"update, no key":    image(event.ActionUpdate, nil, []string{"v"}, event.RowImage{Values: []event.Value{value("x")}}),
		"delete, no key":    image(event.ActionDelete, nil, nil, event.RowImage{}),
		"too few values":    image(event.ActionInsert, nil, []string{"v", "w"}, event.RowImage{Values: []event.Value{value("x")}}),
		"too few key parts": image(event.ActionDelete, []string{"a", "b"}, nil, event.RowImage{Key: []event.Value{value("x")}}),
	} {
		if _, err := newRowPlan(images); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
