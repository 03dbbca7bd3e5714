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
