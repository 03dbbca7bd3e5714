package classify_test

import (
	"context"
	"errors"
	"testing"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

// FuzzClassify looks for text that makes the classifier panic, or write something
// that does not parse.
func FuzzClassify(f *testing.F) {
	pg := testkit.SharedPostgres(f)
	db := pg.CreateDB(f)
	pg.Exec(f, db, shop...)
	cat, err := catalog.Open(context.Background(), catalog.Config{DSN: pg.DSN(db)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = cat.Close() })
	c := classify.New(classify.Config{Catalog: cat, CacheEntries: 10})
	for _, sql := range []string{
		`UPDATE jobs SET state = 'x', at = now() WHERE id = $1 RETURNING *`, `INSERT INTO customer(name) VALUES ('a'), (DEFAULT) -- x`,
		`INSERT INTO customer AS c SELECT * FROM customer ON CONFLICT (id) DO UPDATE SET name = c.name`, `DELETE FROM item USING jobs WHERE no = id`,
		`COPY jobs FROM STDIN (FORMAT csv, DELIMITER ';')`, `PREPARE p(int) AS UPDATE jobs SET worker = $1 WHERE id = 2`, `EXECUTE p(1, 'x', -2.5)`,
		`ALTER TABLE jobs ADD COLUMN x date DEFAULT current_date`, `SELECT nextval('counter'), setval('"counter"', 3)`, `WITH a AS (SELECT 1) SELECT * FROM a, rich`,
		`DECLARE c CURSOR WITH HOLD FOR SELECT 1`, `SET LOCAL a.b = 'c'`, `EXPLAIN (ANALYZE) SELECT 1`, `TRUNCATE jobs, history CASCADE`,
	} {
		f.Add(sql, true)
		f.Add(sql, false)
	}
	f.Fuzz(func(t *testing.T, sql string, full bool) {
		in := classify.Input{SQL: sql, Schemas: []string{"pg_catalog", "public"}, Level: event.LevelCount}
		if full {
			in.Level = event.LevelFull
		}
		p, err := c.Classify(context.Background(), in)
		var syntax *classify.SyntaxError
		if errors.As(err, &syntax) || err != nil && p == nil {
			return
		}
		for _, text := range []string{p.SQL, p.Frozen()} {
			if parts, err := c.Split(text); text != "" && (err != nil || len(parts) != 1) {
				t.Errorf("%q became %q: %v", sql, text, err)
			}
		}
		if (p.Kind == classify.Refused) != (p.Refusal != nil) {
			t.Errorf("%q: %v with refusal %v", sql, p.Kind, p.Refusal)
		}
	})
}
