package apply

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
)

// columns of all sorts, with two expressions for values of each.
var typedColumns = []struct{ typ, a, b string }{
	{"smallint", "-7", "32767"}, {"bigint", "9007199254740993", "-9223372036854775808"}, {"boolean", "true", "false"},
	{"numeric", "'NaN'", "1e-30"}, {"numeric(12,3)", "12.345", "'-0.001'"}, {"real", "'-Infinity'", "0.1"}, {"double precision", "0.1 + 0.2", "'NaN'"}, {"money", "12.5", "-1"},
	{"text", `E'a\\b"c{},\n''NULL'`, "''"}, {"varchar(5)", "'NULL'", "'ab   '"}, {"char(5)", "'ab'", "''"}, {`"char"`, "'x'", "''"}, {"name", "'n'", `'"q" '`}, {"bpchar", "'x  '", "' '"},
	{"bytea", `'\x00ff5c27'`, `''`}, {"bit(5)", "B'10101'", "B'00000'"}, {"bit varying", "B''", "B'101'"},
	{"json", `'{"a": [1, "x\"y"],  "a": null}'`, "'null'"}, {"jsonb", `'{"b": "{,\\}", "a": 1.50}'`, `'"s"'`}, {"xml", "'<a>&lt;</a>'", "'text'"}, {"uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"},
	{"date", "'infinity'", "'0044-03-15 BC'"}, {"timestamp(3)", "'2026-02-03 04:05:06.789'", "'-infinity'"}, {"timestamptz", "'2026-02-03 04:05:06.123456+05:30'", "'epoch'"}, {"time", "'24:00'", "'01:02:03.4'"}, {"timetz", "'01:02:03+05'", "'23:59:59.999-11:30'"},
	{"interval", "'1 year -2 days 03:00'", "'-1 mon'"}, {"interval hour to minute", "'5:06'", "'1 day'"}, {"interval year", "'3'", "'4'"},
	{"inet", "'10.1.2.3/8'", "'::1'"}, {"cidr", "'10.0.0.0/8'", "'::/0'"}, {"macaddr", "'08:00:2b:01:02:03'", "'ff:ff:ff:ff:ff:ff'"}, {"pg_lsn", "'16/B374D848'", "'0/0'"}, {"oid", "4294967295", "0"}, {"regtype", "'int'", "'text[]'"},
	{"point", "'(1,2)'", "'(-0.1,1e300)'"}, {"box", "'(1,2),(3,4)'", "'(0,0),(0,0)'"}, {"polygon", "'((0,0),(1,1),(1,0))'", "'((1,1))'"}, {"tsvector", `'fat:2A ''it''''s'''`, "''"}, {"tsquery", "'a & !b'", "'c'"}, {"jsonpath", "'$.a[*]'", "'$'"},
	{"int4range", "'[1,5)'", "'empty'"}, {"tstzrange", "'[2026-01-01 00:00+00,)'", "'(,)'"}, {"int4multirange", "'{[1,2),[5,)}'", "'{}'"},
	{"int[]", "'{1,NULL,3}'", "'{}'"}, {"int[][]", "'{{1,2},{3,4}}'", "'[0:1]={7,8}'"}, {"text[]", `ARRAY['a"b', 'NULL', NULL, '', '{x,y}', E'\\']`, "'{}'"}, {"box[]", "'{(1,1),(0,0);(2,2),(1,1)}'", "'{}'"}, {"jsonb[]", `ARRAY['{"a":"\"b"}'::jsonb]`, "'{}'"}, {"bytea[][]", `ARRAY[ARRAY['\x00'::bytea, '\xff']]`, "'{}'"},
	{"my.mood", "'so so'", `'"'`}, {"my.mood[]", `'{"so so"}'`, "'{}'"}, {"my.pair", `ROW(1, 'x,"y')`, "ROW(NULL, NULL)"}, {"my.pair[]", `ARRAY[ROW(1, 'a"')::my.pair]`, "'{}'"}, {`my."Small Int"`, "5", "0"}, {`my."Small Int"[]`, "'{1,2}'", "'{}'"},
	{"my.list", "'{1,2}'", "'{}'"}, {"my.list[]", `ARRAY['{1,2}'::my.list]`, "'{}'"}, {"my.code", "'ab'", "'x'"}, {"my.pairs", "ROW(2, 'z')", "NULL"}, {"my.span", "'[a,b]'", "'empty'"},
}

// typed makes a table of all those columns, with rows of a, of b and of NULLs.
func typed(r *rig) (columns, types string) {
	r.pg.Exec(r.t, r.db, "CREATE SCHEMA my", `CREATE TYPE my.mood AS ENUM ('so so', '"', 'sad')`, "CREATE TYPE my.pair AS (n int, t text)",
		`CREATE DOMAIN my."Small Int" AS smallint CHECK (VALUE < 10)`, `CREATE DOMAIN my.less AS my."Small Int" CHECK (VALUE < 8)`, "CREATE DOMAIN my.list AS int[] CHECK (cardinality(VALUE) < 3)",
		"CREATE DOMAIN my.code AS char(3)", "CREATE DOMAIN my.pairs AS my.pair", `CREATE TYPE my.span AS RANGE (subtype = text, collation = "C")`)
	var defs, a, b, n, cols []string
	for i, c := range typedColumns {
		name := fmt.Sprint("c", i)
		cols = append(cols, name)
		defs, n = append(defs, name+" "+c.typ), append(n, "NULL")
		a, b = append(a, c.a), append(b, c.b)
	}
	r.pg.Exec(r.t, r.db, "CREATE TABLE src (id int PRIMARY KEY, "+strings.Join(defs, ", ")+")",
		"INSERT INTO src VALUES (1, "+strings.Join(a, ", ")+")", "INSERT INTO src VALUES (2, "+strings.Join(b, ", ")+")",
		"INSERT INTO src VALUES (3, "+strings.Join(n, ", ")+")")
	return strings.Join(cols, " "), strings.Join(defs, ", ")
}

// texts are the rows of a query as a client has them.
func (r *rig) texts(sql string) [][]event.Value {
	r.t.Helper()
	var rows [][]event.Value
	for _, row := range r.pg.Query(r.t, r.db, sql) {
		rows = append(rows, values(row...))
	}
	return rows
}

func TestRowsOfAllTypes(t *testing.T) {
	r := newRig(t)
	columns, defs := typed(r)
	r.pg.Exec(t, r.db, "CREATE TABLE whole (id int PRIMARY KEY, "+defs+")", "CREATE TABLE filled (id int PRIMARY KEY, "+defs+")", "INSERT INTO filled SELECT i FROM generate_series(1, 3) i",
		"CREATE TABLE merged (LIKE whole INCLUDING INDEXES)")
	apart := r.observed()
	list := "id, " + strings.ReplaceAll(columns, " ", ", ")
	rows := r.texts("SELECT " + list + " FROM src ORDER BY id")
	of := func(action event.Action, table string, keys int) *event.RowImages {
		i := images(action, table, "id", columns)
		i.Key, i.Columns = i.Key[:keys], append([]string{"id"}[keys:], i.Columns...)
		for _, row := range rows {
			i.Rows = append(i.Rows, event.RowImage{Key: row[:keys], Values: row[keys:]})
		}
		i.Returning = append([]string{"id"}, strings.Fields(columns)...)
		return i
	}
	a := r.agent("a1")
	offsets := []int64{
		a.commit(rowsOp(of(event.ActionInsert, "whole", 0))), a.commit(rowsOp(of(event.ActionUpdate, "filled", 1))),
		a.commit(rowsOp(of(event.ActionUpsert, "merged", 1))), a.commit(rowsOp(of(event.ActionUpsert, "merged", 1))),
	}
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"whole", "filled", "merged"} {
		r.want(fmt.Sprintf("SELECT count(*) FROM (SELECT ROW(%s)::text FROM src INTERSECT SELECT ROW(%s)::text FROM %s) x", list, list, table), "3")
	}
	for _, offset := range offsets {
		if d := r.digest(offset); d.Affected != 3 || string(d.Hash) != string(hashOf(rows...)) {
			t.Errorf("offset %d: %+v", offset, d)
		}
	}
	if apart() != 0 {
		t.Errorf("%d operations were taken apart", apart())
	}
}

// What users' casts make of a text is not what the type reads it as, and a role
// may use columns of types that it may not name.
func TestTypesThatTextIsNotCastTo(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE SCHEMA my", "CREATE TYPE my.pair AS (n int)", "CREATE FUNCTION my.wrong(text) RETURNS my.pair LANGUAGE sql AS 'SELECT ROW(666)::my.pair'",
		"CREATE CAST (text AS my.pair) WITH FUNCTION my.wrong(text)", "CREATE DOMAIN my.pairs AS my.pair", "CREATE TYPE my.mood AS ENUM ('sad', 'glad')",
		"CREATE TABLE t (id int PRIMARY KEY, p my.pair, d my.pairs)", "CREATE TABLE m (id int PRIMARY KEY, m my.mood)",
		"DROP ROLE IF EXISTS hidden_types", "CREATE ROLE hidden_types", "GRANT ALL ON m TO hidden_types")
	t.Cleanup(func() { r.pg.Exec(t, r.db, "DROP OWNED BY hidden_types", "DROP ROLE hidden_types") })
	apart := r.observed()
	a := r.agent("a1")
	a.commit(rowsOp(images(event.ActionInsert, "t", "", "id p d", "1 (1) (2)", "2 (3) ~")))
	tx := a.tx(rowsOp(images(event.ActionInsert, "m", "", "id m", "1 sad", "2 glad")))
	tx.Context.Settings = append(tx.Context.Settings, event.Setting{Name: "role", Value: "hidden_types"})
	a.add(tx)
	a.commit(rowsOp(images(event.ActionUpdate, "m", "id", "m", "1 glad", "2 sad")))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT * FROM t ORDER BY id", "1|(1)|(2) 2|(3)|<NULL>")
	r.want("SELECT * FROM m ORDER BY id", "1|glad 2|sad")
	if apart() != 0 {
		t.Errorf("%d operations were tried together first", apart())
	}
}

// Keys of every type that can be one.
func TestRowsFoundByKeysOfAllTypes(t *testing.T) {
	r := newRig(t)
	typed(r)
	a := r.agent("a1")
	n := 0
	for i, c := range typedColumns {
		usable := r.query(fmt.Sprintf(`SELECT count(*) FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod AND amname = 'btree'
			JOIN pg_attribute a ON a.attrelid = 'src'::regclass AND attname = 'c%d' AND opcintype = atttypid AND opcdefault`, i))
		if usable == "0" && !strings.HasSuffix(c.typ, "[]") && !strings.HasPrefix(c.typ, "my.") || c.typ == "bytea[][]" || c.typ == "box[]" || c.b == "NULL" {
			continue
		}
		n++
		table := fmt.Sprint("k", i)
		r.pg.Exec(t, r.db, fmt.Sprintf("CREATE TABLE %s (k %s PRIMARY KEY, v text)", table, c.typ),
			fmt.Sprintf("INSERT INTO %s SELECT c%d FROM src WHERE id < 3", table, i))
		rows := r.texts("SELECT k, 'new' FROM " + table)
		update, remove := images(event.ActionUpdate, table, "k", "v"), images(event.ActionDelete, table, "k", "")
		for _, row := range rows {
			update.Rows = append(update.Rows, event.RowImage{Key: row[:1], Values: row[1:]})
			remove.Rows = append(remove.Rows, event.RowImage{Key: row[:1]})
		}
		a.commit(rowsOp(update))
		if i%2 == 0 {
			a.commit(rowsOp(remove))
		}
	}
	apart := r.observed()
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	for i := range typedColumns {
		if r.query(fmt.Sprintf("SELECT to_regclass('k%d') IS NULL", i)) == "t" {
			continue
		}
		want := "0|0"
		if i%2 == 1 {
			want = "2|2"
		}
		r.want(fmt.Sprintf("SELECT count(*), count(*) FILTER (WHERE v = 'new') FROM k%d", i), want)
	}
	if n < 30 || apart() != 0 {
		t.Errorf("%d types are keys, %d operations were taken apart", n, apart())
	}
}
