package apply

import (
	"fmt"
	"testing"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

// BenchmarkRowImages applies the rows of one statement that wrote many, as an
// agent cuts them into chunks, and of many statements that wrote a few each. Its
// unit is a row: run it with -benchtime 100000x.
func BenchmarkRowImages(b *testing.B) {
	for _, test := range []struct {
		name   string
		action event.Action
		fill   bool
		rows   int // of each operation; 0: all are one
	}{
		{"insert", event.ActionInsert, false, 0},
		{"update", event.ActionUpdate, true, 0},
		{"upsert", event.ActionUpsert, true, 0},
		{"delete", event.ActionDelete, true, 0},
		{"insert by 3", event.ActionInsert, false, 3},
		{"update by 3", event.ActionUpdate, true, 3},
	} {
		b.Run(test.name, func(b *testing.B) {
			r := newRigOn(b, testkit.SharedPostgres(b))
			r.pg.Exec(b, r.db, "CREATE TABLE t (id int PRIMARY KEY, v text, n numeric, d timestamptz)", "CREATE TABLE other (id int)")
			if test.fill {
				r.pg.Exec(b, r.db, fmt.Sprintf("INSERT INTO t SELECT i, 'old', i, now() FROM generate_series(1, %d) i", b.N), "VACUUM ANALYZE t")
			}
			benchmarkRowImages(b, r, test.action, test.rows)
		})
	}
}

func benchmarkRowImages(b *testing.B, r *rig, action event.Action, each int) {
	const most = 5_000 // in one chunk
	a := r.agent("a1")
	a.add(a.chunked((b.N+most-1)/most, func(i int) []event.Operation {
		from := i * most
		chunk := min(most, b.N-from)
		if each == 0 {
			return []event.Operation{rowsOf(action, from, chunk, from+chunk < b.N)}
		}
		var list []event.Operation
		for k := 0; k < chunk; k += each {
			list = append(list, rowsOf(action, from+k, min(each, chunk-k), false))
		}
		return list
	}))
	end := r.end()
	w := r.worker()
	b.ResetTimer()
	if err := w.RunUntil(b.Context(), map[string]int64{"orders": end}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// rowsOf are images of rows of the table t from one on.
func rowsOf(action event.Action, from, n int, more bool) event.Operation {
	images := &event.RowImages{Action: action, Schema: "public", Table: "t"}
	if action != event.ActionInsert {
		images.Key = []string{"id"}
	}
	switch action {
	case event.ActionInsert, event.ActionUpsert:
		images.Columns = []string{"id", "v", "n", "d"}
	case event.ActionUpdate:
		images.Columns = []string{"v", "n", "d"}
	}
	for id := from + 1; id <= from+n; id++ {
		all := values(fmt.Sprint(id), "some new text", "12.50", "2026-01-02 03:04:05+00")
		row := event.RowImage{Key: all[:len(images.Key)], Values: all[4-len(images.Columns):]}
		if action == event.ActionDelete {
			row.Values = nil
		}
		images.Rows = append(images.Rows, row)
	}
	return event.Operation{Kind: event.OpRows, Class: event.ClassRows, Rows: images, More: more}
}
