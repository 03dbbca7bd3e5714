package classify_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

func BenchmarkClassify(b *testing.B) {
	pg := testkit.SharedPostgres(b)
	db := pg.CreateDB(b)
	pg.Exec(b, db, `create table accounts(aid int primary key, balance int, filler char(84))`, `create table history(tid int, delta int, mtime timestamp)`)
	cat, err := catalog.Open(context.Background(), catalog.Config{DSN: pg.DSN(db)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cat.Close() })
	c := classify.New(classify.Config{Catalog: cat})
	in := classify.Input{Schemas: []string{"pg_catalog", "public"}, Level: event.LevelCount, Settings: event.Context{User: "postgres",
		Settings: []event.Setting{{Name: "DateStyle", Value: "ISO"}, {Name: "TimeZone", Value: "UTC"}, {Name: "extra_float_digits", Value: "1"}}}}
	for _, bench := range []struct{ name, format string }{
		{"cached", `UPDATE accounts SET balance = balance + $1 WHERE aid = $2`},
		{"text", `UPDATE accounts SET balance = balance + 17 WHERE aid = %d`},
		{"pinned", `INSERT INTO history (tid, delta, mtime) VALUES (1, %d, CURRENT_TIMESTAMP)`},
		{"rows", `UPDATE accounts SET balance = 0 WHERE balance < %d`},
		{"read", `SELECT balance FROM accounts WHERE aid = %d`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if in.SQL = bench.format; bench.name != "cached" {
					in.SQL = fmt.Sprintf(bench.format, i)
				}
				if p, err := c.Classify(context.Background(), in); err != nil || p.Refusal != nil {
					b.Fatal(p, err)
				}
			}
		})
	}
}
