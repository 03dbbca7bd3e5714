package apply

import (
	"math/rand/v2"

	"github.com/opmux/opmux/event"
)

// noise is a word that does not become shorter when it is compressed.
func noise(length int) string {
	r := rand.New(rand.NewPCG(1, 1))
	b := make([]byte, length)
	for i := range b {
		b[i] = byte('!' + r.IntN('~'-'!'))
	}
	return string(b)
}

// setting sets something for what follows in a transaction.
func setting(name, value string) []event.Operation {
	return []event.Operation{{Kind: event.OpSet, Class: event.ClassText, Settings: []event.Setting{{Name: name, Value: value}}}}
}

func savepoint(kind event.OpKind) []event.Operation {
	return []event.Operation{{Kind: kind, Class: event.ClassText, Text: "s"}}
}

// keyRules are about which rows are which, and which may pass each other.
func keyRules() []setRule {
	family := []string{
		"CREATE TABLE p (id int PRIMARY KEY, n int)", "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p)",
		"INSERT INTO p SELECT i, 0 FROM generate_series(1, 9) i", "INSERT INTO c SELECT i, i FROM generate_series(1, 9) i",
	}
	const (
		addP, addC = "INSERT INTO p VALUES ($1, $2)", "INSERT INTO c VALUES ($1, $2)"
		delP, delC = "DELETE FROM p WHERE id = $1", "DELETE FROM c WHERE id = $1"
		move       = "UPDATE c SET p = $1 WHERE id = $2"
		unique     = "UPDATE t SET u = $1 WHERE id = $2"
		byText     = "UPDATE t SET n = n + $1 WHERE k = $2"
	)
	clash := each(unique, "51 1", "52 2", "53 3", "54 4", "55 5", "99 1", "61 1", "62 2", "63 3")
	return []setRule{
		{name: "a child waits for its parent", target: family, tables: "p c",
			ops: join(each(addP, "21 0", "22 0", "23 0", "24 0"), each(addC, "21 21", "22 22", "23 23", "24 24"), each(addP, "31 0", "32 0", "33 0"), each(addC, "31 31", "32 32", "33 33"))},
		{name: "a child goes to a new parent", target: family, tables: "p c",
			ops: join(each(addP, "11 0", "12 0", "13 0"), each(move, "2 1", "2 2", "2 3", "2 4"), each(addP, "21 0", "22 0", "23 0", "24 0", "25 0"), each(move, "21 6", "22 7", "23 8", "25 9"))},
		{name: "a parent waits until its child has gone", target: family, tables: "p c",
			ops: join(each(delC, "1", "2", "3", "4"), each(delP, "1", "2", "3", "4"), each(delC, "5", "6", "7"), each(delP, "5", "6", "7"))},
		{name: "a parent waits until its child has another", target: family, tables: "p c",
			ops: join(each(move, "1 2", "1 3", "1 4"), each(delP, "2", "3", "4"), each(move, "1 5", "1 6", "1 7"), each(delP, "5", "6", "7"))},
		{name: "a unique value is taken for a moment", target: []string{"CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE)",
			"INSERT INTO t SELECT i, i FROM generate_series(1, 9) i", "UPDATE t SET u = 99 WHERE id = 9"}, ops: clash, tables: "t", fails: true},
		{name: "an excluded value is taken for a moment", target: []string{"CREATE TABLE t (id int PRIMARY KEY, u int, EXCLUDE USING btree (u WITH =))",
			"INSERT INTO t SELECT i, i FROM generate_series(1, 9) i", "UPDATE t SET u = 99 WHERE id = 9"}, ops: clash, tables: "t", fails: true},
		{name: "a generated value is unique", target: []string{"CREATE TABLE t (id int PRIMARY KEY, u int, g int GENERATED ALWAYS AS (u + 1) STORED UNIQUE)",
			"INSERT INTO t SELECT i, i FROM generate_series(1, 9) i"},
			ops: join(each(unique, "61 1", "62 2", "63 3"), each("UPDATE t SET u = 0 + $1 WHERE id = $2", "51 1", "52 2", "53 3", "56 6"),
				each(unique, "4 5"), each("UPDATE t SET u = 0 + $1 WHERE id = $2", "54 4", "57 7", "58 8")), tables: "t", fails: true},
		{name: "keys that are equal without being the same", target: []string{
			`CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
			"CREATE TABLE t (k text COLLATE ci, n int)", `CREATE UNIQUE INDEX ON t (k COLLATE "C")`,
			"INSERT INTO t VALUES ('a', 0), ('A', 0), ('b', 0), ('B', 0), ('c', 0)"},
			ops: each(byText, "1 c", "1 c", "1 c", "1 a", "10 A", "100 b", "1000 B", "1 c"), tables: "t", apart: true},
		{name: "days that are far away", target: []string{"CREATE TABLE t (id int, day date, n int, PRIMARY KEY (id, day))",
			"INSERT INTO t SELECT 1, d::date, 0 FROM unnest(ARRAY['9999-12-31', '2999-12-31', '2300-01-01', '0001-01-01', '1600-01-01', '2026-01-01']) d"},
			ops: each(byDateSet, "1 1 2026-01-01", "2 1 2026-01-01", "3 1 2026-01-01", "4 1 9999-12-31", "5 1 2999-12-31", "6 1 2300-01-01", "7 1 0001-01-01", "8 1 1600-01-01"), tables: "t"},
	}
}

const byDateSet = "UPDATE t SET n = $1 WHERE id = $2 AND day = $3"

// foldRules are about values in between, which somebody might have refused.
func foldRules() []setRule {
	table := func(column string) []string {
		return []string{"CREATE TABLE t (id int PRIMARY KEY, n " + column + ")", "INSERT INTO t (id) SELECT i FROM generate_series(1, 9) i"}
	}
	const (
		add = "UPDATE t SET n = n + $1 WHERE id = $2"
		set = "UPDATE t SET n = $1 WHERE id = $2"
	)
	twice := func(sql, bad, good string) []event.Operation {
		return each(sql, good+" 1", good+" 2", good+" 3", good+" 4", bad+" 1", good+" 1", good+" 5", good+" 6")
	}
	typed := twice(set, "70000", "7")
	for i := range typed {
		typed[i].Params[0].OID = 20 // int8, as on the primary
	}
	return []setRule{
		{name: "a sum passes a check on its way", target: table("int DEFAULT 0 CHECK (n < 100)"), ops: twice(add, "200", "-50"), tables: "t", fails: true},
		{name: "a value passes a check on its way", target: table("int CHECK (n < 100)"), ops: twice(set, "200", "1"), tables: "t", fails: true},
		{name: "a value is refused by a generated column", target: append(table("int"), "ALTER TABLE t ADD g int GENERATED ALWAYS AS (1 / n) STORED"), ops: twice(set, "0", "1"), tables: "t", fails: true},
		{name: "a value is refused by an index", target: append(table("int"), "CREATE INDEX ON t ((1 / n))"), ops: twice(set, "0", "1"), tables: "t", fails: true},
		{name: "a value is refused by an index's predicate", target: append(table("int"), "CREATE INDEX ON t (id) WHERE 1 / n > 0"), ops: twice(set, "0", "1"), tables: "t", fails: true},
		{name: "a value that is too long for a column", target: table("varchar(3)"), ops: twice(set, "long", "x"), tables: "t", fails: true},
		{name: "a value of another type", target: table("jsonb"), ops: twice(set, "{", "{}"), tables: "t", fails: true},
		{name: "a time of no day", target: table("timestamptz"), ops: twice(set, "2026-02-30", "2026-02-20"), tables: "t", fails: true},
		{name: "a float", target: table("real"), ops: twice(set, "1e300", "1"), tables: "t", fails: true},
		{name: "a value that is out of range", target: table("smallint"), ops: typed, tables: "t", fails: true},
		{name: "a value that is missing", target: table("text DEFAULT 'x' NOT NULL"), ops: twice(set, "~", "x"), tables: "t", fails: true},
		{name: "a value that is too long for an index that includes it", target: append(table("text"), "CREATE INDEX ON t (id) INCLUDE (n)"), ops: twice(set, noise(9000), "x"), tables: "t", fails: true},
		{name: "a value that is too long for a row", target: append(table("text"), "ALTER TABLE t ALTER n SET STORAGE PLAIN"), ops: twice(set, noise(9000), "x"), tables: "t", fails: true},
		{name: "a value without a parent", target: append([]string{"CREATE TABLE p (id int PRIMARY KEY)", "INSERT INTO p VALUES (1)"},
			table("int REFERENCES p")...), ops: twice(set, "2", "1"), tables: "t", fails: true},
	}
}

// actRules are about what acts beside the statement.
func actRules() []setRule {
	count := []string{
		"CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t SELECT i, 0 FROM generate_series(1, 9) i", "CREATE TABLE log (n int)",
		"CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (1); RETURN NEW; END'",
	}
	with := func(sql ...string) []string { return append(count[:len(count):len(count)], sql...) }
	adds := each("UPDATE t SET n = n + $1 WHERE id = $2", "1 1", "2 1", "3 1", "4 2", "5 2", "6 3", "7 3", "8 1", "9 2")
	return []setRule{
		{name: "a trigger for each row", target: with("CREATE TRIGGER x AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION noted()"), ops: adds, tables: "t log", apart: true},
		{name: "a trigger for each statement", target: with("CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION noted()"), ops: adds, tables: "t log", apart: true},
		{name: "a constraint trigger", target: with("CREATE CONSTRAINT TRIGGER x AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION noted()"), ops: adds, tables: "t log", apart: true},
		{name: "a trigger that is always on", target: with("CREATE TRIGGER x AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION noted()", "ALTER TABLE t ENABLE ALWAYS TRIGGER x"), ops: adds, tables: "t log", apart: true},
		{name: "a rule", target: with("CREATE RULE x AS ON UPDATE TO t DO ALSO INSERT INTO log VALUES (NEW.n)"), ops: adds, tables: "t log", apart: true},
		{name: "a check that calls a function", target: with("CREATE FUNCTION ok(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES ($1); RETURN true; END'",
			"ALTER TABLE t ADD CHECK (ok(n)) NOT VALID"), ops: adds, tables: "t log", apart: true},
		{name: "no trigger", target: count, ops: adds, tables: "t log"},
		{name: "a savepoint", target: count, ops: join(adds, savepoint(event.OpSavepoint), adds, savepoint(event.OpRollbackTo), adds, adds), tables: "t log"},
		{name: "a trigger that comes later", target: count, ops: adds, later: adds, tables: "t log",
			ddl: "CREATE TRIGGER x AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION noted()"},
		{name: "row security", target: with("ALTER TABLE t ENABLE ROW LEVEL SECURITY"), ops: adds, tables: "t", apart: true},
		{name: "a table that others inherit", target: with("CREATE TABLE u () INHERITS (t)"), ops: adds, tables: "t u", apart: true},
	}
}

// literalRules are about values that mean something else as parameters or in arrays,
// and about settings that say what they mean.
func literalRules() []setRule {
	table := func(columns string) []string {
		return []string{"CREATE TABLE t (id int PRIMARY KEY, " + columns + ")", "INSERT INTO t SELECT i FROM generate_series(1, 9) i"}
	}
	const set = "UPDATE t SET n = $1 WHERE id = $2"
	days := each(set, "01/02/2026 1", "02/02/2026 2", "03/02/2026 3", "04/02/2026 4")
	return []setRule{
		{name: "a literal of nothing", target: table("n text"), ops: plain(
			"UPDATE t SET n = '' WHERE id = 1", "UPDATE t SET n = '' WHERE id = 2", "UPDATE t SET n = '' WHERE id = 3", "UPDATE t SET n = '' WHERE id = 4",
			"UPDATE t SET n = '' WHERE id = 5", "UPDATE t SET n = '' WHERE id = 6", "UPDATE t SET n = '' WHERE id = 7", "UPDATE t SET n = '' WHERE id = 8"), tables: "t"},
		{name: "a word in an array", target: table("n text"), ops: each(set, "~ 1", "NULL 2", "null 3", "~ 4", "NULL 5", "{} 6", `\\" 7`, "~ 8", ", 9"), tables: "t"},
		{name: "arrays without NULLs", target: append(table("n text"), "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET array_nulls = off'; END $$"),
			ops: each(set, "~ 1", "~ 2", "x 3", "~ 4", "~ 5", "~ 6", "NULL 7", "~ 8"), tables: "t", apart: true},
		{name: "days as a session reads them", target: table("n date"),
			ops: join(days, setting("DateStyle", "ISO, DMY"), days, each(set, "05/06/2026 5", "05/07/2026 6", "05/07/2026 7")), tables: "t"},
		{name: "times as a session reads them", target: table("n timestamptz"),
			ops: join(each(set, "2026-01-01 1", "2026-01-01 2", "2026-01-01 3", "2026-01-01 4"), setting("TimeZone", "Asia/Tokyo"),
				each(set, "2026-01-01 5", "2026-01-01 6", "2026-01-01 7", "2026-01-01 8")), tables: "t"},
		{name: "days as another transaction reads them", target: table("n date"), ops: join(days, days),
			later: each(set, "05/06/2026 5", "05/07/2026 6", "05/07/2026 7"), context: event.Setting{Name: "DateStyle", Value: "ISO, DMY"}, tables: "t"},
		{name: "a table with a trigger by the search path", target: append(table("n int"), "CREATE TABLE log (n int)", "CREATE SCHEMA s", "CREATE TABLE s.t (LIKE public.t INCLUDING ALL)", "INSERT INTO s.t TABLE public.t",
			"CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.log VALUES (NEW.n); RETURN NEW; END'",
			"CREATE TRIGGER x AFTER UPDATE ON s.t FOR EACH ROW EXECUTE FUNCTION noted()"),
			ops: join(each(set, "1 1", "2 2", "3 3", "4 4"), setting("search_path", "s"), each(set, "5 1", "6 1", "7 1", "8 1", "9 1")), tables: "public.t s.t log"},
		{name: "a table by the search path", target: append(table("n int"), "CREATE SCHEMA s", "CREATE TABLE s.t (LIKE public.t INCLUDING ALL)", "INSERT INTO s.t TABLE public.t"),
			ops: join(each(set, "1 1", "2 2", "3 3", "4 4"), setting("search_path", "s"), each(set, "5 1", "6 2", "7 3", "8 4", "9 5")), tables: "public.t s.t"},
		{name: "an interval of minutes", target: []string{"CREATE TABLE t (id int PRIMARY KEY, i interval minute)", "INSERT INTO t SELECT i FROM generate_series(1, 9) i"},
			ops: plain("UPDATE t SET i = '1' WHERE id = 1", "UPDATE t SET i = '2' WHERE id = 2", "UPDATE t SET i = '3' WHERE id = 3", "UPDATE t SET i = '4' WHERE id = 4",
				"UPDATE t SET i = '5' WHERE id = 5", "UPDATE t SET i = '6' WHERE id = 6", "UPDATE t SET i = '7' WHERE id = 7", "UPDATE t SET i = '8' WHERE id = 8"), tables: "t", apart: true},
	}
}
