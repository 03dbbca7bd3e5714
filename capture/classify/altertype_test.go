package classify_test

import "testing"

// I6: a column's new values are told by its old ones or read back, or the ALTER is refused.
func TestI6TypesOfColumns(t *testing.T) {
	r := newRig(t, append([]string{
		`CREATE EXTENSION citext`, `CREATE EXTENSION hstore`, `CREATE EXTENSION ltree`, `CREATE DOMAIN soft AS citext CHECK (VALUE <> '')`, `CREATE DOMAIN due AS date`,
		`CREATE TYPE addr AS (street text, at date)`, `CREATE TYPE odd`, `CREATE FUNCTION odd_in(cstring) RETURNS odd STABLE STRICT LANGUAGE internal AS 'textin'`,
		`CREATE FUNCTION odd_out(odd) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'textout'`, `CREATE TYPE odd (INPUT = odd_in, OUTPUT = odd_out, LIKE = text)`,
		`CREATE FUNCTION sends(addr) RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO history (tid) VALUES (1); RETURN 1; END'`,
		`CREATE TABLE forms (id int PRIMARY KEY, v varchar, t text, n int, big bigint, ints int[], docs jsonb, dues date[], c citext, a addr, times timetz[])`,
	}, shop...)...)
	r.check([]want{
		{`ALTER TABLE forms ALTER v TYPE citext`, "ddl", ""}, {`ALTER TABLE forms ALTER t TYPE public.citext USING t::citext, ALTER v TYPE hstore USING v::hstore`, "ddl", ""},
		{`ALTER TABLE forms ALTER t TYPE ltree USING (lower(t) || '.x')::ltree`, "ddl", ""}, {`ALTER TABLE forms ALTER c TYPE text`, "ddl", ""},
		{`ALTER TABLE forms ALTER t TYPE citext USING random()::text::citext`, "refused", "random"}, {`ALTER TABLE forms ALTER t TYPE citext USING now()::text::citext`, "refused", "time of the ALTER"},
		{`ALTER TABLE forms ALTER t TYPE soft`, "refused", ""}, {`ALTER TABLE forms ALTER t TYPE due USING t::date`, "refused", "moment of the clock"},
		{`ALTER TABLE forms ALTER t TYPE odd USING t::odd`, "refused", "not built in"}, {`ALTER TABLE forms ALTER t TYPE citext[] USING ARRAY[t::citext]`, "refused", "not built in"},
		{`ALTER TABLE forms ALTER big TYPE timestamp USING to_timestamp(big / 1000) AT TIME ZONE 'UTC'`, "ddl", ""},
		{`ALTER TABLE forms ALTER n TYPE text USING (ARRAY['draft', 'done'])[n + 1]`, "ddl", ""}, {`ALTER TABLE forms ALTER n TYPE mood USING (ARRAY['sad', 'ok']::mood[])[n]`, "ddl", ""},
		{`ALTER TABLE forms ALTER ints TYPE int USING ints[1]`, "ddl", ""}, {`ALTER TABLE forms ALTER docs TYPE jsonb USING docs['a'][0]`, "ddl", ""}, {`ALTER TABLE forms ALTER ints TYPE int[] USING ints[2:]`, "ddl", ""},
		{`ALTER TABLE forms ALTER n TYPE text USING (ARRAY['a', 'b'])[(random() * 2)::int]`, "ddl", "read back"}, {`ALTER TABLE forms ALTER a TYPE text USING (a).street`, "ddl", "read back"},
		{`ALTER TABLE forms ALTER dues TYPE date USING (ARRAY[t])[1]::date`, "ddl", "read back"}, {`ALTER TABLE forms ALTER times TYPE timetz USING times[1] AT TIME ZONE 'UTC'`, "refused", "offset of the day"},
		{`ALTER TABLE forms ALTER n TYPE interval USING make_interval(secs => n)`, "ddl", ""}, {`ALTER TABLE forms ALTER n TYPE interval USING make_interval(secs => random())`, "ddl", "read back"},
		{`ALTER TABLE forms ALTER a TYPE text USING (a).sends`, "refused", "field of a row"},
		{`UPDATE forms SET n = ints[n] WHERE id = 1`, "write text", ""}, {`UPDATE forms SET n = ints[(random() * 3)::int] WHERE id = 1`, "write rows", "random"},
		{`UPDATE forms SET t = to_timestamp(n) AT TIME ZONE 'UTC' WHERE id = 1`, "write text", ""}, {`UPDATE forms SET t = (a).street WHERE id = 1`, "write rows", "field"},
	})
}
