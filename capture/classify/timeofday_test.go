package classify_test

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
)

var shifts = []string{
	`create type duty as (tz timetz, n int)`, `create domain opening as timetz`, `create type span as range (subtype = timetz)`,
	`create table duties(id int primary key, d duty, ds duty[], os opening[], s span, n int)`,
	`create table shift(id int primary key, tz timetz, t time, at timestamptz, many timetz[], n int, label text)`,
	`create domain opens as timetz`, `create table shop_hours(id int primary key, o opens)`,
}

// I6: a time with time zone takes the offset of the day on which it is read, so that it
// is another one on a backup that is behind the change to summer time, or is made anew.
func TestI6TimesTakeTheOffsetOfTheDay(t *testing.T) {
	r := newRig(t, shifts...)
	r.check([]want{
		{`INSERT INTO shift (id, tz) VALUES (1, '10:00')`, "write pinned", "offset of the day"},
		{`INSERT INTO shift (id, tz) VALUES (1, NULL)`, "write text", ""},
		{`INSERT INTO shift (id, tz) VALUES (1, current_time)`, "write pinned", "pg_catalog.timetz"},
		{`INSERT INTO shift (id, many) VALUES (1, '{10:00}')`, "write pinned", "offset of the day"},
		{`INSERT INTO shop_hours VALUES (1, '10:00')`, "write pinned", "offset of the day"},
		{`INSERT INTO shift (id, t) VALUES (1, '10:00')`, "write text", ""},
		{`UPDATE shift SET tz = '10:00' WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE shift SET tz = '10:00 Europe/Berlin' WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE shift SET tz = t WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE shift SET tz = at WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE shift SET tz = tz WHERE id = 1`, "write text", ""},
		{`UPDATE shift SET n = 1 WHERE id = 1 AND tz < '10:00'`, "write rows", "offset of the day"},
		{`UPDATE shift SET n = 1 WHERE id = 1 AND t < tz`, "write rows", "offset of the day"},
		{`UPDATE shift SET label = ('10:00'::timetz)::text WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE shift SET label = (t AT TIME ZONE 'Europe/Berlin')::text WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE shift SET label = (tz AT TIME ZONE 'Europe/Berlin')::text WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE shift SET label = (at AT TIME ZONE 'Europe/Berlin')::text WHERE id = 1`, "write text", ""},
		{`UPDATE shift SET label = (date_trunc('day', now() + interval '1 day') AT TIME ZONE 'Europe/Berlin')::text WHERE id = 1`, "write pinned", ""},
		{`CREATE TABLE h (tz timetz DEFAULT '10:00')`, "refused", "offset of the day"},
		{`CREATE TABLE h (tz timetz DEFAULT '10:00+01')`, "ddl", ""},
		{`CREATE TABLE h (t time DEFAULT '10:00')`, "ddl", ""},
		{`CREATE TABLE h (n int, CHECK ('10:00'::timetz > '09:00+01'::timetz))`, "refused", "offset of the day"},
		{`ALTER TABLE shift ADD COLUMN o timetz DEFAULT '10:00'`, "refused", "offset of the day"},
		{`ALTER TABLE shift ADD COLUMN o timetz DEFAULT '10:00-03:30'`, "ddl", ""},
		{`ALTER TABLE shift ADD COLUMN o timetz DEFAULT 'now'`, "refused", "moment of the clock"},
		{`ALTER TABLE shift ALTER COLUMN tz SET DEFAULT '10:00'`, "refused", "offset of the day"},
		{`ALTER TABLE shift ALTER COLUMN t SET DEFAULT '10:00'`, "ddl", ""},
		{`CREATE DOMAIN closes AS timetz DEFAULT '10:00'`, "refused", "offset of the day"},
		{`CREATE DOMAIN closes AS timetz DEFAULT '10:00+01'`, "ddl", ""},
		{`ALTER TABLE shift ALTER COLUMN t TYPE timetz`, "refused", "offset of the day"},
		{`ALTER TABLE shift ALTER COLUMN tz TYPE time`, "ddl", ""},
	})
	r.check([]want{
		{`INSERT INTO duties (id, d) VALUES (1, '(10:00,1)')`, "write pinned", "offset of the day"},
		{`INSERT INTO duties (id, ds) VALUES (1, '{"(10:00,1)"}')`, "write pinned", "offset of the day"},
		{`INSERT INTO duties (id, os) VALUES (1, '{10:00}')`, "write pinned", "offset of the day"},
		{`INSERT INTO duties (id, s) VALUES (1, '[10:00,)')`, "write pinned", "offset of the day"},
		{`UPDATE duties SET d = '(10:00,1)' WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE duties SET n = 1 WHERE id = 1 AND d = '(10:00,1)'`, "write rows", ""},
		{`UPDATE duties SET n = 1 WHERE id = 1 AND s @> '10:00'`, "write rows", ""},
		{`UPDATE shift SET label = array_append(many, '10:00')::text WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE shift SET label = timetz_larger('10:00', '10:01')::text WHERE id = 1`, "write rows", "offset of the day"},
		{`UPDATE shift SET n = date_part('hour', tz) WHERE id = 1`, "write text", ""},
		{`CREATE INDEX CONCURRENTLY ON shift (id) WHERE tz > '10:00'`, "refused", "offset of the day"},
		{`CREATE INDEX CONCURRENTLY ON shift (id) WHERE tz > '10:00+01'`, "standalone", ""},
		{`CREATE INDEX CONCURRENTLY ON shift (id) WHERE label > 'ten'`, "standalone", ""},
	})
	for data, bad := range map[string]bool{
		"1\t(10:00,1)\n": true, "1\t(10:00+01,1)\n": false, "1\t(\"2026-01-01 10:00+01\",1)\n": false, "1\t(,2024)\n": true, "1\t(,7)\n": false,
	} {
		if err := scan(r.plan(`COPY duties (id, d) FROM STDIN`), data, len(data)); (err != nil) != bad {
			t.Errorf("COPY of %q: %v", data, err)
		}
	}
	for data, bad := range map[string]bool{
		"1\t10:00\n": true, "1\t10:00+01\n": false, "1\t10:00:00.5-03:30\n": false, "1\t\\N\n": false, "1\t10:00 PST\n": true,
		"1\t10:00 Etc/GMT+1\n": true, "1\tallballs\n": false, "1\tnow\n": true,
	} {
		if err := scan(r.plan(`COPY shift (id, tz) FROM STDIN`), data, len(data)); (err != nil) != bad {
			t.Errorf("COPY of %q: %v", data, err)
		}
	}
	for _, c := range [][2]string{
		{`COPY shift (id, tz) FROM STDIN`, "1\t10:00" + strings.Repeat(" ", 300) + "\n"},
		{`COPY shift (id, many) FROM STDIN`, "1\t{" + strings.Repeat("10:00,", 50) + "10:00}\n"},
	} {
		if err := scan(r.plan(c[0]), c[1], len(c[1])); err == nil {
			t.Errorf("%s of a long field passes", c[0])
		}
	}
	if err := scan(r.plan(`COPY shift (id, t, at) FROM STDIN`), "1\t10:00\t2026-01-01 10:00\n", 100); err != nil {
		t.Errorf("times without time zone: %v", err)
	}
}

// Under a TimeZone that has one offset a time takes that one, on every server and day.
func TestI6TimesUnderAZoneOfOneOffset(t *testing.T) {
	r := newRig(t, shifts...)
	for zone, fixed := range map[string]bool{"UTC": true, "Etc/UTC": true, "GMT": true, "<+03>-03": true, "Europe/London": false, "CET": false, "EST5EDT": false, "<+01>-01<+02>": false} {
		r.in.Settings.Settings = []event.Setting{{Name: "TimeZone", Value: zone}}
		for _, sql := range []string{`CREATE TABLE h (tz timetz DEFAULT '10:00')`, `CREATE DOMAIN h AS timetz DEFAULT '10:00 PM'`, `CREATE INDEX CONCURRENTLY h ON shift (id) WHERE tz > '10:00'`} {
			if p := r.plan(sql); (p.Refusal == nil) != fixed || p.Offsets {
				t.Errorf("under %s: %s: %v", zone, sql, p.Refusal)
			}
		}
		if err := scan(r.plan(`COPY shift (id, tz) FROM STDIN`), "1\t10:00\n", 100); (err == nil) != fixed {
			t.Errorf("under %s: COPY: %v", zone, err)
		}
		for _, sql := range []string{`CREATE TABLE h (tz timetz DEFAULT '10:00 PST')`, `CREATE TABLE h (tz timetz DEFAULT '10:00 Europe/Berlin')`} {
			if p := r.plan(sql); p.Refusal == nil {
				t.Errorf("under %s: %s is carried", zone, sql)
			}
		}
	}
}
