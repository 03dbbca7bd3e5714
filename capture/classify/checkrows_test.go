package classify_test

import "testing"

// I6: DDL that checks the rows which are there runs no function that may write, on
// backups by itself.
func TestI6ChecksOfRowsThatAreThere(t *testing.T) {
	r := newRig(t, `CREATE TABLE log (n serial PRIMARY KEY)`, `CREATE TABLE t (id int PRIMARY KEY, v text)`,
		`CREATE FUNCTION writes(int) RETURNS boolean LANGUAGE sql VOLATILE AS 'INSERT INTO log DEFAULT VALUES RETURNING true'`,
		`CREATE FUNCTION tells(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'`,
		`CREATE FUNCTION zone(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT current_setting('TimeZone') || $1 $$`,
		`CREATE OPERATOR <<>> (FUNCTION = writes, RIGHTARG = int)`,
		`CREATE DOMAIN checked AS int CHECK (writes(value))`, `CREATE DOMAIN plain AS int CHECK (tells(value))`,
		`CREATE TABLE lax (id checked PRIMARY KEY, v text)`, `ALTER TABLE lax ADD CONSTRAINT later CHECK (v <> '') NOT VALID`)
	for sql, say := range map[string]string{
		`ALTER TABLE t ADD CHECK (writes(id))`:                                        "a CHECK that calls writes",
		`ALTER TABLE t ADD CONSTRAINT c CHECK (id > 0 AND <<>> id)`:                   "operator <<>>",
		`ALTER TABLE t ADD CHECK (id::checked > 0)`:                                   "a cast to checked",
		`ALTER TABLE t ADD COLUMN n int DEFAULT 1 CHECK (writes(n))`:                  "a CHECK that calls writes",
		`ALTER TABLE t ADD COLUMN n checked`:                                          "a cast to checked",
		`ALTER TABLE lax VALIDATE CONSTRAINT later`:                                   "call volatile function",
		`ALTER TABLE lax ALTER v TYPE varchar`:                                        "call volatile function",
		`ALTER TABLE t ADD COLUMN n int GENERATED ALWAYS AS (id::checked) STORED`:     "a cast to checked",
		`CREATE INDEX ON t ((id::checked))`:                                           "a cast to checked",
		`CREATE INDEX ON t (zone(v))`:                                                 "it reads a setting",
		`ALTER TABLE t ADD COLUMN z text GENERATED ALWAYS AS (upper(zone(v))) STORED`: "it reads a setting",
		`CREATE INDEX CONCURRENTLY i ON t (id) WHERE id::checked > 0`:                 "a cast to checked",
		`ALTER DOMAIN plain ADD CHECK (writes(value))`:                                "a CHECK that calls writes",
		`ALTER DOMAIN checked VALIDATE CONSTRAINT checked_check`:                      "a check of checked",
	} {
		r.check([]want{{sql, "refused", say}})
	}
	for _, sql := range []string{
		`ALTER TABLE t ADD CHECK (tells(id))`, `ALTER TABLE t ADD CHECK (writes(id)) NOT VALID`, `ALTER TABLE t ADD COLUMN n plain CHECK (tells(n))`,
		`ALTER TABLE t ADD UNIQUE (v)`, `ALTER TABLE t ALTER v TYPE varchar`, `ALTER DOMAIN plain ADD CHECK (value > 0)`, `ALTER DOMAIN checked SET DEFAULT 1`,
		`CREATE TABLE u (id int CHECK (writes(id)))`, `CREATE INDEX ON t ((id::plain), lower(v)) WHERE v <> ''`,
	} {
		r.check([]want{{sql, "ddl", ""}})
	}
}
