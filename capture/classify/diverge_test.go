package classify_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
)

// What a refused statement may change, policy flag gives up whole: partitions and
// children of its tables, and where it calls or fires what writes elsewhere, all
// tables (I6).
func TestI6FlaggedStatementsGiveUpAllThatTheyReach(t *testing.T) {
	r := newRig(t, append(slices.Clone(shop),
		`create table leaf() inherits (sub)`,
		`create table parts(id int, v text) partition by list (id)`, `create table part1 partition of parts for values in (1)`,
		`create table watched(id int primary key, x int)`,
		`create trigger watch after insert on watched for each row execute function touch()`,
		`create unlogged table loud(id int)`, `create trigger watch after insert on loud for each row execute function touch()`,
		`create view written as select writer(1)`)...)
	for sql, diverged := range map[string]string{
		`ALTER TABLE top ADD r float8 DEFAULT random()`:                                                      "public.top public.leaf public.sub",
		`ALTER TABLE top ALTER x TYPE int USING (random() * 10)::int`:                                        "public.top public.leaf public.sub",
		`ALTER TABLE parts ADD n serial`:                                                                     "public.parts public.part1",
		`UPDATE parts SET v = 'b'`:                                                                           "public.parts public.part1",
		`MERGE INTO parts USING jobs j ON j.id = parts.id WHEN MATCHED THEN DELETE`:                          "public.parts public.part1",
		`WITH x AS (DELETE FROM parts RETURNING (SELECT 1)) SELECT * FROM x`:                                 "public.parts public.part1",
		`CREATE TABLE made AS SELECT writer(1)`:                                                              "*",
		`CREATE TABLE made AS SELECT * FROM written`:                                                         "*",
		`CREATE UNLOGGED TABLE made AS EXECUTE p`:                                                            "*",
		`CREATE UNLOGGED TABLE made AS SELECT reader(1)`:                                                     "public.made",
		`CREATE MATERIALIZED VIEW made AS SELECT writer(1)`:                                                  "*",
		`SELECT writer(1) AS x INTO made`:                                                                    "*",
		`MERGE INTO jobs USING customer c ON c.id = jobs.id WHEN MATCHED THEN UPDATE SET worker = 1`:         "public.jobs",
		`MERGE INTO jobs USING customer c ON writer(c.id) = 1 WHEN MATCHED THEN DELETE`:                      "*",
		`MERGE INTO watched USING jobs j ON j.id = watched.id WHEN NOT MATCHED THEN INSERT VALUES (j.id, 1)`: "*",
		`WITH x AS (DELETE FROM watched RETURNING (SELECT 1)) SELECT * FROM x`:                               "public.watched",
		`WITH x AS (INSERT INTO watched VALUES (1) RETURNING *) SELECT * FROM x`:                             "*",
		`WITH x AS (DELETE FROM jobs RETURNING *) SELECT writer(id) FROM x`:                                  "*",
		`WITH x AS (SELECT 1 AS id) MERGE INTO jobs USING x ON x.id = jobs.id WHEN MATCHED THEN DELETE`:      "public.jobs",
		`INSERT INTO loud VALUES (1)`:                                                                        "*", `INSERT INTO cache VALUES (1)`: "public.cache",
		`DELETE FROM history WHERE writer(tid) = 1`: "*",
		// What is made refused is that table alone, but for what it becomes a part of.
		`CREATE TABLE made (LIKE jobs, m mood DEFAULT CASE writer(1) WHEN 1 THEN 'sad' END::mood) PARTITION BY HASH (m)`: "public.made",
		`CREATE TABLE made PARTITION OF parts FOR VALUES IN (date_part('day', now())::int)`:                              "public.made public.parts public.part1",
		`CREATE TABLE made PARTITION OF parts FOR VALUES IN (writer(1))`:                                                 "*",
		`CREATE FOREIGN TABLE far (id int DEFAULT writer(1)) SERVER s`:                                                   "public.far",
		`CREATE FOREIGN TABLE far PARTITION OF parts FOR VALUES IN (2) SERVER s`:                                         "public.far public.parts public.part1",
		`ALTER FOREIGN TABLE far ADD n int`:                                                                              "public.far",
		`DROP FOREIGN TABLE far, away.far`:                                                                               "public.far away.far",
	} {
		p := r.plan(sql)
		if p.Kind != classify.Refused || strings.Join(p.Diverged, " ") != diverged {
			t.Errorf("%s: %v, diverged %v, want %s", sql, p.Kind, p.Diverged, diverged)
		}
	}
	// A cast that the server applies unasked runs wherever values are given to columns.
	r = newRig(t, append(slices.Clone(shop), `create function moody(text) returns mood language plpgsql as 'begin perform writer(1); return null; end'`,
		`create cast (text as mood) with function moody(text) as assignment`)...)
	if p := r.plan(`MERGE INTO jobs USING customer c ON c.id = jobs.id WHEN MATCHED THEN UPDATE SET worker = 1`); strings.Join(p.Diverged, " ") != "*" {
		t.Errorf("beside a volatile cast: diverged %v, want all tables", p.Diverged)
	}
}
