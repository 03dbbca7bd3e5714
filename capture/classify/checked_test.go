package classify_test

import "testing"

// I6: what writes behind the checks of a table is seen where no function is named: behind
// an operator, a cast to a domain, the parts of a column's type. With capture triggers
// it is refused as well, since a backup checks rows again; what only looks is not.
func TestI6ChecksThatWrite(t *testing.T) {
	tables := []string{
		`CREATE TABLE by_function (id int PRIMARY KEY, v int CHECK (writes(v) > 0))`, `CREATE TABLE by_operator (id int PRIMARY KEY, v int CHECK ((## v) > 0))`,
		`CREATE TABLE by_cast (id int PRIMARY KEY, v int CHECK (v::checked > 0))`, `CREATE TABLE by_domain (id int PRIMARY KEY, v by_op)`,
		`CREATE TABLE above_domain (id int PRIMARY KEY, v above)`, `CREATE TABLE in_array (id int PRIMARY KEY, v above[])`,
		`CREATE TABLE in_row (id int PRIMARY KEY, v pair)`, `CREATE TABLE in_index (id int PRIMARY KEY, v int)`, `CREATE INDEX ON in_index ((v::checked))`,
		`CREATE TABLE generated (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v::checked) STORED)`,
		`CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)`, `CREATE TABLE part PARTITION OF parted (CHECK ((## v) > 0)) DEFAULT`,
		`CREATE TABLE drawn (id int PRIMARY KEY, v int CHECK (nextval('log_n_seq') > 0))`, `CREATE TABLE by_another (id int PRIMARY KEY, v int CHECK (calls(v) > 0))`,
		`CREATE TABLE looks (id int PRIMARY KEY, v int CHECK (looks(v)))`, `CREATE TABLE plain (id int PRIMARY KEY, v int CHECK (tells(v) > 0 AND clock_timestamp() > '2000-01-01'))`,
	}
	setup := append([]string{`CREATE TABLE log (n serial PRIMARY KEY)`,
		`CREATE FUNCTION writes(int) RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO log DEFAULT VALUES RETURNING n'`,
		`CREATE FUNCTION calls(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN writes($1); END'`,
		`CREATE FUNCTION looks(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN $1 IS NOT NULL OR EXISTS (SELECT FROM log); END'`,
		`CREATE FUNCTION tells(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'`,
		`CREATE OPERATOR ## (RIGHTARG = int, FUNCTION = writes)`,
		`CREATE DOMAIN checked AS int CHECK (writes(value) > 0)`, `CREATE DOMAIN by_op AS int CHECK ((## value) > 0)`, `CREATE DOMAIN above AS by_op`,
		`CREATE TYPE pair AS (a int, b above)`, `CREATE FUNCTION takes(above) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'`,
		`CREATE FUNCTION defaults(a int DEFAULT ## 1) RETURNS int LANGUAGE sql STABLE AS 'SELECT a'`,
		`CREATE TABLE hidden (id int PRIMARY KEY)`, `CREATE POLICY p ON hidden USING ((## id) > 0)`, `ALTER TABLE hidden ENABLE ROW LEVEL SECURITY`,
		`CREATE TABLE veiled (id int PRIMARY KEY)`, `CREATE POLICY p ON veiled USING (id::by_op > 0)`, `ALTER TABLE veiled ENABLE ROW LEVEL SECURITY`}, tables...)
	r := newRig(t, setup...)
	for _, table := range []string{"by_function", "by_operator", "by_cast", "by_domain", "above_domain", "in_array", "in_row", "in_index", "generated", "parted", "drawn", "by_another"} {
		r.check([]want{{`INSERT INTO ` + table + ` VALUES (1, NULL)`, "refused", "which may write, and a backup calls it once more"}})
	}
	for _, sql := range []string{`SELECT 1::by_op`, `SELECT takes(1)`, `SELECT defaults()`, `SELECT * FROM hidden`, `SELECT * FROM veiled`} {
		r.check([]want{{sql, "refused", "volatile"}})
	}
	r.check([]want{
		{`INSERT INTO looks VALUES (1, 1)`, "refused", "call volatile function looks"},
		{`INSERT INTO plain VALUES (1, 1)`, "write text", ""},
	})
}
