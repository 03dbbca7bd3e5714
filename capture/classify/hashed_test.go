package classify_test

import "testing"

// I6: rows of a partitioned table lie in the same partitions everywhere.
func TestI6HashesOfObjectNumbers(t *testing.T) {
	r := newRig(t, `create extension citext`, `create type mood as enum ('sad', 'ok')`, `create domain feeling as mood`, `create type pair as (m mood)`,
		`create table like_this(m mood, ms mood[], id int, c citext)`, `create table listed(m mood, id int) partition by list (id)`)
	for _, sql := range []string{
		`CREATE TABLE h (m mood) PARTITION BY HASH (m)`,
		`CREATE TABLE h (id int, m public.mood) PARTITION BY HASH (id, m)`,
		`CREATE TABLE h (m mood[]) PARTITION BY HASH (m)`,
		`CREATE TABLE h (m feeling) PARTITION BY HASH (m)`,
		`CREATE TABLE h (m pair) PARTITION BY HASH (m)`,
		`CREATE TABLE h (m regclass) PARTITION BY HASH (m)`,
		`CREATE TABLE h (m mood) PARTITION BY HASH ((coalesce(m, 'ok')))`,
		`CREATE TABLE h (LIKE like_this) PARTITION BY HASH (m)`,
		`CREATE TABLE h (LIKE like_this) PARTITION BY HASH (ms)`,
		`CREATE TABLE h OF pair PARTITION BY HASH (m)`,
		`CREATE TABLE h PARTITION OF listed FOR VALUES IN (1) PARTITION BY HASH (m)`,
		`CREATE SCHEMA s CREATE TABLE h (m mood) PARTITION BY HASH (m)`,
	} {
		r.check([]want{{sql, "refused", "differ between servers"}})
	}
	for _, sql := range []string{
		`CREATE TABLE h (m mood) PARTITION BY LIST (m)`,
		`CREATE TABLE h (m mood) PARTITION BY RANGE (m)`,
		`CREATE TABLE h (m mood, id int, c citext, u uuid, t text[]) PARTITION BY HASH (id, c, u, t, lower(c))`,
		`CREATE TABLE h (LIKE like_this) PARTITION BY HASH (id, c)`,
		`CREATE TABLE h PARTITION OF listed FOR VALUES IN (1) PARTITION BY HASH (id)`,
	} {
		r.check([]want{{sql, "ddl", ""}})
	}
}

// I6: what was made before opmux is met: by the name of the whole table it is the same
// everywhere, by those of its partitions it is not.
func TestI6PartitionsOfObjectNumbers(t *testing.T) {
	r := newRig(t, `create type mood as enum ('sad', 'ok')`, `create domain feeling as mood`, `create type pair as (m mood)`,
		`create table h(id int, m mood, v text, primary key (id, m)) partition by hash (m)`, `create table h0 partition of h for values with (modulus 2, remainder 0)`,
		`create table h1 partition of h for values with (modulus 2, remainder 1) partition by list (id)`, `create table h1d partition of h1 default`,
		`create table a(ms mood[], x int) partition by hash (ms)`, `create table a0 partition of a for values with (modulus 1, remainder 0)`,
		`create table d(m feeling) partition by hash (m)`, `create table d0 partition of d for values with (modulus 1, remainder 0)`,
		`create table c(p pair) partition by hash (p)`, `create table c0 partition of c for values with (modulus 1, remainder 0)`,
		`create table o(n oid) partition by hash (n)`, `create table o0 partition of o for values with (modulus 1, remainder 0)`,
		`create table g(id int, t text, ts text[], r int4range) partition by hash (id, t, ts, r)`, `create table g0 partition of g for values with (modulus 1, remainder 0)`,
		`create table l(m mood) partition by list (m)`, `create table l0 partition of l default`)
	for _, sql := range []string{
		`INSERT INTO h0 VALUES (1, 'ok')`, `UPDATE h0 SET v = 'x' WHERE id = 1 AND m = 'ok'`, `DELETE FROM h1d WHERE id = 1 AND m = 'ok'`, `COPY h0 FROM STDIN`, `TRUNCATE h0`, `TRUNCATE h, h1`,
		`DROP TABLE h0`, `ALTER TABLE h DETACH PARTITION h0`, `ALTER TABLE h1 DETACH PARTITION h1d`, `ALTER TABLE h DETACH PARTITION h0 CONCURRENTLY`,
		`INSERT INTO a0 VALUES ('{ok}')`, `TRUNCATE d0`, `TRUNCATE c0`, `TRUNCATE o0`,
	} {
		r.check([]want{{sql, "refused", "differ between servers"}})
	}
	r.check([]want{
		{`INSERT INTO h VALUES (1, 'ok')`, "write text", ""}, {`UPDATE h SET v = 'x' WHERE id = 1 AND m = 'ok'`, "write text", ""}, {`DELETE FROM h WHERE v > 'x'`, "write rows", ""},
		{`TRUNCATE h`, "write text", ""}, {`DROP TABLE h`, "ddl", ""}, {`ALTER TABLE h0 SET (fillfactor = 70)`, "ddl", ""}, {`COPY h FROM STDIN`, "copy", ""},
		{`INSERT INTO g0 VALUES (1)`, "write text", ""}, {`TRUNCATE g0`, "write text", ""}, {`DROP TABLE g0`, "ddl", ""}, {`ALTER TABLE g DETACH PARTITION g0`, "ddl", ""}, {`TRUNCATE l0`, "write text", ""},
	})
}
